import assert from "node:assert/strict";
import { test } from "node:test";
import { earlier, later } from "../../../static/attempts.js";
import { listFamilies } from "../../../static/families.js";
import { EMPTY, listTasks, reduce } from "../../../static/task-store.js";
import { EPOCH, makeWorld, seeded, settle, snapshot, task } from "./support/fakes.mjs";

const at = (second) => `2026-11-24T14:00:${String(second).padStart(2, "0")}Z`;
/** Attempt `n` at a thing: x1, x2, … */
const attempt = (thing, n, second, more = {}) =>
  task(`${thing}${n}`, n, { created_at: at(second), status: "failed", attempt: n, retry_of: n > 1 ? `${thing}${n - 1}` : null, ...more });
const snap = (tasks, more) => ({ type: "snapshot", snapshot: snapshot(tasks, more) });
const push = (it) => ({ type: "frame", frame: { task: it, listed: true } });
const page = (tasks) => ({ type: "page", tasks, next: null });
const removal = (task_id) => ({ type: "frame", frame: { removed: { task_id, epoch: EPOCH, version: 99 } } });
const run = (actions, state = EMPTY) => actions.reduce(reduce, state);
const shown = (state) => listFamilies(state).map(({ task: { task_id }, attempts }) => `${task_id}/${attempts.length}`);

test("Attempts at one thing are shown as the newest, in the place of the first", () => {
  const before = run([snap([attempt("a", 1, 1), attempt("b", 1, 2), attempt("c", 1, 3)])]);
  const [, key] = listFamilies(before).map((family) => family.key);
  const after = run([push(attempt("b", 2, 9)), push(attempt("d", 1, 10)), push(attempt("b", 3, 11))], before);
  assert.deepEqual(shown(after), ["d1/1", "c1/1", "b3/3", "a1/1"]);
  assert.equal(listFamilies(after)[2].key, key);
  assert.deepEqual(listTasks(after).map(({ task_id }) => task_id), ["b3", "d1", "b2", "c1", "b1", "a1"]);
});

for (let seed = 1; seed <= 60; seed += 1) {
  test(`Whatever order attempts arrive in, they are one, and in the same place (seed ${seed})`, () => {
    const random = seeded(seed);
    const all = ["a", "b", "c"].flatMap((thing, index) => [1, 2, 3, 4].map((n) => attempt(thing, n, n * 10 + index)));
    const state = run([snap([]), ...random.shuffle(all).map(push)]);
    assert.deepEqual(shown(state), ["c4/4", "b4/4", "a4/4"]);
  });
}

test("The place stays when the first attempts are cleared away", () => {
  const state = run([snap([attempt("a", 1, 1), attempt("b", 1, 2)]), push(attempt("a", 2, 8)), push(attempt("a", 3, 9))]);
  const [, { key }] = listFamilies(state);
  const after = run([removal("a1"), removal("a2")], state);
  assert.deepEqual(shown(after), ["b1/1", "a3/1"]);
  assert.equal(listFamilies(after)[1].key, key);
  assert.deepEqual(shown(run([push(attempt("a", 4, 10))], after)), ["b1/1", "a4/2"]);
});

test("An older attempt that a page brings does not move the card that is there", () => {
  const state = run([snap([attempt("a", 3, 9), attempt("b", 1, 5)], { has_more: true, next: "p" })]);
  const before = listFamilies(state).map(({ key }) => key);
  const after = run([page([attempt("a", 2, 3), attempt("a", 1, 1)])], state);
  assert.deepEqual(shown(after), ["a3/3", "b1/1"]);
  assert.deepEqual(listFamilies(after).map(({ key }) => key), before);
});

test("The middle attempt may be missing, if the one before it says which it was", () => {
  const first = attempt("a", 1, 1, { retried_by: "a2" });
  const third = attempt("a", 3, 9);
  const state = run([snap([third, first, attempt("b", 1, 5)])]);
  assert.deepEqual(shown(state), ["b1/1", "a3/2"]);
  assert.deepEqual([...later(state, "a1")], ["a2", "a3"]);
});

