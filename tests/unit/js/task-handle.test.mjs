import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { Denied, NotFound, RealtimeError, TaskCancelled, TaskFailed, TaskRemoved } from "../../../static/errors.js";
import { EPOCH, makeWorld, settle, task } from "./support/fakes.mjs";

const failure = { type: "RowError", message: "Row 212 is broken.", code: "bad_row", retryable: false, details: { row: 212 } };
const done = (id, version, more) => task(id, version, { status: "completed", ...more });

/** What became of a promise, without waiting for it. */
function watch(promise) {
  const outcome = { settled: false };
  promise.then(
    (value) => Object.assign(outcome, { settled: true, value }),
    (error) => Object.assign(outcome, { settled: true, error }),
  );
  return outcome;
}

test("done() resolves with the result when the task completes", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").done());
  await settle();
  world.socket.fire("task_progress", task("a", 2));
  await settle();
  assert.equal(outcome.settled, false);
  world.socket.fire("task_completed", done("a", 3, { result: { rows: 7 } }));
  await settle();
  assert.deepEqual(outcome.value, { rows: 7 });
});

test("done() of a task that has ended resolves at once, a null result and an outage notwithstanding", async () => {
  const world = makeWorld();
  await world.goLive([done("a", 3)]);
  world.socket.lose();
  const outcome = watch(world.rt.task("a").done());
  await settle();
  assert.deepEqual(outcome, { settled: true, value: null });
});

test("done() rejects with TaskFailed, which carries the task, its error and its code", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").done());
  world.socket.fire("task_failed", task("a", 2, { status: "failed", error: failure }));
  await settle();
  const { error } = outcome;
  assert.ok(error instanceof TaskFailed && error instanceof RealtimeError);
  assert.equal(error.name, "TaskFailed");
  assert.equal(error.message, "Row 212 is broken.");
  assert.equal(error.code, "bad_row");
  assert.deepEqual(error.error, failure);
  assert.equal(error.task.version, 2);
});

test("A failure without a code has the code failed", () => {
  const error = new TaskFailed(task("a", 1, { status: "failed", error: { ...failure, code: null, message: "" } }));
  assert.equal(error.code, "failed");
  assert.equal(error.message, "The task failed.");
});

test("done() rejects with TaskCancelled", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").done());
  world.socket.fire("task_cancelled", task("a", 2, { status: "cancelled" }));
  await settle();
  assert.ok(outcome.error instanceof TaskCancelled);
  assert.equal(outcome.error.code, "cancelled");
  assert.equal(outcome.error.task.status, "cancelled");
});

test("done() rejects with TaskRemoved when a task that was seen leaves without an end", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").done());
  await settle();
  world.socket.fire("task_removed", { task_id: "a", epoch: EPOCH, version: 2 });
  await settle();
  assert.ok(outcome.error instanceof TaskRemoved);
  assert.equal(outcome.error.code, "removed");
  assert.equal(outcome.error.taskId, "a");
  assert.equal(outcome.error.task.version, 1);
});

test("An end that is removed in the same breath is an end", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").done());
  world.socket.fire("task_completed", done("a", 2, { result: 7 }));
  world.socket.fire("task_removed", { task_id: "a", epoch: EPOCH, version: 3 });
  await settle();
  assert.equal(outcome.value, 7);
});

test("done() rejects with NotFound when the server denies the task", async () => {
  const world = makeWorld();
  await world.goLive();
  const outcome = watch(world.rt.task("b").done());
  await settle();
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: ["b"] });
  assert.ok(outcome.error instanceof NotFound);
  assert.equal(outcome.error.code, "not_found");
  assert.equal(outcome.error.taskId, "b");
});

test("done() rejects with Denied when the client is, also one that is already", async () => {
  const world = makeWorld();
  const before = watch(world.rt.task("a").done());
  await settle();
  assert.equal(before.settled, false);
  world.socket.refuse("unauthenticated", "Sign in.");
  await settle();
  const after = watch(world.rt.task("a").done());
  await settle();
  for (const { error } of [before, after]) {
    assert.ok(error instanceof Denied);
    assert.equal(error.code, "unauthenticated");
    assert.equal(error.message, "Sign in.");
    assert.deepEqual(error.reason, { code: "unauthenticated", message: "Sign in." });
  }
});

test("done() rejects with the code closed when the client is closed, also one that is already", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const before = watch(world.rt.task("a").done());
  await settle();
  world.rt.close();
  const after = watch(world.rt.task("a").done());
  await settle();
  assert.equal(before.error.code, "closed");
  assert.equal(after.error.code, "closed");
});

test("done() waits through outages", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").done());
  await world.comeBack();
  world.socket.refuse("server_stopping");
  await world.nextTry();
  assert.equal(outcome.settled, false);
  await world.goLive([done("a", 9, { result: 1 })]);
  assert.equal(outcome.value, 1);
});

