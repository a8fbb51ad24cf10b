import assert from "node:assert/strict";
import { test } from "node:test";
import { Announcer } from "../../../static/announcer.js";
import { Voice } from "../../../static/voice.js";
import { passTime, snapshot } from "./support/snapshots.mjs";

function listen(t, announcer) {
  if (!announcer) t.mock.timers.enable({ apis: ["setTimeout"] });
  const heard = [];
  const hearers = new Set();
  const client = { state: { state: "live" }, onState: (fn) => (hearers.add(fn), fn(client.state), () => hearers.delete(fn)) };
  const voice = new Voice(client, (announcer ??= new Announcer((text) => heard.push(text))));
  voice.hold("en");
  const become = (state) => {
    client.state = { state };
    for (const hearer of hearers) hearer(client.state);
  };
  return { heard, voice, become, hearers, announcer, pass: (ms) => passTime(t, ms) };
}
const done = (task_id, rest = {}) => snapshot({ task_id, name: task_id, status: "completed", ...rest });

test("milestones are told with the name, and an end with its message", (t) => {
  const { heard, voice, pass } = listen(t);
  voice.tell("started", snapshot());
  voice.tell("half", snapshot(), "My export");
  pass(1000);
  voice.tell("completed", done("A", { result: { message: "20 rows." } }));
  voice.tell("failed", snapshot({ name: "B", status: "failed", error: { message: "Row 3.", code: "x" } }));
  pass(1000);
  voice.tell("cancelled", snapshot({ name: "C", status: "cancelled" }));
  voice.tell("completed", done("D"));
  pass(1000);
  assert.deepEqual(heard, ["Export: started My export: half done", "A: done. 20 rows. B: failed. Row 3.", "C: cancelled D: done."]);
});

test("a lost connection is spoken of after three seconds, and its return with what ended meanwhile", (t) => {
  const { heard, voice, become, pass } = listen(t);
  become("offline");
  pass(2999);
  become("offline"); // a new date for the next try starts nothing anew
  pass(1);
  pass(1000);
  assert.deepEqual(heard, ["Connection lost. Showing what was known."]);
  voice.tell("completed", done("A"));
  become("live");
  voice.tell("failed", snapshot({ task_id: "B", status: "failed" }));
  voice.tell("failed", snapshot({ task_id: "B", status: "failed" })); // by two elements
  pass(1000);
  assert.deepEqual(heard.slice(1), ["Connected again. 2 jobs finished meanwhile."]);
  voice.tell("completed", done("C"));
  pass(1000);
  assert.deepEqual(heard.slice(2), ["C: done."]);
});

test("of two connections that are back it is told once, with what ended meanwhile in both", (t) => {
  const { heard, announcer, pass, ...one } = listen(t);
  const other = listen(t, announcer);
  for (const { become } of [one, other]) become("offline");
  pass(5000);
  one.voice.tell("completed", done("A"));
  for (const id of ["B", "C"]) other.voice.tell("completed", done(id));
  for (const { become } of [one, other]) become("live");
  pass(1000);
  assert.deepEqual(heard, ["Connection lost. Showing what was known.", "Connected again. 3 jobs finished meanwhile."]);
});

test("a short break is not spoken of, and what ended in it is told as always", (t) => {
  const { heard, voice, become, pass } = listen(t);
  become("offline");
  pass(2999);
  become("live");
  voice.tell("completed", done("A"));
  pass(10_000);
  assert.deepEqual(heard, ["A: done."]);
});

test("a connection that comes back while the loss is about to be spoken of is not spoken of", (t) => {
  const { heard, become, pass } = listen(t);
  become("offline");
  pass(3500);
  become("live");
  pass(10_000);
  assert.deepEqual(heard, []);
});

test("a connection that comes back and goes again at once is not called back", (t) => {
  const { heard, voice, become, pass } = listen(t);
  become("offline");
  pass(4000);
  become("live");
  voice.tell("completed", done("A"));
  pass(500);
  become("offline");
  pass(10_000);
  become("live");
  pass(1000);
  assert.deepEqual(heard, ["Connection lost. Showing what was known.", "Connected again. 1 job finished meanwhile."]);
});

test("delayed news and a lost sign-in have words of their own", (t) => {
  const { heard, become, pass } = listen(t);
  become("stale");
  pass(4000);
  become("live");
  pass(1000);
  become("denied");
  pass(1000);
  become("live");
  pass(1000);
  assert.deepEqual(heard, ["News is delayed.", "News is no longer delayed.", "Not signed in. Sign in again to see your jobs.", "Connected again."]);
});

test("once nobody holds it any more, it listens to nothing and says nothing", (t) => {
  const { heard, voice, become, hearers, pass } = listen(t);
  voice.hold("en");
  become("offline");
  voice.release();
  assert.equal(hearers.size, 1);
  voice.release();
  assert.equal(hearers.size, 0);
  pass(10_000);
  assert.deepEqual(heard, []);
});

const again = (n, rest = {}) => snapshot({ task_id: `t${n}`, attempt: n, retry_of: `t${n - 1}`, ...rest });
const failed = (rest) => snapshot({ status: "failed", error: { message: "Row 3.", code: "x" }, ...rest });

test("an end that goes on as another attempt within the second is told as that attempt, once", (t) => {
  const { heard, voice, pass } = listen(t);
  for (const _ of ["card", "list"]) {
    voice.tell("failed", failed());
    voice.tell("attempt", again(2, { status: "pending" }));
    voice.tell("started", again(2));
  }
  voice.tell("failed", failed()); // a card that stays with the first attempt
  pass(1000);
  assert.deepEqual(heard, ["Export: attempt 2"]);
  voice.tell("failed", failed({ task_id: "t2", attempt: 2, retry_of: "t1" }));
  pass(1000);
  voice.tell("attempt", again(3), "My export");
  pass(1000);
  voice.tell("started", again(3));
  pass(1000);
  assert.deepEqual(heard.slice(1), ["Export: failed. Row 3.", "My export: attempt 3", "Export: started"]);
});

test("an attempt that is over within the second is told by its end", (t) => {
  const { heard, voice, pass } = listen(t);
  voice.tell("failed", failed());
  voice.tell("attempt", again(2));
  voice.tell("completed", again(2, { status: "completed" }));
  pass(1000);
  assert.deepEqual(heard, ["Export: done."]);
});

test("many attempts at once are counted", (t) => {
  const { heard, voice, pass } = listen(t);
  for (const name of ["a", "b", "c"]) {
    voice.tell("failed", failed({ task_id: name }));
    voice.tell("attempt", snapshot({ task_id: `${name}2`, attempt: 2, retry_of: name }));
  }
  pass(1000);
  assert.deepEqual(heard, ["3 tried again."]);
});

test("a job and its retries finished once meanwhile, and not at all if one of them runs", (t) => {
  const { heard, voice, become, pass } = listen(t);
  become("offline");
  pass(4000);
  become("live");
  voice.tell("failed", failed());
  voice.tell("completed", again(2, { status: "completed" }));
  voice.tell("failed", failed({ task_id: "b1" }));
  voice.tell("attempt", snapshot({ task_id: "b2", name: "B", attempt: 2, retry_of: "b1" }));
  voice.tell("completed", done("c"));
  pass(1000);
  assert.deepEqual(heard.slice(1), ["Connected again. 2 jobs finished meanwhile. B: attempt 2"]);
});
