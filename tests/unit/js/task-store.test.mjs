import assert from "node:assert/strict";
import { test } from "node:test";

import { EMPTY, cursors, idsToRecover, listTasks, reduce } from "../../../static/task-store.js";
import { EPOCH, seeded, snapshot, task } from "./support/fakes.mjs";

const run = (actions, state = EMPTY) => actions.reduce(reduce, state);
const snap = (tasks, more, sent) => ({ type: "snapshot", snapshot: snapshot(tasks, more), cursors: sent });
const push = (it, listed = true) => ({ type: "frame", frame: { task: it, listed } });
const removal = (task_id, version, epoch = EPOCH) => ({ type: "frame", frame: { removed: { task_id, epoch, version } } });
const versions = (state) => Object.fromEntries(state.tasks.entries().map(([id, { version }]) => [id, version]));
const listed = (state) => listTasks(state).map(({ task_id }) => task_id);

/** Everything the registry says about a few ids in one epoch: versions grow, across removal and re-creation. */
function history({ below }, epoch, ids = ["a", "b", "c", "d"]) {
  const frames = [];
  for (const id of ids) {
    let version = 1 + below(50);
    for (let life = below(3); life >= 0; life -= 1) {
      const created_at = `2026-11-24T14:00:0${below(9)}.${below(900) + 100}Z`;
      for (let change = 1 + below(5); change > 0; change -= 1) {
        frames.push({ task: task(id, version, { epoch, created_at }), listed: true });
        version += 1 + below(3);
      }
      if (life > 0 || below(2) === 0) frames.push({ removed: { task_id: id, epoch, version } });
      version += 1 + below(3);
    }
  }
  return frames;
}

const about = (frame) => frame.task ?? frame.removed;

/** What is true after these frames, in whatever order: per id the highest version, if that is not a removal. */
function truth(frames) {
  const newest = new Map();
  for (const frame of frames) {
    const { task_id, version } = about(frame);
    if (!(about(newest.get(task_id) ?? { task: { version: 0 } }).version >= version)) newest.set(task_id, frame);
  }
  return Object.fromEntries([...newest].filter(([, { task: it }]) => it).map(([id, { task: it }]) => [id, it.version]));
}

for (let seed = 1; seed <= 150; seed += 1) {
  test(`In any order and with duplicates the newest version of each task is what is left (seed ${seed})`, () => {
    const random = seeded(seed);
    const frames = history(random, EPOCH);
    const repeated = frames.filter(() => random.below(3) === 0);
    const order = random.shuffle([...frames, ...repeated]);
    const state = run([snap([]), ...order.map((frame) => ({ type: "frame", frame }))]);
    assert.deepEqual(versions(state), truth(frames));
    assert.deepEqual(new Set(listed(state)), new Set(Object.keys(truth(frames))));
    assert.equal(state.resync, false);
  });
}

for (let seed = 1; seed <= 150; seed += 1) {
  test(`Over many connections only the epoch of the latest tasks_snapshot counts (seed ${seed})`, () => {
    const random = seeded(seed);
    const epochs = ["e1", "e2", "e3"];
    const pool = Object.fromEntries(epochs.map((epoch) => [epoch, history(random, epoch)]));
    let state = EMPTY;
    let current = null; // the epoch of the latest tasks_snapshot
    let seen = []; // every frame of that epoch which the client got, since it is in it
    for (let connection = 0; connection < 6; connection += 1) {
      state = reduce(state, { type: "disconnected" });
      const epoch = random.pick(epochs);
      const frames = Array.from({ length: 12 }, () => random.pick(pool[random.pick(epochs)]));
      const at = random.below(frames.length);
      const foreign = { before: false, after: false };
      const early = frames.slice(0, at);
      for (const frame of early) state = reduce(state, { type: "frame", frame });
      const inSnapshot = random.shuffle(pool[epoch]).filter((frame) => frame.task && random.below(3) === 0);
      state = reduce(state, snap(inSnapshot.map((frame) => frame.task), { epoch }));
      if (epoch !== current) seen = [];
      else seen.push(...early.filter((frame) => about(frame).epoch === current));
      seen.push(...early.filter((frame) => about(frame).epoch === epoch), ...inSnapshot);
      foreign.before = early.some((frame) => about(frame).epoch !== epoch && about(frame).epoch !== current);
      current = epoch;
      for (const frame of frames.slice(at)) {
        state = reduce(state, { type: "frame", frame });
        if (about(frame).epoch === epoch) seen.push(frame);
        else foreign.after = true;
      }
      assert.deepEqual(versions(state), truth(seen));
      assert.equal(state.epoch, epoch);
      assert.equal(state.resync, foreign.before || foreign.after);
    }
  });
}

