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

test("Reconnecting sends the cursors of the list as they are then", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5), task("b", 5)]);
  world.socket.fire("task_progress", task("a", 9));
  await world.comeBack();
  world.socket.open();
  assert.deepEqual(world.socket.auth, { protocol: 1, output: false, epoch: EPOCH, cursors: { a: 9, b: 5 } });
});

test("Cursors are read when the transport opens, not when the try begins", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5), task("b", 1, { status: "completed" })]);
  await world.comeBack();
  await world.rt.dismiss("b");
  world.socket.open();
  assert.deepEqual(world.socket.auth.cursors, { a: 5 });
});

test("A hundred cursors go in the CONNECT, unfinished tasks first; the others that the snapshot lacks by subscribe", async () => {
  const world = makeWorld();
  const tasks = many(260, (id) => task(id, 7, { status: "completed", created_at: `2026-11-24T14:00:00.0${id.slice(2)}Z` }));
  await world.goLive([...tasks, task("running", 3, { created_at: "2026-11-24T13:00:00Z" })]);
  await world.comeBack();
  world.socket.accept();
  const told = Object.keys(world.socket.auth.cursors);
  assert.equal(told.length, 100);
  assert.equal(told[0], "running");
  assert.equal(told[1], "t0259");
  world.socket.fire("tasks_snapshot", snapshot([task("t0100", 8, { status: "completed" })]));
  await settle();
  const rest = [];
  for (let i = 0; i < 2; i += 1) {
    const { task_ids, cursors, epoch } = await world.socket.answer("subscribe", { ok: true, tasks: [], denied: [] });
    assert.ok(task_ids.length <= 100);
    assert.deepEqual(Object.keys(cursors), task_ids);
    assert.equal(epoch, EPOCH);
    rest.push(...task_ids);
  }
  assert.deepEqual(new Set([...told, ...rest, "t0100"]), new Set(["running", ...tasks.map(({ task_id }) => task_id)]));
  assert.equal(rest.length, 160);
});

test("Beside a long ticket fewer cursors have room in the CONNECT, and the others go by subscribe", async () => {
  const world = makeWorld({ ticket: "t".repeat(12_000) });
  await world.goLive(many(100));
  await world.comeBack();
  await world.goLive();
  assert.ok(JSON.stringify(world.socket.auth).length < 16_384 - 1_024);
  const rest = await world.socket.answer("subscribe", { ok: true, tasks: [], denied: [] });
  assert.equal(Object.keys(world.socket.auth.cursors).length + rest.task_ids.length, 100);
});

test("The rooms of tasks that come by themselves are left again after catching up", async () => {
  const world = makeWorld();
  const tasks = many(150);
  await world.goLive(tasks);
  await world.comeBack();
  await world.goLive();
  const { task_ids } = await world.socket.answer("subscribe", { ok: true, tasks: [], denied: [] });
  assert.deepEqual(await world.socket.answer("unsubscribe", { ok: true }), { task_ids });
  await world.comeBack();
  world.socket.open();
  assert.equal(Object.keys(world.socket.auth.cursors).length, 100);
  assert.equal(task_ids.length, 50);
});

test("Catching up finds what has changed and what has gone", async () => {
  const world = makeWorld();
  const tasks = many(103);
  const lists = [];
  world.rt.tasks((list) => lists.push(list));
  await world.goLive(tasks);
  await world.comeBack();
  world.socket.accept();
  const missing = tasks.map(({ task_id }) => task_id).filter((id) => !(id in world.socket.auth.cursors));
  world.socket.fire("tasks_snapshot", snapshot());
  await settle();
  world.socket.fire("task_progress", task(missing[2], 9));
  await world.socket.answer("subscribe", { ok: true, tasks: [task(missing[0], 8)], denied: [missing[1], missing[2]] });
  await world.clock.pass(16);
  const versions = Object.fromEntries(lists.at(-1).map(({ task_id, version }) => [task_id, version]));
  assert.equal(versions[missing[0]], 8);
  assert.equal(missing[1] in versions, false);
  assert.equal(versions[missing[2]], 9, "what came after the question was not what the answer was about");
});

