import assert from "node:assert/strict";
import { test } from "node:test";

import { makeWorld, settle, snapshot, task } from "./support/fakes.mjs";

const words = (world) => world.states.map(({ state }) => state);

test("reconnect() ends the wait, and leaves a try under way alone", async () => {
  const world = makeWorld();
  await settle();
  world.rt.reconnect();
  await settle();
  assert.equal(world.sockets.length, 1);
  world.socket.fail();
  world.rt.reconnect();
  world.rt.reconnect();
  await settle();
  assert.equal(world.sockets.length, 2);
  assert.equal(world.rt.state.retryAt, null);
});

test("reconnect() makes a live connection anew", async () => {
  const world = makeWorld();
  await world.goLive();
  world.rt.reconnect();
  assert.equal(world.rt.state.state, "offline");
  assert.equal(world.sockets[0].ended, true);
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
});

test("cut() closes the transport, says until when, and comes back by itself then and not before", async () => {
  const world = makeWorld();
  await world.goLive();
  world.rt.cut(5_000);
  assert.equal(world.socket.ended, true);
  assert.equal(world.rt.state.state, "offline");
  assert.equal(world.rt.state.reason.code, "cut");
  assert.equal(world.rt.state.retryAt, world.clock.now + 5_000);
  const { state } = world.rt;
  for (const event of ["online", "visible", "offline"]) world.browser(event);
  assert.equal(world.rt.state, state);
  await world.clock.pass(4_999);
  assert.equal(world.sockets.length, 1);
  await world.clock.pass(1);
  assert.equal(world.sockets.length, 2);
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
});

test("During a cut, trying now is seen to try and to fail, and does not end the cut", async () => {
  const world = makeWorld();
  await world.goLive();
  world.rt.cut(5_000);
  const { retryAt } = world.rt.state;
  world.states.length = 0;
  world.rt.reconnect();
  world.browser("offline");
  await world.clock.pass(1_000);
  assert.deepEqual(world.states.map((state) => [state.state, state.retryAt]), [["offline", null], ["offline", retryAt]]);
  assert.equal(world.sockets.length, 1);
  await world.clock.pass(4_000);
  assert.equal(world.sockets.length, 2);
});

test("A cut that ends while somebody tries is over", async () => {
  const world = makeWorld();
  await world.goLive();
  world.rt.cut(1_000);
  await world.clock.pass(900);
  world.rt.reconnect();
  await world.clock.pass(100);
  assert.equal(world.sockets.length, 2);
  await world.clock.pass(1_000);
  assert.equal(world.sockets.length, 2);
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
});

test("A second cut counts from when it was asked for", async () => {
  const world = makeWorld();
  await world.goLive();
  world.rt.cut(1_000);
  await world.clock.pass(500);
  world.rt.cut(1_000);
  await world.clock.pass(999);
  assert.equal(world.sockets.length, 1);
  await world.clock.pass(1);
  assert.equal(world.sockets.length, 2);
});

test("A cut takes milliseconds and nothing else", () => {
  const world = makeWorld();
  for (const ms of [-1, Number.NaN, Infinity, "5", undefined]) assert.throws(() => world.rt.cut(ms), RangeError);
});

test("close() is for good: nothing is tried, nothing is heard, nothing is left running", async () => {
  const world = makeWorld();
  await world.goLive();
  world.rt.close();
  assert.equal(world.rt.state.state, "closed");
  assert.equal(world.socket.ended, true);
  for (const act of [() => world.rt.reconnect(), () => world.rt.cut(10), () => world.rt.close()]) {
    act();
    assert.equal(world.rt.state.state, "closed");
    await world.clock.pass(60_000);
  }
  assert.equal(world.sockets.length, 1);
  assert.equal(world.rt.state.state, "closed");
  assert.equal(world.clock.pending, 0);
  assert.equal(world.watchers.size, 0);
  assert.deepEqual(words(world), ["connecting", "live", "closed"]);
});