test("An attempt that is gone from the middle, or was never seen, does not part those before it from those after", () => {
  const first = attempt("a", 1, 1, { version: 5, retried_by: "a2" });
  const [second, third, fourth] = [2, 3, 4].map((n) => attempt("a", n, n * 3));
  const other = attempt("b", 1, 5);
  for (const arrivals of [
    [push(first), push(other), push(third)],
    [push(third), push(other), push(first)],
    [push(first), push(second), push(other), removal("a2"), push(third)],
    [push(other), push(third), push(attempt("a", 1, 1)), push(first)],
    [page([third]), push(other), page([first])],
  ]) {
    const state = run([snap([]), ...arrivals]);
    assert.deepEqual(shown(state).sort(), ["a3/2", "b1/1"]);
    assert.deepEqual([...earlier(state, "a3")], ["a2", "a1"]);
    assert.deepEqual(shown(run([push(fourth), removal("a3")], state)).sort(), ["a4/2", "b1/1"]);
  }
});

test("Two attempts of which nothing between them is known are not taken for one", () => {
  const state = run([snap([attempt("a", 1, 1, { retried_by: "a2" }), attempt("a", 4, 9)])]);
  assert.deepEqual(shown(state), ["a4/1", "a1/1"]);
});

test("An id that was made anew has nothing to do with what tried the old one again", () => {
  const state = run([snap([attempt("a", 1, 1), attempt("b", 1, 5)]), push(attempt("a", 2, 8)), removal("a1")]);
  const anew = run([push(attempt("a", 1, 20, { version: 100 }))], state);
  assert.deepEqual(shown(anew), ["a1/1", "b1/1", "a2/1"]);
  assert.deepEqual([...later(anew, "a1")], []);
});

test("A retry that was made anew as a task of its own leaves the place of what its namesake tried again", () => {
  const state = run([snap([attempt("a", 1, 1), attempt("b", 1, 5)]), push(attempt("a", 2, 8))]);
  const anew = run([push(attempt("a", 2, 20, { version: 100, retry_of: null, attempt: 1 }))], state);
  assert.deepEqual(shown(anew), ["a2/1", "b1/1", "a1/1"]);
});

test("Tasks that say they try each other again are each one task, and nothing runs for ever", () => {
  const ring = [task("a", 1, { retry_of: "b", attempt: 2 }), task("b", 1, { retry_of: "a", attempt: 2 }), task("c", 1, { retry_of: "c" })];
  const state = run([snap(ring)]);
  assert.deepEqual(["a", "b", "c"].map((id) => [...later(state, id), ...earlier(state, id)]), [[], [], []]);
  assert.deepEqual(shown(state), ["a/1", "b/1", "c/1"]);
});

for (let seed = 1; seed <= 60; seed += 1) {
  test(`Whatever tasks say of each other, each is shown once, nothing runs for ever, and nothing stays (seed ${seed})`, () => {
    const { below, shuffle } = seeded(seed);
    const name = () => ["a", "b", "c", "d", "e", "gone", "away", null][below(8)];
    const claim = (id, version) => task(id, version, { created_at: at(below(9)), attempt: 1 + below(4), retry_of: name(), retried_by: name() });
    const ids = ["a", "b", "c", "d", "e"];
    let state = run([snap([]), ...shuffle([1, 2, 3].flatMap((version) => ids.map((id) => push(claim(id, version)))))]);
    for (const id of [...ids, "gone", "away"]) {
      for (const way of [later, earlier]) {
        const found = [...way(state, id)];
        assert.equal(new Set([id, ...found]).size, 1 + found.length);
      }
    }
    const all = listFamilies(state).flatMap(({ attempts }) => attempts.map(({ task_id }) => task_id));
    assert.deepEqual(all.sort(), ids);
    state = run(shuffle(ids).map(removal), state);
    assert.deepEqual([state.retries.size, state.priors.size, state.places.size], [0, 0, 0]);
  });
}