test("done() rejects with the signal's reason, before and while it waits, and lets the task go", async () => {
  const world = makeWorld();
  await world.goLive();
  const early = watch(world.rt.task("b").done({ signal: AbortSignal.abort("early") }));
  await settle();
  assert.equal(early.error, "early");
  assert.deepEqual(world.socket.sent, []);
  const control = new AbortController();
  const late = watch(world.rt.task("b").done({ signal: control.signal }));
  await settle();
  control.abort(new Error("late"));
  await settle();
  assert.equal(late.error.message, "late");
  await world.socket.answer("subscribe", { ok: true, tasks: [], denied: [] });
  assert.deepEqual(world.socket.messages("unsubscribe"), [{ task_ids: ["b"] }]);
});

test("Each way to an end leaves nothing behind that listens", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const control = new AbortController();
  let listening = 0;
  const { addEventListener, removeEventListener } = control.signal;
  control.signal.addEventListener = (...args) => ((listening += 1), addEventListener.apply(control.signal, args));
  control.signal.removeEventListener = (...args) => ((listening -= 1), removeEventListener.apply(control.signal, args));
  const outcome = watch(world.rt.task("a").done({ signal: control.signal }));
  await settle();
  assert.equal(listening, 1);
  world.socket.fire("task_completed", done("a", 2));
  await settle();
  assert.equal(outcome.settled, true);
  assert.equal(listening, 0);
});

const json = (body, status = 200) => new Response(JSON.stringify(body), { status });

test("A result that was too large to be pushed is fetched by HTTP, with the page's cookies", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  world.respond = () => json(done("a", 2, { result: "large" }));
  const outcome = watch(world.rt.task("a").done());
  world.socket.fire("task_completed", done("a", 2, { result_omitted: true }));
  await settle();
  assert.equal(outcome.value, "large");
  const [{ url, init }] = world.fetched;
  assert.equal(url, "http://server/realtime/v1/tasks/a");
  assert.equal(init.credentials, "same-origin");
  assert.equal("Authorization" in init.headers, false);
});

test("With a ticket the result is fetched with it", async () => {
  const world = makeWorld({ ticket: () => "t1" });
  await world.goLive([done("a", 2, { result_omitted: true })]);
  world.respond = () => json(done("a", 2, { result: "large" }));
  assert.equal(await world.rt.task("a").done(), "large");
  assert.equal(world.fetched[0].init.headers.Authorization, "Bearer t1");
});

test("A ticket that has expired when the result is fetched is made anew once", async () => {
  let calls = 0;
  const world = makeWorld({ ticket: () => `t${(calls += 1)}` });
  await world.goLive([done("a", 2, { result_omitted: true })]);
  world.respond = (url, { headers }) =>
    headers.Authorization === "Bearer t2" ? json(done("a", 2, { result: "large" })) : json({}, 401);
  assert.equal(await world.rt.task("a").done(), "large");
  world.respond = () => json({ error: { code: "ticket_expired", message: "Expired." } }, 401);
  const outcome = watch(world.rt.task("a").done());
  await settle();
  assert.ok(outcome.error instanceof Denied);
  assert.equal(outcome.error.code, "ticket_expired");
  assert.equal(world.fetched.length, 4);
});

test("An outage while the result is fetched is waited for, with the backoff", async () => {
  const world = makeWorld();
  await world.goLive([done("a", 2, { result_omitted: true })]);
  const answers = [
    () => Promise.reject(new TypeError("failed to fetch")),
    () => json({}, 503),
    () => json({}, 429),
    () => json(done("a", 2, { result: "large" })),
  ];
  world.respond = () => answers.shift()();
  const outcome = watch(world.rt.task("a").done());
  await settle();
  assert.equal(world.fetched.length, 1);
  await world.clock.pass(249);
  assert.equal(world.fetched.length, 1);
  await world.clock.pass(1);
  assert.equal(world.fetched.length, 2);
  await world.clock.pass(500);
  assert.equal(getEventListeners(world.fetched[0].init.signal, "abort").length, 1, "the present wait's");
  await world.clock.pass(1_000);
  assert.equal(outcome.value, "large");
});

test("A task that was cleared away before its result was fetched is a TaskRemoved; so is another task of its id", async () => {
  const answers = [json({}, 404), json(task("a", 9)), json(done("a", 2, { epoch: "other", result: 1 }))];
  for (const answer of answers) {
    const world = makeWorld();
    await world.goLive([done("a", 2, { result_omitted: true })]);
    world.respond = () => answer;
    const outcome = watch(world.rt.task("a").done());
    await settle();
    assert.ok(outcome.error instanceof TaskRemoved);
  }
});