test("close() in the middle of a try, a wait or a cut ends that too", async () => {
  const stages = [
    () => {},
    (world) => world.socket.fail(),
    (world) => world.rt.cut(500),
    (world) => world.socket.refuse("unauthenticated"),
  ];
  for (const stage of stages) {
    const world = makeWorld();
    await settle();
    stage(world);
    world.rt.close();
    assert.equal(world.clock.pending, 0);
    await world.clock.pass(60_000);
    assert.equal(world.sockets.length, 1);
    assert.equal(world.rt.state.state, "closed");
  }
});

test("A state listener may do anything to the client that told it", async () => {
  const closing = makeWorld();
  closing.rt.onState(({ state }) => state === "offline" && closing.rt.close());
  await settle();
  closing.socket.fail();
  await closing.clock.pass(60_000);
  assert.equal(closing.rt.state.state, "closed");
  assert.equal(closing.sockets.length, 1);
  assert.equal(closing.clock.pending, 0);

  for (const moment of [
    (state) => state.state === "offline" && state.retryAt === null, // a try begins
    (state) => state.reason?.code === "reconnect",
  ]) {
    const world = makeWorld();
    world.rt.onState((state) => moment(state) && world.rt.close());
    await world.goLive();
    world.rt.reconnect();
    await world.clock.pass(60_000);
    assert.equal(world.rt.state.state, "closed");
    assert.equal(world.sockets.length, 1);
    assert.equal(world.clock.pending, 0);
  }

  const eager = makeWorld();
  eager.rt.onState(({ state, retryAt }) => state === "offline" && retryAt !== null && eager.rt.reconnect());
  await settle();
  eager.socket.fail();
  await settle();
  assert.equal(eager.sockets.length, 2);
  await eager.clock.pass(19_000);
  assert.equal(eager.sockets.length, 2, "the wait that it did without is off");
});

test("A task listener may close the client that told it", async () => {
  const world = makeWorld();
  world.rt.task("a").subscribe(() => world.rt.close());
  await world.goLive([task("a")]);
  assert.deepEqual(words(world), ["connecting", "closed"]);

  const foreign = makeWorld();
  await foreign.goLive();
  foreign.rt.task("b").subscribe(() => foreign.rt.close());
  await settle();
  await foreign.socket.answer("subscribe", { ok: true, tasks: [task("b"), task("c", 1, { epoch: "other" })], denied: [] });
  await foreign.clock.pass(5_000);
  assert.equal(foreign.rt.state.state, "closed");
});

test("What changes nothing about the connection is no news", async () => {
  const world = makeWorld();
  await world.goLive();
  const { state } = world.rt;
  world.socket.fire("server_state", { state: "live" });
  world.socket.fire("tasks_snapshot", snapshot());
  assert.equal(world.rt.state, state);
  assert.equal(world.states.length, 2);
});

test("A second snapshot in a connection does not make it younger", async () => {
  const world = makeWorld();
  await settle();
  for (let failures = 0; failures < 4; failures += 1) {
    world.socket.fail();
    await world.nextTry();
  }
  await world.goLive();
  await world.clock.pass(9_000);
  world.socket.fire("tasks_snapshot", snapshot());
  await world.clock.pass(1_000);
  world.socket.lose();
  assert.equal(world.rt.state.retryAt - world.clock.now, 250);
});

test("onState tells the present state first, not inside the call, and can be stopped", async () => {
  const world = makeWorld();
  const heard = [];
  const stop = world.rt.onState(({ state }) => heard.push(state));
  assert.deepEqual(heard, []);
  await world.goLive();
  assert.deepEqual(heard, ["connecting", "live"]);
  stop();
  world.socket.lose();
  assert.deepEqual(heard, ["connecting", "live"]);
});

test("States that were handed out do not change", async () => {
  const world = makeWorld();
  const { state } = world.rt;
  assert.throws(() => {
    state.state = "live";
  }, TypeError);
  assert.ok(Object.isFrozen(state));
});
