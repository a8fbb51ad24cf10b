import assert from "node:assert/strict";
import { test } from "node:test";

import { EPOCH, makeWorld, settle, snapshot, task } from "./support/fakes.mjs";

const at = (id, second, version = 1, more = {}) =>
  task(id, version, { created_at: `2026-11-24T14:00:${String(second).padStart(2, "0")}Z`, ...more });

/** Show the list and keep each call: `[ids, facts]`. */
function show(world) {
  const calls = [];
  const stop = world.rt.tasks((list, { families, ...facts }) => calls.push([list.map(({ task_id }) => task_id), facts]));
  return { calls, stop };
}

test("The list is told first as it is, empty and loading before anything is known, then whole", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  assert.deepEqual(calls, []);
  await settle();
  assert.deepEqual(calls, [[[], { loading: true, hasMore: false }]]);
  await world.goLive([at("a", 1), at("b", 2)]);
  assert.deepEqual(calls.at(-1), [["b", "a"], { loading: false, hasMore: false }]);
});

test("Who comes later is told what is known at once", async () => {
  const world = makeWorld();
  await world.goLive([at("a", 1)]);
  const { calls } = show(world);
  await settle();
  assert.deepEqual(calls, [[["a"], { loading: false, hasMore: false }]]);
});

test("The first change after a quiet time is told at once, and a storm once a frame with its last state", async () => {
  const world = makeWorld();
  await world.goLive([at("a", 1)]);
  const versions = [];
  world.rt.tasks(([only]) => versions.push(only.version));
  await world.clock.pass(100);
  assert.deepEqual(versions, [1]);
  world.socket.fire("task_progress", at("a", 1, 2));
  await settle();
  assert.deepEqual(versions, [1, 2]);
  for (let version = 3; version < 50; version += 1) world.socket.fire("task_progress", at("a", 1, version));
  await world.clock.pass(15);
  assert.deepEqual(versions, [1, 2]);
  await world.clock.pass(1);
  assert.deepEqual(versions, [1, 2, 49]);
  await world.clock.pass(1_000);
  assert.deepEqual(versions, [1, 2, 49]);
});

test("A clock that is set back delays nobody", async () => {
  const world = makeWorld();
  await world.goLive([at("a", 1)]);
  const { calls } = show(world);
  world.socket.fire("task_progress", at("a", 1, 2));
  await settle();
  const before = calls.length;
  world.clock.now -= 3_600_000;
  world.socket.fire("task_progress", at("a", 1, 3));
  await world.clock.pass(16);
  assert.equal(calls.length, before + 1);
});

test("What was stopped is not called any more", async () => {
  const world = makeWorld();
  await world.goLive();
  const { calls, stop } = show(world);
  await settle();
  stop();
  world.socket.fire("task_created", at("a", 1));
  await world.clock.pass(100);
  assert.equal(calls.length, 1);
});

test("The list stays through an outage, and is not said to be loading", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("a", 1)]);
  world.socket.lose();
  await world.clock.pass(100);
  assert.deepEqual(calls.at(-1), [["a"], { loading: false, hasMore: false }]);
});

test("A client that is denied before it knows anything has nothing on its way", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await settle();
  world.socket.open();
  await world.clock.pass(100);
  assert.deepEqual(calls.at(-1), [[], { loading: true, hasMore: false }]);
  world.socket.refuse("unauthenticated");
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1), [[], { loading: false, hasMore: false }]);
});

test("The rest of a long list is loaded page after page while somebody shows it", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("c", 3)], { has_more: true, next: "p1" });
  assert.deepEqual(calls.at(-1)[1], { loading: true, hasMore: true });
  assert.deepEqual(await world.socket.answer("list_tasks", { ok: true, tasks: [at("b", 2)], next: "p2" }), {
    limit: 100,
    before: "p1",
  });
  assert.deepEqual(await world.socket.answer("list_tasks", { ok: true, tasks: [at("a", 1)], next: null }), {
    limit: 100,
    before: "p2",
  });
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1), [["c", "b", "a"], { loading: false, hasMore: false }]);
  assert.equal(world.socket.messages("list_tasks").length, 2);
});

test("A snapshot that says there is more and not where is followed by the list from its start", async () => {
  const world = makeWorld();
  show(world);
  await world.goLive([at("c", 3)], { has_more: true });
  assert.deepEqual(world.socket.messages("list_tasks"), [{ limit: 100, before: null }]);
});

test("Nobody who shows the list, nothing is loaded; it is when somebody does", async () => {
  const world = makeWorld();
  await world.goLive([at("c", 3)], { has_more: true, next: "p1" });
  assert.deepEqual(world.socket.sent, []);
  const { calls, stop } = show(world);
  await settle();
  assert.deepEqual(calls.at(-1), [["c"], { loading: true, hasMore: true }]);
  stop();
  await world.socket.answer("list_tasks", { ok: true, tasks: [at("b", 2)], next: "p2" });
  assert.equal(world.socket.messages("list_tasks").length, 1);
});