test("What a snapshot says has left is told to those who watch it", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  const { told } = watch(world, "a");
  await settle();
  await world.comeBack();
  await world.goLive([], { removed: ["a"] });
  assert.deepEqual(told, [[5, true], [null, true]]);
});

test("Subscriptions are sent again after each reconnect, with current cursors", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  world.socket.fire("task_progress", other("b", 4));
  await world.comeBack();
  world.socket.accept();
  assert.deepEqual(world.socket.auth.cursors, {}, "it is not of the viewer's list");
  world.socket.fire("tasks_snapshot", snapshot());
  await settle();
  const message = await world.socket.answer("subscribe", { ok: true, tasks: [], denied: [] });
  assert.deepEqual(message, { task_ids: ["b"], epoch: EPOCH, cursors: { b: 4 } });
  assert.deepEqual(told, [[3, true], [4, true]]);
  await world.comeBack();
  await world.goLive();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.deepEqual(told, [[3, true], [4, true], [null, true]]);
});

test("A server that lost its memory is asked before a watched task is said to be gone", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5), task("b", 5)]);
  const [a, b] = [watch(world, "a"), watch(world, "b")];
  await settle();
  await world.comeBack();
  await world.goLive([task("b", 1, { epoch: "new" })], { epoch: "new" });
  assert.deepEqual(a.told, [[5, true]]);
  assert.deepEqual(b.told, [[5, true], [1, true]]);
  const message = await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["a"] });
  assert.deepEqual(message, { task_ids: ["a"], epoch: "new", cursors: {} });
  assert.deepEqual(a.told, [[5, true], [null, true]]);
});

test("An answer to an earlier connection's question is nobody's", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await settle();
  const first = world.socket;
  await world.comeBack();
  await world.goLive();
  await first.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.deepEqual(told, []);
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  assert.deepEqual(told, [[3, true]]);
});

test("A single task that was let go while offline is forgotten at the next connect", async () => {
  const world = makeWorld();
  await world.goLive();
  const { stop } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  world.socket.lose();
  stop();
  await world.clock.pass(1_000);
  await world.goLive();
  assert.deepEqual(world.socket.sent, []);
  const again = watch(world, "b");
  await settle();
  assert.deepEqual(again.told, []);
  assert.deepEqual(world.socket.messages("subscribe")[0].cursors, {});
});

test("A server that lost its memory is not asked about the many tasks that it had", async () => {
  const world = makeWorld();
  await world.goLive(many(150));
  await world.comeBack();
  await world.goLive([], { epoch: "new" });
  assert.deepEqual(world.socket.sent, []);
});

test("A second snapshot of another epoch in the same connection has all subscriptions sent again", async () => {
  const world = makeWorld();
  await world.goLive();
  const { told } = watch(world, "b");
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b", 3)], denied: [] });
  world.socket.fire("tasks_snapshot", snapshot([], { epoch: "new" }));
  await settle();
  const message = await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.deepEqual(message, { task_ids: ["b"], epoch: "new", cursors: {} });
  assert.deepEqual(told, [[3, true], [null, true]]);
});

test("Waits between refusals begin anew with each connection, and end with it", async () => {
  const world = makeWorld();
  await world.goLive();
  watch(world, "b");
  await settle();
  const refusal = { ok: false, error: { code: "limit", message: "Later." } };
  for (const wait of [250, 500, 1_000]) {
    await world.socket.answer("subscribe", refusal);
    await world.clock.pass(wait);
  }
  await world.socket.answer("subscribe", refusal);
  await world.comeBack();
  await world.goLive();
  await world.socket.answer("subscribe", refusal);
  await world.clock.pass(250);
  await world.socket.answer("subscribe", { ok: true, tasks: [other("b")], denied: [] });
  await world.clock.pass(60_000);
  assert.equal(world.socket.messages("subscribe").length, 2);
});