test("A snapshot of a higher version replaces, an equal or lower one changes nothing at all", () => {
  const state = run([snap([task("a", 5)])]);
  assert.equal(reduce(state, push(task("a", 5))), state);
  assert.equal(reduce(state, push(task("a", 4))), state);
  assert.equal(reduce(state, push(task("a", 6))).tasks.get("a").version, 6);
});

test("A removal needs a version higher than what is held, and a late snapshot does not bring the task back", () => {
  const state = run([snap([task("a", 5)])]);
  assert.deepEqual(versions(reduce(state, removal("a", 5))), { a: 5 });
  const after = reduce(state, removal("a", 6));
  assert.deepEqual(versions(after), {});
  assert.deepEqual(listed(after), []);
  assert.equal(reduce(after, push(task("a", 5))), after);
  assert.equal(reduce(after, push(task("a", 6))), after);
});

test("A removal that comes before the snapshots it is about counts too", () => {
  assert.deepEqual(versions(run([snap([]), removal("a", 6), push(task("a", 5))])), {});
});

test("A re-created id goes on above the removed version, and is a new task in the list's order", () => {
  const old = { created_at: "2026-11-24T14:00:00Z" };
  const state = run([
    snap([task("a", 5, old), task("b", 5, { created_at: "2026-11-24T14:00:01Z" })]),
    removal("a", 6),
    push(task("a", 7, { created_at: "2026-11-24T14:00:02Z" })),
  ]);
  assert.deepEqual(versions(state), { a: 7, b: 5 });
  assert.deepEqual(listed(state), ["a", "b"]);
});

test("A re-created id whose removal was missed is a new task in the list's order", () => {
  const state = run([
    snap([task("a", 5), task("b", 5, { created_at: "2026-11-24T14:00:01Z" })]),
    push(task("a", 9, { created_at: "2026-11-24T14:00:02Z" })),
  ]);
  assert.deepEqual(listed(state), ["a", "b"]);
});

test("Removed versions are still remembered after thousands of further removals, and not for ever", () => {
  let state = run([snap([]), removal("first", 9)]);
  for (let i = 0; i < 5_000; i += 1) state = reduce(state, removal(`t${i}`, 9));
  assert.equal(reduce(state, push(task("first", 8))), state);
  assert.equal(reduce(state, push(task("t4999", 8))), state);
  for (let i = 5_000; i < 20_000; i += 1) state = reduce(state, removal(`t${i}`, 9));
  assert.ok(state.removed.size + state.removedBefore.size <= 10_000);
});

test("A foreign frame is dropped and asks for a new snapshot, which settles it", () => {
  const state = run([snap([task("a", 5)]), push(task("a", 99, { epoch: "other" }))]);
  assert.deepEqual(versions(state), { a: 5 });
  assert.equal(state.resync, true);
  const after = run([{ type: "disconnected" }, snap([task("a", 1, { epoch: "other" })], { epoch: "other" })], state);
  assert.equal(after.resync, false);
  assert.deepEqual(versions(after), { a: 1 });
});

test("A foreign removal is dropped and asks for a new snapshot", () => {
  const state = run([snap([task("a", 5)]), removal("a", 99, "other")]);
  assert.deepEqual(versions(state), { a: 5 });
  assert.equal(state.resync, true);
});

test("A tasks_snapshot of a new epoch replaces everything, lower versions and forgotten removals included", () => {
  const before = run([snap([task("a", 50), task("b", 50)]), removal("c", 60)]);
  const after = reduce(before, snap([task("a", 1, { epoch: "new" }), task("c", 1, { epoch: "new" })], { epoch: "new" }));
  assert.deepEqual(versions(after), { a: 1, c: 1 });
  assert.deepEqual(new Set(listed(after)), new Set(["a", "c"]));
});

test("A tasks_snapshot of the same epoch merges: what it does not name stays", () => {
  const after = run([snap([task("a", 5), task("b", 5)]), { type: "disconnected" }, snap([task("b", 6), task("c", 1)])]);
  assert.deepEqual(versions(after), { a: 5, b: 6, c: 1 });
});

test("What a tasks_snapshot says has left goes, unless it is newer than the cursor that was asked about", () => {
  const state = run([snap([task("a", 5), task("b", 5), task("c", 5)]), { type: "disconnected" }]);
  const sent = cursors(state, ["a", "b"]);
  const after = run([push(task("b", 7)), snap([], { removed: ["a", "b", "c"] }, sent)], state);
  assert.deepEqual(versions(after), { b: 7, c: 5 });
});

