import assert from "node:assert/strict";
import { test } from "node:test";

import { EPOCH, makeWorld, settle, snapshot, task } from "./support/fakes.mjs";

const other = (id, version = 1, more = {}) => task(id, version, { user: "grace", ...more });
const many = (count, make = (id) => task(id, 7)) => Array.from({ length: count }, (_, i) => make(`t${String(i).padStart(4, "0")}`));

/** Watch a task and keep what is told: `[version or null, known]`. */
function watch(world, id) {
  const told = [];
  const stop = world.rt.task(id).subscribe((it, { known }) => told.push([it && it.version, known]));
  return { told, stop };
}

test("A task of the viewer's own list needs no asking: the snapshot first, then what is newer", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  const { told, stop } = watch(world, "a");
  assert.deepEqual(told, []);
  await settle();
  world.socket.fire("task_progress", task("a", 5));
  world.socket.fire("task_progress", task("a", 4));
  world.socket.fire("task_progress", task("a", 7));
  stop();
  world.socket.fire("task_progress", task("a", 8));
  assert.deepEqual(told, [[5, true], [7, true]]);
  assert.deepEqual(world.socket.sent, []);
});

test("A task that is not in the list is subscribed to, and its answer is told", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await settle();
  const message = await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  assert.deepEqual(message, { task_ids: ["b"], epoch: EPOCH, cursors: {} });
  world.socket.fire("task_progress", other("b", 4));
  assert.deepEqual(told, [[3, true], [4, true]]);
});

test("Subscriptions that were made before the first snapshot wait for it, and only those that it lacks are asked for", async () => {
  const world = makeWorld();
  const mine = watch(world, "mine");
  watch(world, "single");
  await settle();
  world.socket.accept();
  await settle();
  assert.deepEqual(world.socket.sent, []);
  world.socket.fire("tasks_snapshot", snapshot([task("mine", 2)]));
  await settle();
  assert.deepEqual(world.socket.messages("subscribe").map(({ task_ids }) => task_ids), [["single"]]);
  assert.deepEqual(mine.told, [[2, true]]);
});

test("Many subscriptions go in hundreds, one message after another", async () => {
  const world = makeWorld();
  await world.goLive();
  const ids = many(250).map(({ task_id }) => task_id);
  for (const id of ids) watch(world, id);
  await settle();
  assert.equal(world.socket.messages("subscribe").length, 1);
  for (let i = 0; i < 3; i += 1) {
    await world.socket.answer("subscribe", ({ task_ids }) => ({ ok: true, tasks: [], denied: task_ids }));
  }
  const asked = world.socket.messages("subscribe").map(({ task_ids }) => task_ids);
  assert.deepEqual(asked.map((each) => each.length), [100, 100, 50]);
  assert.deepEqual(asked.flat(), ids);
});

test("Two who watch one task make one subscription, which ends with the second", async () => {
  const world = makeWorld();
  await world.goLive();
  const [first, second] = [watch(world, "b"), watch(world, "b")];
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b")], denied: [] });
  assert.equal(world.socket.messages("subscribe").length, 1);
  first.stop();
  await settle();
  assert.deepEqual(world.socket.messages("unsubscribe"), []);
  second.stop();
  await settle();
  assert.deepEqual(world.socket.messages("unsubscribe"), [{ task_ids: ["b"] }]);
});

test("An element that moves in the page stops and subscribes again without a word to the server", async () => {
  const world = makeWorld();
  await world.goLive();
  const first = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b")], denied: [] });
  first.stop();
  const second = watch(world, "b");
  await settle();
  assert.equal(world.socket.sent.length, 1);
  assert.deepEqual(second.told, [[1, true]]);
});

test("A task that the server denies is told as null, unknown or not yours alike", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.deepEqual(told, [[null, false]]);
});

test("Text that is no task id is nobody's task, and is not sent", async () => {
  const world = makeWorld();
  const { told } = watch(world, "no such id!");
  await settle();
  assert.deepEqual(told, [[null, false]]);
  await world.goLive();
  assert.deepEqual(world.socket.sent, []);
  assert.deepEqual(told, [[null, false]]);
});