test("What is kept of attempts is bounded by the tasks that are held", () => {
  let state = run([snap([])]);
  for (let n = 1; n <= 300; n += 1) {
    state = reduce(state, push(attempt("a", n, 1, { version: 10, retried_by: `a${n + 1}` })));
    if (n > 3) state = reduce(state, removal(`a${n - 3}`));
  }
  assert.equal(state.tasks.size, 3);
  for (const kept of [state.retries, state.priors, state.places]) assert.ok(kept.size <= 4, `${kept.size}`);
  assert.deepEqual(shown(state), ["a300/3"]);
  const empty = run(["a298", "a299", "a300"].map(removal), state);
  assert.deepEqual([empty.retries.size, empty.priors.size, empty.places.size], [0, 0, 0]);
  assert.deepEqual([run([snap([], { epoch: "e2" })], state).retries.size], [0]);
});

const known = (calls) => calls.map((each) => each?.task_id ?? null);
function follow(world, id) {
  const calls = [];
  const stop = world.rt.task(id).subscribe((it) => calls.push(it), { follow: true });
  return { calls, stop };
}

test("Who follows a task hears of the newest attempt in its place, and of nothing that was before", async () => {
  const world = makeWorld();
  const { calls, stop } = follow(world, "a1");
  await world.goLive([attempt("a", 1, 1), attempt("a", 2, 2), attempt("b", 1, 3)]);
  assert.deepEqual(known(calls), ["a2"]);
  world.socket.fire("task_created", attempt("a", 3, 4, { status: "pending", version: 5 }));
  world.socket.fire("task_progress", attempt("a", 3, 4, { status: "processing", version: 6 }));
  world.socket.fire("task_removed", { task_id: "a1", epoch: EPOCH, version: 9 });
  world.socket.fire("task_removed", { task_id: "a2", epoch: EPOCH, version: 9 });
  world.socket.fire("task_created", attempt("a", 4, 5, { version: 10 }));
  await settle();
  assert.deepEqual(known(calls), ["a2", "a3", "a3", "a4"]);
  assert.equal(calls.at(-1).status, "failed");
  stop();
  world.socket.fire("task_created", attempt("a", 5, 6, { version: 11 }));
  await settle();
  assert.equal(calls.length, 4);
});

test("Who only subscribes stays with the task", async () => {
  const world = makeWorld();
  const calls = [];
  world.rt.task("a1").subscribe((it) => calls.push(it));
  await world.goLive([attempt("a", 1, 1), attempt("a", 2, 2)]);
  assert.deepEqual(known(calls), ["a1"]);
});

test("A single task is followed by asking for the attempt that it names", async () => {
  const world = makeWorld();
  const { calls } = follow(world, "a1");
  await world.goLive([], { user_id: null });
  const single = { user: "grace" };
  await world.socket.answer("subscribe", { ok: true, tasks: [attempt("a", 1, 1, { ...single, retried_by: "a2" })], denied: [] });
  assert.deepEqual(known(calls), []); // how things stand is not known yet
  const asked = await world.socket.answer("subscribe", { ok: true, tasks: [attempt("a", 2, 2, single)], denied: [] });
  assert.deepEqual(asked.task_ids, ["a2"]);
  assert.deepEqual(known(calls), ["a2"]);
});

test("Until a newer attempt can be seen the one before it is shown; then it is let go", async () => {
  const world = makeWorld();
  const { calls } = follow(world, "a1");
  await world.goLive([], { user_id: null });
  const single = (n, more) => attempt("a", n, n, { user: "grace", ...more });
  await world.socket.answer("subscribe", { ok: true, tasks: [single(1, { retried_by: "a2" })], denied: [] });
  await world.socket.answer("subscribe", { ok: true, tasks: [single(2)], denied: [] });
  world.socket.fire("task_progress", single(2, { version: 9, retried_by: "a3" }));
  world.socket.fire("task_progress", single(1, { version: 9, retried_by: "a2" }));
  await settle();
  assert.deepEqual(known(calls), ["a2", "a2"]);
  assert.deepEqual(world.socket.messages("unsubscribe"), []);
  await world.socket.answer("subscribe", { ok: true, tasks: [single(3)], denied: [] });
  await settle();
  assert.deepEqual(known(calls), ["a2", "a2", "a3"]);
  assert.deepEqual(world.socket.messages("unsubscribe"), [{ task_ids: ["a2"] }]);
});

