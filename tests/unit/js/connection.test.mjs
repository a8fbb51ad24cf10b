import assert from "node:assert/strict";
import { test } from "node:test";

import { makeWorld, seeded, settle, snapshot, task } from "./support/fakes.mjs";

const words = (world) => world.states.map(({ state }) => state);

test("The first connect goes from connecting to live, when the tasks_snapshot is here and not before", async () => {
  const world = makeWorld();
  assert.deepEqual(world.rt.state, { state: "connecting", reason: null, since: world.clock.now, retryAt: null });
  await settle();
  assert.equal(world.socket.uri, "http://server/tasks");
  const { path, reconnection, autoConnect, forceNew, tryAllTransports } = world.socket.options;
  assert.equal(path, "/socket.io");
  assert.equal(reconnection, false, "the times of tries are the client's own to tell");
  assert.equal(autoConnect, false, "not before it is listened to");
  assert.equal(forceNew, true, "two clients of one page share nothing");
  assert.equal(tryAllTransports, true, "long-polling where WebSockets fail");
  assert.equal(world.socket.opened, true);
  world.socket.accept();
  await settle();
  assert.equal(world.rt.state.state, "connecting");
  world.socket.fire("tasks_snapshot", snapshot());
  await settle();
  assert.deepEqual(words(world), ["connecting", "live"]);
  assert.equal(world.rt.user, "ada");
});

test("The first CONNECT names no cursors, and no ticket where there is none", async () => {
  const world = makeWorld();
  await world.goLive();
  assert.deepEqual(world.socket.auth, { protocol: 1, output: false });
});

test("A first try that fails makes it offline, not connecting again", async () => {
  const world = makeWorld();
  await settle();
  world.socket.fail("xhr poll error");
  await settle();
  assert.equal(world.rt.state.state, "offline");
  assert.deepEqual(world.rt.state.reason, { code: "network", message: "xhr poll error" });
  await world.clock.pass(250);
  assert.equal(world.sockets.length, 2);
  assert.equal(world.rt.state.state, "offline");
  assert.equal(world.rt.state.retryAt, null);
});

test("A lost connection is tried again exactly when retryAt says", async () => {
  const world = makeWorld({ random: () => 0.999 });
  await world.goLive();
  world.socket.lose("ping timeout");
  const { state, reason, retryAt, since } = world.rt.state;
  assert.equal(state, "offline");
  assert.match(reason.message, /ping timeout/);
  assert.equal(since, world.clock.now);
  assert.equal(retryAt, world.clock.now + 499.5);
  await world.clock.pass(499);
  assert.equal(world.sockets.length, 1);
  await world.clock.pass(0.5);
  assert.equal(world.sockets.length, 2);
  assert.equal(world.rt.state.since, since);
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
  assert.equal(world.rt.state.retryAt, null);
});

test("Waits grow up to half a minute while tries fail, and are anywhere below that", async () => {
  const { random } = seeded(5);
  const world = makeWorld({ random });
  await settle();
  for (let failures = 0; failures < 12; failures += 1) {
    const width = Math.min(30_000, 500 * 2 ** failures);
    world.socket.fail();
    const wait = world.rt.state.retryAt - world.clock.now;
    assert.ok(wait >= 0 && wait < width, `${wait} after ${failures} failures`);
    const tries = world.sockets.length;
    await world.clock.pass(wait);
    assert.equal(world.sockets.length, tries + 1);
  }
});

test("A connection that lived goes back to short waits; one that was dropped at once does not", async () => {
  const world = makeWorld({ random: () => 0.5 });
  await settle();
  for (let failures = 0; failures < 4; failures += 1) {
    world.socket.fail();
    await world.nextTry();
  }
  await world.goLive();
  world.socket.lose();
  assert.equal(world.rt.state.retryAt - world.clock.now, 4_000);
  await world.nextTry();
  await world.goLive();
  await world.clock.pass(10_000);
  world.socket.lose();
  assert.equal(world.rt.state.retryAt - world.clock.now, 250);
});