test("Another user's tasks_snapshot replaces everything, though the epoch is the same", () => {
  const after = run([snap([task("a", 5)]), { type: "disconnected" }, snap([task("g", 1)], { user_id: "grace" })]);
  assert.deepEqual(versions(after), { g: 1 });
  assert.equal(after.userId, "grace");
});

test("Frames that overtake the first tasks_snapshot are kept for it: an end is never lost", () => {
  const done = task("a", 9, { status: "completed" });
  const state = run([{ type: "disconnected" }, push(done), push(task("a", 8)), removal("b", 4)]);
  assert.deepEqual(versions(state), {});
  assert.equal(state.resync, false);
  const after = reduce(state, snap([task("a", 7), task("b", 3)]));
  assert.deepEqual(versions(after), { a: 9 });
  assert.equal(after.resync, false);
  assert.equal(after.held.size, 0);
});

test("Frames of the new epoch that overtake its tasks_snapshot are kept for it", () => {
  const state = run([snap([task("a", 50)]), { type: "disconnected" }, push(task("a", 9, { epoch: "new" }))]);
  assert.deepEqual(versions(state), { a: 50 });
  assert.deepEqual(versions(reduce(state, snap([task("a", 7, { epoch: "new" })], { epoch: "new" }))), { a: 9 });
});

test("Frames that were kept and are of neither epoch are dropped and ask for a new snapshot", () => {
  const state = run([snap([task("a", 5)]), { type: "disconnected" }, push(task("a", 9, { epoch: "x" })), snap([task("a", 6)])]);
  assert.deepEqual(versions(state), { a: 6 });
  assert.equal(state.resync, true);
  assert.equal(state.held.size, 0);
});

test("Frames that were kept for one connection are not kept for the next", () => {
  const state = run([{ type: "disconnected" }, push(task("a", 9, { epoch: "x" })), { type: "disconnected" }]);
  const after = reduce(state, snap([task("a", 7, { epoch: "x" })], { epoch: "x" }));
  assert.deepEqual(versions(after), { a: 7 });
});

test("The list is newest first by creation, whatever the digits of the fraction, and then by id", () => {
  const at = (id, created_at, more) => task(id, 1, { created_at, ...more });
  const state = run([
    snap([
      at("whole", "2026-11-24T14:00:05Z"),
      at("a", "2026-11-24T14:00:05.25Z"),
      at("half", "2026-11-24T14:00:05.5Z"),
      at("b", "2026-11-24T14:00:05.250000Z"),
      at("older", "2026-11-24T14:00:04.999999Z"),
    ]),
  ]);
  assert.deepEqual(listed(state), ["half", "a", "b", "whole", "older"]);
});

test("Progress and ends do not move a task in the list", () => {
  const ids = ["a", "b", "c", "d"];
  let state = run([snap(ids.map((id, i) => task(id, 1, { created_at: `2026-11-24T14:00:0${i}Z` })))]);
  const order = listed(state);
  const { pick, below } = seeded(3);
  for (let version = 2; version < 60; version += 1) {
    const { created_at } = state.tasks.get(pick(ids));
    const id = ids.find((each) => state.tasks.get(each).created_at === created_at);
    state = reduce(state, push(task(id, version, { created_at, status: below(2) ? "completed" : "processing" })));
    assert.deepEqual(listed(state), order);
  }
});

test("A single task that was subscribed to is held and not listed, unless it is the user's own or listed elsewhere", () => {
  const state = run([
    snap([]),
    push(task("single", 1, { user: "grace" }), false),
    push(task("mine", 1), false),
    push(task("group", 1, { user: "grace", groups: ["team:7"] }), true),
    { type: "tasks", tasks: [task("answer", 1, { user: null })], listed: false },
  ]);
  assert.deepEqual(new Set(Object.keys(versions(state))), new Set(["single", "mine", "group", "answer"]));
  assert.deepEqual(listed(state), ["group", "mine"]);
  const after = reduce(state, { type: "page", tasks: [task("single", 1, { user: "grace" })], next: null });
  assert.deepEqual(listed(after), ["group", "mine", "single"]);
});

test("A listed task stays in the right place of the list, whoever's question its news answer", () => {
  const at = (id, version, second) => task(id, version, { user: "grace", created_at: `2026-11-24T14:00:0${second}Z` });
  const state = run([snap([at("a", 1, 1), at("b", 1, 2)]), push(at("a", 9, 3), false)]);
  assert.deepEqual(listed(state), ["a", "b"]);
});

test("A viewer without a user owns no task: nobody's tasks are not theirs", () => {
  const state = run([snap([], { user_id: null }), push(task("a", 1, { user: null }), false)]);
  assert.deepEqual(listed(state), []);
  assert.equal(state.tasks.has("a"), true);
});