test("A ticket may precede its task: neither told nor denied, it is waited for", async () => {
  const world = makeWorld();
  await world.goLive([], { user_id: null });
  const { told } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: [] });
  assert.deepEqual(told, []);
  world.socket.fire("task_created", other("b", 3));
  assert.deepEqual(told, [[3, true]]);
});

test("A denied task that exists by now is found by whoever asks later; those who were told hear of it too", async () => {
  const world = makeWorld();
  await world.goLive();
  const first = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  const second = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  assert.deepEqual(first.told, [[null, false], [3, true]]);
  assert.deepEqual(second.told, [[3, true]]);
});

test("Nobody is told the same twice", async () => {
  const world = makeWorld();
  await world.goLive();
  const first = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.deepEqual(first.told, [[null, false]]);
});

test("A removed task is told as null that was known", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  const { told } = watch(world, "a");
  await settle();
  world.socket.fire("task_removed", { task_id: "a", epoch: EPOCH, version: 6 });
  world.socket.fire("task_created", task("a", 7));
  assert.deepEqual(told, [[5, true], [null, true], [7, true]]);
});

test("What arrives in one batch is told whole: an end is told before its removal", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  const { told } = watch(world, "a");
  world.socket.fire("task_completed", task("a", 6, { status: "completed" }));
  world.socket.fire("task_removed", { task_id: "a", epoch: EPOCH, version: 7 });
  await settle();
  assert.deepEqual(told, [[6, true], [null, true]]);
});

for (const code of ["unavailable", "limit", "internal"]) {
  test(`A subscription that the server cannot take now (${code}) is asked for again`, async () => {
    const world = makeWorld();
    await world.goLive();
    const { told } = watch(world, "b");
    await settle();
    await world.socket.answer("subscribe", { ok: false, error: { code, message: "Later." } });
    assert.deepEqual(told, []);
    await world.clock.pass(250);
    await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
    assert.deepEqual(told, [[3, true]]);
  });
}

test("A subscription without an answer is asked for again", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await world.clock.pass(10_250);
  assert.equal(world.socket.messages("subscribe").length, 2);
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.deepEqual(told, [], "the answer came when it was no longer waited for");
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  assert.deepEqual(told, [[3, true]]);
});

test("A subscription that the server refuses for good is told as null", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: false, error: { code: "invalid", message: "No." } });
  await world.clock.pass(60_000);
  assert.deepEqual(told, [[null, false]]);
  assert.equal(world.socket.messages("subscribe").length, 1);
});

test("What is no longer watched when its turn comes is not asked for again", async () => {
  const world = makeWorld();
  await world.goLive();
  const { stop } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: false, error: { code: "limit", message: "Later." } });
  stop();
  await settle();
  await world.socket.answer("unsubscribe", { ok: true });
  await world.clock.pass(60_000);
  assert.equal(world.socket.messages("subscribe").length, 1);
});

test("A single task never shows up in the list: not while it is watched, nor when its last news come late", async () => {
  const world = makeWorld();
  const lists = [];
  world.rt.tasks((list) => lists.push(list.map(({ task_id }) => task_id)));
  await world.goLive();
  const { stop } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  world.socket.fire("task_progress", other("b", 4));
  stop();
  await settle();
  world.socket.fire("task_progress", other("b", 5));
  await world.clock.pass(100);
  await world.socket.answer("unsubscribe", { ok: true });
  await world.clock.pass(100);
  assert.deepEqual([...new Set(lists.flat())], []);
  const again = watch(world, "b");
  await settle();
  assert.deepEqual(again.told, [], "what nobody watched was forgotten: it was not kept up to date");
  assert.equal(world.socket.messages("subscribe").length, 2);
});

test("A task of somebody's group is listed when it is pushed without having been asked for", async () => {
  const world = makeWorld();
  const lists = [];
  world.rt.tasks((list) => lists.push(list.map(({ task_id }) => task_id)));
  await world.goLive();
  world.socket.fire("task_created", other("g", 1, { groups: ["team:7"] }));
  await world.clock.pass(16);
  assert.deepEqual(lists.at(-1), ["g"]);
});