test("A server that takes the connection and then says nothing is given up after 20 s", async () => {
  const world = makeWorld();
  await settle();
  world.socket.accept();
  await world.clock.pass(19_999);
  assert.equal(world.rt.state.state, "connecting");
  await world.clock.pass(1);
  assert.equal(world.rt.state.state, "offline");
  assert.equal(world.rt.state.reason.code, "timeout");
  assert.equal(world.sockets[0].ended, true);
});

test("A proxy that swallows WebSockets makes the next try begin with long-polling", async () => {
  const world = makeWorld();
  await settle();
  assert.deepEqual(world.socket.options.transports, ["websocket", "polling"]);
  await world.clock.pass(20_000 + 250);
  assert.deepEqual(world.socket.options.transports, ["polling", "websocket"]);
});

test("What an earlier try still has to say is not heard", async () => {
  const world = makeWorld();
  await settle();
  const first = world.socket;
  first.fail();
  await world.clock.pass(250);
  await world.goLive();
  first.fire("connect_error", new Error("late"));
  first.fire("disconnect", "late");
  first.fire("tasks_snapshot", snapshot([task("a")]));
  first.fire("server_state", { state: "stale" });
  assert.equal(world.rt.state.state, "live");
  assert.equal(world.sockets.length, 2);
});

test("The server says that its task store is away and is back: stale and live", async () => {
  const world = makeWorld();
  await world.goLive();
  world.socket.fire("server_state", { state: "stale" });
  assert.equal(world.rt.state.state, "stale");
  assert.equal(world.rt.state.reason.code, "unavailable");
  world.socket.fire("server_state", { state: "live" });
  assert.equal(world.rt.state.state, "live");
  assert.equal(world.rt.state.reason, null);
});

test("A store that is away before the first snapshot is stale, not a failed try; once back, the snapshot is owed", async () => {
  const world = makeWorld();
  await settle();
  world.socket.accept();
  world.socket.fire("server_state", { state: "stale" });
  await world.clock.pass(60_000);
  assert.equal(world.rt.state.state, "stale");
  world.socket.fire("server_state", { state: "live" });
  assert.notEqual(world.rt.state.state, "live");
  await world.clock.pass(20_000);
  assert.equal(world.rt.state.state, "offline");
  assert.equal(world.rt.state.reason.code, "timeout");
});

test("What was stale in one connection is not in the next", async () => {
  const world = makeWorld();
  await world.goLive();
  world.socket.fire("server_state", { state: "stale" });
  await world.comeBack();
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
});

test("A server that goes away says within how many seconds to come back", async () => {
  const world = makeWorld();
  await world.goLive();
  world.socket.fire("server_state", { state: "stopping", reconnect_within: 8 });
  assert.equal(world.rt.state.state, "live");
  world.socket.lose();
  assert.equal(world.rt.state.state, "offline");
  assert.equal(world.rt.state.retryAt, world.clock.now + 4_000);
});

test("A network that comes back, and a page that is looked at again, end the wait", async () => {
  for (const event of ["online", "visible"]) {
    const world = makeWorld();
    await world.goLive();
    world.socket.lose();
    world.browser(event);
    await settle();
    assert.equal(world.sockets.length, 2, event);
    await world.clock.pass(10_000);
    assert.equal(world.sockets.length, 2, `${event}: the former wait is off`);
  }
});

test("A page that is looked at does not disturb a try under way; a network that comes back replaces it", async () => {
  const world = makeWorld();
  await settle();
  world.browser("visible");
  await settle();
  assert.equal(world.sockets.length, 1);
  world.browser("online");
  await settle();
  assert.equal(world.sockets.length, 2);
  assert.equal(world.sockets[0].ended, true);
});

test("With the network the short waits are back", async () => {
  const world = makeWorld();
  await settle();
  for (let failures = 0; failures < 5; failures += 1) {
    world.socket.fail();
    await world.nextTry();
  }
  world.browser("online");
  await settle();
  world.socket.fail();
  assert.equal(world.rt.state.retryAt - world.clock.now, 250);
});

