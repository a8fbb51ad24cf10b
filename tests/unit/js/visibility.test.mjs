import assert from "node:assert/strict";
import { test } from "node:test";

import { makeWorld, settle, snapshot, task } from "./support/fakes.mjs";

const told = (socket) => socket.messages("visibility").map(({ hidden }) => hidden);

test("A page that is hidden says so, and that it is seen again; the same twice is said once", async () => {
  const world = makeWorld();
  await world.goLive();
  assert.deepEqual(told(world.socket), []);
  for (const hidden of [true, true, false, false]) {
    world.hide(hidden);
    await settle();
  }
  assert.deepEqual(told(world.socket), [true, false]);
});

test("A page that is hidden when it connects says so once its snapshot is here, in each connection", async () => {
  const world = makeWorld();
  world.hide(true);
  await settle();
  world.socket.accept();
  await settle();
  assert.deepEqual(told(world.socket), []);
  world.socket.fire("tasks_snapshot", snapshot());
  await settle();
  assert.deepEqual(told(world.socket), [true]);
  await world.comeBack();
  await world.goLive();
  assert.deepEqual(told(world.socket), [true]);
});

test("A page that was shown again while it was not connected says nothing", async () => {
  const world = makeWorld();
  await world.goLive();
  world.hide(true);
  await world.comeBack();
  world.hide(false);
  await world.goLive();
  assert.deepEqual(told(world.socket), []);
});

test("A refusal that passes is asked again with what is so by then", async () => {
  const world = makeWorld();
  await world.goLive();
  const limit = { ok: false, error: { code: "limit", message: "Too many." } };
  world.hide(true);
  await world.socket.answer("visibility", limit);
  await world.clock.pass(1_000);
  assert.deepEqual(told(world.socket), [true, true]);
  await world.socket.answer("visibility", limit);
  world.hide(false);
  await world.clock.pass(1_000);
  assert.equal(told(world.socket).at(-1), false);
});

test("Who watches gets one snapshot when the page is seen, as the server sends it", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const versions = [];
  world.rt.task("a").subscribe((it) => versions.push(it.version));
  await settle();
  world.hide(true);
  await settle();
  world.hide(false);
  world.socket.fire("task_progress", task("a", 9));
  await settle();
  assert.deepEqual(versions, [1, 9]);
});