test("A page that is refused for now is asked for again, one that is refused for good is not", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("c", 3)], { has_more: true, next: "p1" });
  await world.socket.answer("list_tasks", { ok: false, error: { code: "unavailable", message: "Later." } });
  assert.equal(world.socket.messages("list_tasks").length, 1);
  await world.clock.pass(250);
  assert.equal(world.socket.messages("list_tasks").length, 2);
  await world.socket.answer("list_tasks", { ok: false, error: { code: "invalid", message: "No." } });
  await world.clock.pass(60_000);
  assert.equal(world.socket.messages("list_tasks").length, 2);
  assert.deepEqual(calls.at(-1)[1], { loading: false, hasMore: true });
});

test("A page that was asked for in an earlier connection is nobody's; the next connection asks for its own", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("c", 3)], { has_more: true, next: "p1" });
  const first = world.socket;
  await world.comeBack();
  assert.deepEqual(calls.at(-1)[1], { loading: false, hasMore: true });
  await world.goLive([], { has_more: true, next: "q1" });
  await first.answer("list_tasks", { ok: true, tasks: [at("x", 1)], next: null });
  await world.socket.answer("list_tasks", { ok: true, tasks: [at("b", 2)], next: null });
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1), [["c", "b"], { loading: false, hasMore: false }]);
});

test("A page that waits to be asked for again does not outlive its connection", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("c", 3)], { has_more: true, next: "p1" });
  for (const wait of [250, 0]) {
    await world.socket.answer("list_tasks", { ok: false, error: { code: "unavailable", message: "Later." } });
    await world.clock.pass(wait);
  }
  world.socket.lose();
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1)[1], { loading: false, hasMore: true });
  await world.nextTry();
  await world.goLive([], { has_more: true, next: "q1" });
  assert.deepEqual(world.socket.messages("list_tasks"), [{ limit: 100, before: "q1" }]);
  await world.clock.pass(1_000);
  assert.equal(world.socket.messages("list_tasks").length, 1);
});

test("A page is asked for once, however many show the list, and not while there is nobody to ask", async () => {
  const world = makeWorld();
  show(world);
  await world.goLive([at("c", 3)], { has_more: true, next: "p1" });
  show(world);
  await settle();
  assert.equal(world.socket.messages("list_tasks").length, 1);
  world.socket.lose();
  const { calls } = show(world);
  await settle();
  assert.deepEqual(calls.map(([, { loading }]) => loading), [false]);
});

test("A page brings nothing back that was removed meanwhile", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([], { has_more: true, next: "p1" });
  world.socket.fire("task_removed", { task_id: "b", epoch: EPOCH, version: 2 });
  await world.socket.answer("list_tasks", { ok: true, tasks: [at("b", 2, 1)], next: null });
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1)[0], []);
});

test("A finished task of one's own is dismissed here and removed there", async () => {
  const world = makeWorld();
  await world.goLive([at("a", 1, 5, { status: "completed" }), at("b", 2)]);
  const { calls } = show(world);
  await settle();
  const dismissed = world.rt.dismiss("a");
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1)[0], ["b"]);
  assert.deepEqual(await world.socket.answer("remove_task", { ok: true }), { task_id: "a" });
  assert.equal(await dismissed, true);
});

test("Another's finished task, and one's own while offline, are dismissed here only", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("g", 1, 5, { status: "failed", user: "grace" }), at("a", 2, 5, { status: "failed" })]);
  assert.equal(await world.rt.dismiss("g"), false);
  assert.deepEqual(world.socket.sent, []);
  world.socket.lose();
  assert.equal(await world.rt.dismiss("a"), false);
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1)[0], []);
});

test("A task that the server does not remove stays dismissed here", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("a", 2, 5, { status: "failed" })]);
  const dismissed = world.rt.dismiss("a");
  await world.socket.answer("remove_task", { ok: false, error: { code: "not_found", message: "Gone." } });
  assert.equal(await dismissed, false);
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1)[0], []);
});

test("A running task cannot be dismissed", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("a", 2)]);
  assert.equal(await world.rt.dismiss("a"), false);
  assert.equal(await world.rt.dismiss("nobody"), false);
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1)[0], ["a"]);
  assert.deepEqual(world.socket.sent, []);
});

test("Whoever signs in as another sees nothing of the one before", async () => {
  const world = makeWorld();
  const { calls } = show(world);
  await world.goLive([at("a", 1)]);
  world.rt.reconnect();
  await settle();
  world.socket.accept();
  world.socket.fire("tasks_snapshot", snapshot([at("g", 1, 1, { user: "grace" })], { user_id: "grace" }));
  await world.clock.pass(16);
  assert.deepEqual(calls.at(-1)[0], ["g"]);
  assert.equal(world.rt.user, "grace");
});