test("Neither disturbs a connection that waits for the server's task store", async () => {
  const world = makeWorld();
  await settle();
  world.socket.accept();
  world.socket.fire("server_state", { state: "stale" });
  world.browser("online");
  world.browser("visible");
  await settle();
  assert.equal(world.sockets.length, 1);
  assert.equal(world.rt.state.state, "stale");
});

test("Neither disturbs a connection that is up", async () => {
  const world = makeWorld();
  await world.goLive();
  world.browser("online");
  world.browser("visible");
  await settle();
  assert.equal(world.sockets.length, 1);
  assert.equal(world.rt.state.state, "live");
});

test("It is offline when the browser says so, and goes on trying: the server may be this machine", async () => {
  const world = makeWorld();
  await world.goLive();
  world.browser("offline");
  assert.equal(world.rt.state.state, "offline");
  assert.equal(world.rt.state.reason.code, "network");
  assert.equal(world.sockets[0].ended, true);
  const { retryAt } = world.rt.state;
  world.browser("offline");
  assert.equal(world.rt.state.retryAt, retryAt);
  await world.clock.pass(250);
  assert.equal(world.sockets.length, 2);
});

test("A foreign frame makes the client connect anew, at most once a second", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  world.socket.fire("task_progress", task("a", 9, { epoch: "other" }));
  assert.equal(world.sockets[0].ended, true);
  assert.equal(world.rt.state.reason.code, "resync");
  await settle();
  assert.equal(world.sockets.length, 2);
  await world.goLive([task("a", 5)]);
  world.socket.fire("task_progress", task("a", 9, { epoch: "other" }));
  assert.equal(world.rt.state.retryAt, world.clock.now + 1_000);
  await world.clock.pass(999);
  assert.equal(world.sockets.length, 2);
  await world.clock.pass(1);
  assert.equal(world.sockets.length, 3);
  await world.goLive([task("a", 9, { epoch: "other" })], { epoch: "other" });
  assert.equal(world.rt.state.state, "live");
  await world.clock.pass(5_000);
  assert.equal(world.sockets.length, 3);
});

test("A server that lost its memory may send news before its snapshot: nothing is lost, nothing is asked again", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  await world.comeBack();
  world.socket.accept();
  const ended = task("a", 3, { epoch: "new", status: "completed" });
  world.socket.fire("task_completed", ended);
  world.socket.fire("tasks_snapshot", snapshot([task("a", 2, { epoch: "new" })], { epoch: "new" }));
  await world.clock.pass(2_000);
  assert.equal(world.rt.state.state, "live");
  assert.equal(world.sockets.length, 2);
  assert.equal(await world.rt.task("a").done(), null);
});

test("A frame that cannot be read is reported, and the next one is read", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 5)]);
  world.socket.fire("task_progress", null);
  world.socket.fire("task_removed", undefined);
  world.socket.fire("tasks_snapshot", { epoch: "x" });
  assert.equal(world.reported.length, 3);
  const seen = [];
  world.rt.task("a").subscribe(({ version }) => seen.push(version));
  world.socket.fire("task_progress", task("a", 6));
  assert.deepEqual(seen, [6]);
});

test("Whoever looks at the wire sees each push as it came, and cannot break it", async () => {
  const world = makeWorld();
  const seen = [];
  world.rt.onEvent(() => {
    throw new Error("mine");
  });
  const stop = world.rt.onEvent((event, payload) => seen.push([event, payload.version]));
  await world.goLive();
  world.socket.fire("task_progress", task("a", 2));
  world.socket.fire("task_progress", task("a", 1));
  stop();
  world.socket.fire("task_progress", task("a", 3));
  assert.deepEqual(seen, [["tasks_snapshot", undefined], ["task_progress", 2], ["task_progress", 1]]);
  assert.equal(world.reported.length, 4);
});

test("The server's clock is known from its snapshot", async () => {
  const world = makeWorld();
  assert.equal(world.rt.skew, 0);
  world.clock.now = Date.parse("2026-11-24T14:00:00Z");
  await world.goLive([], { server_time: "2026-11-24T14:00:02.500Z" });
  assert.equal(world.rt.skew, 2_500);
  await world.comeBack();
  await world.goLive([], { server_time: undefined });
  assert.equal(world.rt.skew, 2_500);
});