test("When the server has lost its memory, who follows goes on with what has the name now", async () => {
  const world = makeWorld();
  const { calls } = follow(world, "a1");
  await world.goLive([attempt("a", 1, 1), attempt("a", 2, 2)]);
  await world.comeBack();
  const epoch = "e2";
  await world.goLive([attempt("a", 1, 30, { epoch })], { epoch });
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["a2"] });
  world.socket.fire("task_created", task("again", 5, { epoch, created_at: at(40), retry_of: "a1", attempt: 2 }));
  await settle();
  assert.deepEqual(known(calls), ["a2", "a1", "again"]);
});

test("A retry of a task of the viewer's group is listed, also where a card has asked for it first", async () => {
  const world = makeWorld();
  const families = [];
  world.rt.tasks((_list, facts) => families.push(facts.families.map(({ task: { task_id } }) => task_id)));
  follow(world, "a1");
  const others = { user: "grace", groups: ["team:7"] };
  await world.goLive([attempt("a", 1, 1, others)]);
  world.socket.fire("task_failed", attempt("a", 1, 1, { ...others, version: 3, retried_by: "a2" }));
  await settle();
  assert.deepEqual(world.socket.messages("subscribe").map(({ task_ids }) => task_ids), [["a2"]]);
  world.socket.fire("task_created", attempt("a", 2, 2, others));
  await world.clock.pass(16);
  assert.deepEqual(families.at(-1), ["a2"]);
});

test("An attempt that this viewer may not see is not waited for", async () => {
  const world = makeWorld();
  const { calls } = follow(world, "a1");
  await world.goLive([], { user_id: null });
  await world.socket.answer("subscribe", { ok: true, tasks: [attempt("a", 1, 1, { user: "grace", retried_by: "a2" })], denied: [] });
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["a2"] });
  assert.deepEqual(known(calls), ["a1"]);
});

test("Who follows past an attempt that is missing hears of the one after it", async () => {
  const world = makeWorld();
  const { calls } = follow(world, "a1");
  await world.goLive([attempt("a", 1, 1, { retried_by: "a2" }), attempt("a", 3, 3)]);
  assert.deepEqual(known(calls), ["a3"]);
});

test("A ring of attempts is gone round once, however often one of them says something", async () => {
  const world = makeWorld();
  const { calls } = follow(world, "a2");
  const second = (version, next) => attempt("a", 2, 1, { user: "grace", version, retried_by: next });
  await world.goLive([], { user_id: null });
  await world.socket.answer("subscribe", { ok: true, tasks: [second(1, "a1")], denied: [] });
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["a1"] });
  for (let version = 2; version < 20; version += 1) {
    world.socket.fire("task_progress", second(version, version % 2 ? "a1" : null));
    await settle();
  }
  assert.equal(calls.at(-1).version, 19);
  assert.deepEqual(world.socket.messages("subscribe").flatMap(({ task_ids }) => task_ids), ["a2", "a1"]);
});

test("A task that is nowhere is told as that, also to who follows", async () => {
  const world = makeWorld();
  const { calls } = follow(world, "a1");
  await world.goLive([]);
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["a1"] });
  assert.deepEqual(known(calls), [null]);
});

test("To dismiss the newest attempt is to dismiss those before it", async () => {
  const world = makeWorld();
  const calls = [];
  world.rt.tasks((list, { families }) => calls.push([list.length, families.length]));
  await world.goLive([attempt("a", 1, 1), attempt("a", 2, 2), attempt("b", 1, 3)]);
  const dismissed = world.rt.dismiss("a2");
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1), [1, 1]);
  assert.deepEqual(await world.socket.answer("remove_task", { ok: true }), { task_id: "a1" });
  assert.deepEqual(await world.socket.answer("remove_task", { ok: true }), { task_id: "a2" });
  assert.equal(await dismissed, true);
});