test("A listener that throws is reported and the others hear; the client goes on", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  world.rt.task("a").subscribe(() => {
    throw new Error("mine");
  });
  const { told } = watch(world, "a");
  await settle();
  world.socket.fire("task_progress", task("a", 6));
  assert.deepEqual(told, [[5, true], [6, true]]);
  assert.deepEqual(world.reported.map(({ message }) => message), ["mine", "mine"]);
  assert.equal(world.rt.state.state, "live");
});

test("A denial does not take back what has arrived since the question", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await settle();
  world.socket.fire("task_created", other("b", 9));
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.deepEqual(told, [[9, true]]);
});

test("An id that was denied and let go is listed when a task of the viewer's group takes it", async () => {
  const world = makeWorld();
  const lists = [];
  world.rt.tasks((list) => lists.push(list.map(({ task_id }) => task_id)));
  await world.goLive();
  const { stop } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  stop();
  await settle();
  assert.deepEqual(world.socket.messages("unsubscribe"), [], "the server had not taken it");
  world.socket.fire("task_created", other("b", 9, { groups: ["team:7"] }));
  await world.clock.pass(16);
  assert.deepEqual(lists.at(-1), ["b"]);
});

test("Taking a subscription back is tried again with the next change when the server could not", async () => {
  const world = makeWorld();
  await world.goLive();
  const { stop } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b")], denied: [] });
  stop();
  await settle();
  await world.socket.answer("unsubscribe", { ok: false, error: { code: "unavailable", message: "Later." } });
  watch(world, "c");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["c"] });
  assert.deepEqual(await world.socket.answer("unsubscribe", { ok: true }), { task_ids: ["b"] });
});

test("Whoever watches again while the subscription is taken back is subscribed again after", async () => {
  const world = makeWorld();
  await world.goLive();
  const { stop } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b")], denied: [] });
  stop();
  await settle();
  const again = watch(world, "b");
  await settle();
  assert.equal(world.socket.messages("subscribe").length, 1);
  await world.socket.answer("unsubscribe", { ok: true });
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 4)], denied: [] });
  assert.deepEqual(again.told, [[1, true], [4, true]]);
});

test("Whoever comes and goes in one breath after another leaves no subscription behind", async () => {
  const world = makeWorld();
  await world.goLive();
  const { stop } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: [] });
  stop();
  watch(world, "b").stop();
  await settle();
  assert.deepEqual(world.socket.messages("unsubscribe"), [{ task_ids: ["b"] }]);
});

test("An answer that cannot be read is reported, and the next question is asked", async () => {
  const world = makeWorld();
  await world.goLive();
  watch(world, "b");
  await settle();
  watch(world, "c");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [null], denied: [] });
  assert.equal(world.reported.length, 1);
  assert.deepEqual(world.socket.messages("subscribe").map(({ task_ids }) => task_ids), [["b"], ["c"]]);
});

test("A dismissed task is still known to who watches it, and needs no asking", async () => {
  const world = makeWorld();
  await world.goLive([other("g", 5, { status: "failed" })]);
  await world.rt.dismiss("g");
  await world.comeBack();
  await world.goLive();
  const { told } = watch(world, "g");
  await settle();
  assert.deepEqual(told, [[5, true]]);
  assert.deepEqual(world.socket.sent, []);
});

test("After close() nobody is called any more, a first call that was on its way included", async () => {
  const world = makeWorld();
  const heard = [];
  world.rt.onEvent(() => world.rt.close());
  world.rt.onEvent(() => heard.push("event"));
  await settle();
  world.rt.task("a").subscribe(() => heard.push("task"));
  world.socket.accept();
  world.rt.tasks(() => heard.push("list"));
  world.socket.fire("tasks_snapshot", snapshot([task("a")]));
  await world.clock.pass(100);
  assert.deepEqual(heard, ["task"], "the snapshot was applied before it was shown");

  const early = makeWorld();
  await early.goLive([task("a")]);
  early.rt.task("a").subscribe(() => heard.push("late task"));
  early.rt.tasks(() => heard.push("late list"));
  early.rt.close();
  await early.clock.pass(100);
  assert.deepEqual(heard, ["task"]);
});

test("What is no function cannot subscribe", () => {
  const world = makeWorld();
  assert.throws(() => world.rt.task("a").subscribe(), /needs a function/);
});
