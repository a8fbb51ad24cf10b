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
  assert.deepEqual(world.socket.auth, { protocol: 1 });
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

for (const code of ["unauthenticated", "ticket_invalid", "ticket_expired", "origin_not_allowed"]) {
  test(`Refused with ${code} it is denied with the server's reason, and stops`, async () => {
    const world = makeWorld({ ticket: "t" });
    await settle();
    world.socket.refuse(code, "A sentence.");
    assert.equal(world.rt.state.state, "denied");
    assert.deepEqual(world.rt.state.reason, { code, message: "A sentence." });
    assert.equal(world.rt.state.retryAt, null);
    await world.clock.pass(120_000);
    world.browser("online");
    world.browser("visible");
    await settle();
    assert.equal(world.sockets.length, 1);
    assert.equal(world.clock.pending, 0);
  });
}

test("A server that does not serve the namespace denies with the code not_served", async () => {
  const world = makeWorld();
  await settle();
  world.socket.open();
  world.socket.fire("connect_error", new Error("Invalid namespace"));
  assert.equal(world.rt.state.state, "denied");
  assert.equal(world.rt.state.reason.code, "not_served");
});

for (const code of ["limit", "server_stopping", "unavailable", "internal"]) {
  test(`Refused with ${code} it is offline and tries again`, async () => {
    const world = makeWorld();
    await settle();
    world.socket.refuse(code, "Later.");
    assert.equal(world.rt.state.state, "offline");
    assert.deepEqual(world.rt.state.reason, { code, message: "Later." });
    await world.clock.pass(250);
    assert.equal(world.sockets.length, 2);
  });
}

test("A live connection that is refused when it comes back is denied", async () => {
  const world = makeWorld();
  await world.goLive();
  await world.comeBack();
  world.socket.refuse("unauthenticated");
  await settle();
  assert.deepEqual(words(world).filter((word, i, all) => word !== all[i - 1]), ["connecting", "live", "offline", "denied"]);
});

test("After denied, reconnect() starts anew as a first try", async () => {
  const world = makeWorld();
  await settle();
  world.socket.refuse("unauthenticated");
  world.rt.reconnect();
  assert.equal(world.rt.state.state, "connecting");
  assert.equal(world.rt.state.reason, null);
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
});

test("A ticket given as a string goes with every CONNECT", async () => {
  const world = makeWorld({ ticket: "t1" });
  await world.goLive();
  assert.equal(world.socket.auth.ticket, "t1");
  await world.comeBack();
  await world.goLive();
  assert.equal(world.socket.auth.ticket, "t1");
});

test("A ticket function is called at every connect, and may take its time", async () => {
  let calls = 0;
  const world = makeWorld({ ticket: async () => `t${(calls += 1)}` });
  await world.goLive();
  assert.equal(world.socket.auth.ticket, "t1");
  await world.comeBack();
  await world.goLive();
  assert.equal(world.socket.auth.ticket, "t2");
});

test("A ticket function that has no ticket connects without", async () => {
  const world = makeWorld({ ticket: () => null });
  await world.goLive();
  assert.equal("ticket" in world.socket.auth, false);
});

for (const code of ["ticket_expired", "ticket_invalid"]) {
  test(`With a ticket function ${code} is answered with a new ticket at once, and only once`, async () => {
    let calls = 0;
    const world = makeWorld({ ticket: () => `t${(calls += 1)}` });
    await settle();
    world.socket.refuse(code);
    await settle();
    assert.equal(world.rt.state.state, "connecting");
    world.socket.open();
    assert.equal(world.socket.auth.ticket, "t2");
    world.socket.refuse(code);
    assert.equal(world.rt.state.state, "denied");
    assert.equal(calls, 2);
  });
}

test("Whoever was denied with a fresh ticket and tries again may have it renewed again", async () => {
  let calls = 0;
  const world = makeWorld({ ticket: () => `t${(calls += 1)}` });
  for (let turn = 0; turn < 2; turn += 1) {
    await settle();
    world.socket.refuse("ticket_expired");
    await settle();
    assert.equal(world.rt.state.state, "connecting");
    world.socket.refuse("ticket_expired");
    assert.equal(world.rt.state.state, "denied");
    world.rt.reconnect();
  }
  assert.equal(calls, 5);
});

test("A ticket that expires again in a later connection is again fetched anew", async () => {
  let calls = 0;
  const world = makeWorld({ ticket: () => `t${(calls += 1)}` });
  await settle();
  world.socket.refuse("ticket_expired");
  await world.goLive();
  await world.comeBack();
  world.socket.refuse("ticket_expired");
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
});

test("A ticket function that throws is a failed try with its message", async () => {
  let broken = true;
  const world = makeWorld({
    ticket: async () => {
      if (broken) throw new Error("the ticket shop is shut");
      return "t";
    },
  });
  await settle();
  assert.equal(world.rt.state.state, "offline");
  assert.deepEqual(world.rt.state.reason, { code: "ticket", message: "the ticket shop is shut" });
  broken = false;
  await world.clock.pass(250);
  await world.goLive();
  assert.equal(world.rt.state.state, "live");
});

test("A ticket function that gives anything but a string is a failed try that says so", async () => {
  const world = makeWorld({ ticket: () => ({ ticket: "t" }) });
  await settle();
  assert.equal(world.rt.state.state, "offline");
  assert.match(world.rt.state.reason.message, /a ticket is a string, not object/);
});

test("A ticket that arrives when its try is over opens nothing", async () => {
  const hands = [];
  const world = makeWorld({ ticket: () => new Promise((resolve) => hands.push(resolve)) });
  await world.clock.pass(20_000);
  assert.equal(world.rt.state.reason.code, "timeout");
  hands[0](Promise.reject(new Error("late")));
  await settle();
  assert.equal(world.rt.state.reason.code, "timeout");
  assert.equal(world.sockets.length, 0);
  await world.clock.pass(250);
  await world.clock.pass(20_000 + 500);
  hands[1]("late");
  await settle();
  assert.equal(world.sockets.length, 0);
  hands[2]("t");
  await settle();
  assert.equal(world.sockets.length, 1);
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