test("Tasks that nobody watches any more are forgotten, those of the list are not", () => {
  const state = run([snap([task("mine", 1)]), push(task("single", 1, { user: "grace" }), false)]);
  assert.deepEqual(versions(reduce(state, { type: "forget", taskIds: ["mine", "single"] })), { mine: 1 });
});

test("An answer that a task is not there counts for what was held when it was asked, in that epoch", () => {
  const state = run([snap([task("a", 5), task("b", 5)])]);
  const gone = { type: "gone", taskIds: ["a", "b"], epoch: EPOCH, cursors: { a: 5, b: 4 } };
  assert.deepEqual(versions(reduce(state, gone)), { b: 5 });
  assert.equal(reduce(state, { ...gone, epoch: "other" }), state);
});

test("A task that may be seen again comes back as it was", () => {
  const state = run([snap([task("a", 5)]), { type: "gone", taskIds: ["a"], epoch: EPOCH, cursors: { a: 5 } }]);
  assert.deepEqual(versions(reduce(state, push(task("a", 5)))), { a: 5 });
});

test("A dismissed task leaves the list and stays known; its id may be used again", () => {
  const done = task("a", 5, { status: "failed" });
  const state = run([snap([done, task("b", 1)]), { type: "hide", taskId: "a" }]);
  assert.deepEqual(listed(state), ["b"]);
  assert.equal(state.tasks.get("a"), done);
  assert.deepEqual(listed(reduce(state, { type: "page", tasks: [done], next: null })), ["b"]);
  assert.deepEqual(new Set(listed(reduce(state, push(task("a", 6))))), new Set(["a", "b"]));
});

test("Only a finished task can be dismissed", () => {
  const state = run([snap([task("a", 5)])]);
  assert.equal(reduce(state, { type: "hide", taskId: "a" }), state);
  assert.equal(reduce(state, { type: "hide", taskId: "nobody" }), state);
});

test("What is missing of the list is what the snapshot says, then what the last page says", () => {
  const start = reduce(EMPTY, snap([], { has_more: true, next: "p1" }));
  assert.deepEqual(start.missing, { before: "p1" });
  assert.deepEqual(reduce(EMPTY, snap([], { has_more: true })).missing, { before: null });
  const more = reduce(start, { type: "page", tasks: [task("a")], next: "p2" });
  assert.deepEqual(more.missing, { before: "p2" });
  assert.equal(reduce(more, { type: "page", tasks: [], next: null }).missing, null);
  assert.equal(reduce(more, snap([])).missing, null);
});

test("Recovery names unfinished tasks first, then the others, newest first", () => {
  const at = (id, second, status) => task(id, 1, { status, created_at: `2026-11-24T14:00:0${second}Z` });
  const state = run([
    snap([at("done-old", 1, "completed"), at("run-old", 2, "processing"), at("done-new", 3, "failed"), at("run-new", 4, "pending")]),
  ]);
  assert.deepEqual(idsToRecover(state), ["run-new", "run-old", "done-new", "done-old"]);
});

test("Cursors are the versions that are held, for strange ids too", () => {
  const state = run([snap([task("a", 5), task("__proto__", 7), task("constructor", 8)])]);
  const sent = cursors(state, ["a", "__proto__", "constructor", "toString"]);
  assert.equal(JSON.stringify(sent), '{"a":5,"__proto__":7,"constructor":8}');
});

test("A state that was kept is as it was, whatever became of it", () => {
  const random = seeded(11);
  const kept = [];
  let state = reduce(EMPTY, snap([]));
  for (const frame of random.shuffle(history(random, EPOCH))) {
    kept.push([state, versions(state), listed(state)]);
    state = reduce(state, { type: "frame", frame });
  }
  for (const [old, before, order] of kept) {
    assert.deepEqual(versions(old), before);
    assert.deepEqual(listed(old), order);
  }
});

test("An event copies none of the thousands of tasks that it is not about", (context) => {
  const tasks = Array.from({ length: 3_000 }, (_, i) => task(`t${i}`, 1, { created_at: `2026-11-24T14:${10 + (i % 50)}:00Z` }));
  let state = reduce(EMPTY, snap(tasks));
  listTasks(state);
  let copies = 0;
  const RealMap = globalThis.Map;
  context.after(() => (globalThis.Map = RealMap));
  globalThis.Map = class extends RealMap {
    constructor(entries) {
      super(entries);
      copies += this.size;
    }
  };
  for (let i = 0; i < 2_000; i += 1) state = reduce(state, push({ ...tasks[i], version: 2 }));
  assert.equal(copies, 0);
  assert.equal(listTasks(state).length, 3_000);
});