test("That the task is cleared away while its result is on the way changes nothing", async () => {
  const world = makeWorld();
  await world.goLive([done("a", 2, { result_omitted: true })]);
  let hand;
  world.respond = () => new Promise((resolve) => (hand = resolve));
  const outcome = watch(world.rt.task("a").done());
  await settle();
  world.socket.fire("task_removed", { task_id: "a", epoch: EPOCH, version: 3 });
  await settle();
  assert.equal(outcome.settled, false);
  hand(json(done("a", 2, { result: "large" })));
  await settle();
  assert.equal(outcome.value, "large");
});

test("A refusal that will not pass rejects with its code", async () => {
  for (const [answer, code] of [
    [json({ error: { code: "invalid", message: "No." } }, 422), "invalid"],
    [new Response("<html>", { status: 400 }), "internal"],
  ]) {
    const world = makeWorld();
    await world.goLive([done("a", 2, { result_omitted: true })]);
    world.respond = () => answer;
    const outcome = watch(world.rt.task("a").done());
    await settle();
    assert.equal(outcome.error.code, code);
  }
});

test("Aborting ends the fetch of a result, the wait between two tries included", async () => {
  const world = makeWorld();
  await world.goLive([done("a", 2, { result_omitted: true })]);
  world.respond = () => json({}, 503);
  const control = new AbortController();
  const outcome = watch(world.rt.task("a").done({ signal: control.signal }));
  await settle();
  control.abort("enough");
  await settle();
  assert.equal(outcome.error, "enough");
  assert.equal(world.clock.pending, 0);
  assert.equal(world.fetched.length, 1);
  assert.equal(world.fetched[0].init.signal.aborted, true);
});

test("cancel() resolves with the acknowledged task, which the page knows from then on", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const versions = [];
  world.rt.task("a").subscribe(({ version }) => versions.push(version));
  const outcome = watch(world.rt.task("a").cancel());
  const acknowledged = task("a", 2, { cancel_requested_at: "2026-11-24T14:00:01Z" });
  assert.deepEqual(await world.socket.answer("cancel_task", { ok: true, task: acknowledged }), { task_id: "a" });
  assert.deepEqual(outcome.value, acknowledged);
  assert.equal(world.clock.pending, 0);
  assert.deepEqual(versions, [1, 2]);
});

test("cancel() rejects with the server's code", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").cancel());
  await world.socket.answer("cancel_task", { ok: false, error: { code: "forbidden", message: "Only the owner." } });
  assert.ok(outcome.error instanceof RealtimeError);
  assert.equal(outcome.error.code, "forbidden");
  assert.equal(outcome.error.message, "Only the owner.");
});

test("cancel() without an answer rejects with timeout after 10 s; a later answer is nobody's", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  const outcome = watch(world.rt.task("a").cancel());
  await world.clock.pass(9_999);
  assert.equal(outcome.settled, false);
  await world.clock.pass(1);
  assert.equal(outcome.error.code, "timeout");
  await world.socket.answer("cancel_task", { ok: true, task: task("a", 2) });
  assert.deepEqual(world.reported, []);
});

test("cancel() rejects with offline at once while there is no connection, and when it is lost meanwhile", async () => {
  const world = makeWorld();
  const early = watch(world.rt.task("a").cancel());
  await settle();
  assert.equal(early.error.code, "offline");
  const opening = watch(world.rt.task("a").cancel());
  await settle();
  assert.equal(opening.error.code, "offline");
  await world.goLive([task("a", 1)]);
  const late = watch(world.rt.task("a").cancel());
  world.socket.lose();
  await settle();
  assert.equal(late.error.code, "offline");
});

test("cancel() of a denied or closed client says that it is", async () => {
  const world = makeWorld();
  await settle();
  world.socket.refuse("unauthenticated");
  await assert.rejects(world.rt.task("a").cancel(), { code: "unauthenticated" });
  world.rt.close();
  await assert.rejects(world.rt.task("a").cancel(), { code: "closed" });
});

test("cancel() of what is no task id, and an answer without a task, reject", async () => {
  const world = makeWorld();
  await world.goLive([task("a", 1)]);
  await assert.rejects(world.rt.task("no such id!").cancel(), NotFound);
  const outcome = watch(world.rt.task("a").cancel());
  await world.socket.answer("cancel_task", { ok: true });
  assert.equal(outcome.error.code, "internal");
  const nothing = watch(world.rt.task("a").cancel());
  await world.socket.answer("cancel_task", undefined);
  assert.equal(nothing.error.code, "internal");
});

test("An id may be a number", async () => {
  const world = makeWorld();
  await world.goLive([task("17", 1)]);
  assert.equal(world.rt.task(17).id, "17");
  const seen = [];
  world.rt.task(17).subscribe(({ version }) => seen.push(version));
  await settle();
  assert.deepEqual(seen, [1]);
});
