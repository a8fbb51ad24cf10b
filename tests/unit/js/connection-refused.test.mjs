import assert from "node:assert/strict";
import { test } from "node:test";

import { makeWorld, settle } from "./support/fakes.mjs";

const words = (world) => world.states.map(({ state }) => state);

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

test("Whoever is denied is told why in the console, once for each time: a page without elements shows nothing", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const world = makeWorld();
  await settle();
  world.socket.refuse("unauthenticated", "Not signed in.");
  await world.clock.pass(120_000);
  assert.deepEqual(warn.mock.calls.map(({ arguments: [text] }) => text), ["realtime: Not signed in. (unauthenticated)"]);
});

test("A server that does not serve the namespace denies with the code not_served", async () => {
  const world = makeWorld();
  await settle();
  world.socket.open();
  world.socket.fire("connect_error", new Error("Invalid namespace"));
  assert.equal(world.rt.state.state, "denied");
  assert.equal(world.rt.state.reason.code, "not_served");
});

test("A long poll that is refused by its answer tells the server's reason, and what others answer is none of it", async () => {
  const world = makeWorld();
  await settle();
  const said = { code: "multiprocess", message: "Several workers share this port." };
  const answers = [JSON.stringify({ code: 3, message: "m", error: said }), "<h1>502</h1>", '"Invalid session"', "", '{"error": {"code": 1}}', '{"error": null}', undefined];
  for (const responseText of answers) {
    world.socket.fire("connect_error", Object.assign(new Error("xhr poll error"), { context: { responseText } }));
    assert.equal(world.rt.state.state, "offline");
    assert.deepEqual(world.rt.state.reason, responseText === answers[0] ? said : { code: "network", message: "xhr poll error" });
    world.rt.reconnect();
    await settle();
  }
});

for (const code of ["limit", "server_stopping", "unavailable", "multiprocess", "internal"]) {
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
