import "./support/vendored.mjs";

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { FakeSocket, settle, snapshot, task } from "./support/fakes.mjs";

const { connect, client, ...exported } = await import("../../../static/realtime.js");
const { io: officialIo } = await import("../../../static/socket.js");

let sockets = [];
let opened = [];
const io = (uri, options) => {
  sockets.push(new FakeSocket(uri, options));
  return sockets.at(-1);
};

/** `connect`, closed again when the test ends. */
function open(options) {
  const rt = connect(options);
  opened.push(rt);
  return rt;
}

/** A page, as far as it matters: an origin, a meta tag, events. */
function makePage({ meta = null, readyState = "complete" } = {}) {
  const document = new EventTarget();
  Object.assign(document, {
    readyState,
    visibilityState: "visible",
    querySelector: (selector) =>
      selector === 'meta[name="realtime"]' && meta ? { getAttribute: () => JSON.stringify(meta) } : null,
  });
  Object.assign(globalThis, { document, window: new EventTarget(), location: { origin: "https://app.example" } });
}

beforeEach(() => {
  sockets = [];
  opened = [];
});

afterEach(() => {
  for (const rt of opened) rt.close();
  for (const name of ["document", "window", "location"]) delete globalThis[name];
});

test("The module exports what users need and nothing else", () => {
  const names = ["Denied", "NotFound", "RealtimeError", "TaskCancelled", "TaskFailed", "TaskRemoved"];
  assert.deepEqual(Object.keys(exported).sort(), names);
});

test("connect() takes the place of the server from the page's meta tag", async () => {
  makePage({ meta: { path: "/ws", namespace: "/jobs", api: "/live/v1" } });
  open({ io });
  await settle();
  assert.equal(sockets[0].uri, "https://app.example/jobs");
  assert.equal(sockets[0].options.path, "/ws");
});

test("connect() outside a page needs a url", () => {
  assert.throws(() => connect({ io }), /needs a url/);
});

test("connect() with the same options gives the same client, with others an error that says what to do", () => {
  const rt = open({ url: "http://127.0.0.1:9", io });
  assert.equal(connect({ url: "http://127.0.0.1:9", io }), rt);
  assert.throws(() => connect({ url: "http://127.0.0.1:9", ticket: "t", io }), /"default" is open already/);
  const other = open({ url: "http://127.0.0.1:9", ticket: "t", name: "grace", io });
  assert.notEqual(other, rt);
  assert.equal(other.name, "grace");
});

test("A closed client's name is free", () => {
  const first = open({ url: "http://127.0.0.1:9", io });
  first.close();
  const second = open({ url: "http://127.0.0.1:9", ticket: "t", io });
  assert.notEqual(second, first);
  assert.equal(client(), second);
});

test("client() gives the open client of a name, and waits for one that is to come", async () => {
  const waits = [client("ada"), client("ada"), client("grace")];
  assert.ok(waits.every((each) => each instanceof Promise));
  const ada = open({ url: "http://127.0.0.1:9", name: "ada", io });
  assert.equal(client("ada"), ada);
  assert.deepEqual(await Promise.all(waits.slice(0, 2)), [ada, ada]);
  const grace = open({ url: "http://127.0.0.1:9", name: "grace", io });
  assert.equal(await waits[2], grace);
});

test("In a page with the meta tag the default client is made for whoever waits for it", async () => {
  makePage({ meta: { path: "/socket.io" } });
  const wait = client();
  assert.ok(wait instanceof Promise);
  const rt = await wait;
  opened.push(rt);
  assert.equal(rt.name, "default");
  assert.equal(client(), rt);
});

test("Without the meta tag, and for other names, none is made", async () => {
  const heard = [];
  makePage();
  client().then(() => heard.push("default"));
  makePage({ meta: {} });
  client("nobody").then(() => heard.push("nobody"));
  await settle();
  assert.deepEqual(heard, []);
});

test("A page's own connect() goes before the default client that elements ask for", async () => {
  makePage({ meta: {}, readyState: "interactive" });
  const wait = client();
  await settle();
  const own = open({ ticket: "t", io });
  document.dispatchEvent(new Event("DOMContentLoaded"));
  window.dispatchEvent(new Event("load"));
  assert.equal(await wait, own);
  assert.equal(client(), own);
});

test("After DOMContentLoaded the load event makes the default client as well", async () => {
  for (const [target, event] of [
    ["document", "DOMContentLoaded"],
    ["window", "load"],
  ]) {
    makePage({ meta: {}, readyState: "interactive" });
    const wait = client();
    globalThis[target].dispatchEvent(new Event(event));
    const rt = await wait;
    assert.equal(client(), rt);
    rt.close();
  }
});

test("The browser's own events reach the connection, until it is closed", async () => {
  makePage();
  const rt = open({ io });
  await settle();
  sockets[0].accept();
  sockets[0].fire("tasks_snapshot", snapshot([task("a")]));
  assert.equal(rt.state.state, "live");
  window.dispatchEvent(new Event("offline"));
  assert.equal(rt.state.state, "offline");
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  await settle();
  assert.equal(sockets.length, 1);
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  await settle();
  assert.equal(sockets.length, 2);
  window.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(sockets.length, 3);
  sockets[2].fail();
  window.dispatchEvent(new Event("pageshow"));
  await settle();
  assert.equal(sockets.length, 4);
  rt.close();
  window.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(sockets.length, 4);
});

test("A listener's exception reaches the page's error handler, or else the console", async (context) => {
  const heard = [];
  context.mock.method(console, "error", (error) => heard.push(`console: ${error.message}`));
  const rt = open({ url: "http://127.0.0.1:9", io });
  rt.onState(() => {
    throw new Error("one");
  });
  await settle();
  globalThis.reportError = (error) => heard.push(`page: ${error.message}`);
  context.after(() => delete globalThis.reportError);
  rt.close();
  assert.deepEqual(heard, ["console: one", "page: one"]);
});

test("The official client is what connects, with its own reconnecting off", async () => {
  let made;
  open({ url: "http://127.0.0.1:9", io: (uri, options) => (made = officialIo(uri, options)) });
  await settle();
  assert.equal(made.io.reconnection(), false);
  assert.equal(made.nsp, "/tasks");
  assert.equal(made.io.opts.path, "/socket.io");
});
