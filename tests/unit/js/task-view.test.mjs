import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { words } from "../../../static/strings.js";
import { safeUrl, taskView } from "../../../static/task-view.js";
import { NOW, ago, snapshot } from "./support/snapshots.mjs";

const LIVE = { words: words("en"), taskId: "t1", answered: true, connection: "live", since: NOW - 60_000, now: NOW, viewer: "ada" };
const view = (task, situation = {}) => taskView(task && snapshot(task), { ...LIVE, ...situation });
const said = ({ words: said }) => (said ? [said.strong, said.text].filter(Boolean).join(" ") : "");
const ended = (status, rest = {}) => ({ status, created_at: ago(36), started_at: ago(36), completed_at: ago(20), updated_at: ago(20), ...rest });

describe("the states", () => {
  test("a pending task waits: a word for a figure, an empty rail that nobody reads out, and Cancel", () => {
    const seen = view({ status: "pending", created_at: ago(8), started_at: null });
    assert.deepEqual([seen.state, seen.figure, said(seen)], ["pending", { text: "Waiting", word: true }, "Waiting for a free worker."]);
    assert.deepEqual([seen.bar, seen.meta, seen.time.text], [{ value: null, silent: true }, ["not started"], "asked 8 s ago"]);
    assert.deepEqual([seen.action, seen.disabled, seen.busy], ["cancel", false, false]);
  });

  test("a running task tells how far, how fast and how long", () => {
    const seen = view({ progress: { current: 1004, total: 1570, unit: "files", percent: 63.95, rate: 212, eta: 2.6, message: "Reading" } });
    assert.deepEqual([seen.state, seen.figure, said(seen), seen.busy], ["processing", { text: "64%", word: false }, "Reading", true]);
    assert.deepEqual([seen.bar, seen.meta, seen.time.text], [{ value: 64, silent: false }, ["1,004 of 1,570 files", "212 files/s", "about 3 s left"], "started 10 s ago"]);
  });

  test("without a total the time that has passed stands for the percent, and the bar has no value", () => {
    const seen = view({ started_at: ago(42), progress: { current: 18_204, unit: "files" } });
    assert.deepEqual([seen.figure, seen.bar.value, seen.meta], [{ text: "0:42", word: false }, null, ["18,204 files"]]);
  });

  test("a task without any count has an empty count, not a zero", () => {
    assert.deepEqual(view({ progress: { current: 0 } }).meta, []);
    assert.deepEqual(view({ progress: { percent: 40 } }).meta, []);
  });

  test("a task without progress for a while is quiet, and has neither speed nor guess", () => {
    const silent = { updated_at: ago(130), progress: { current: 10, total: 14, unit: "epochs", percent: 71, rate: 3, eta: 900 } };
    const seen = view(silent);
    assert.deepEqual([seen.state, seen.figure.text, said(seen), seen.meta], ["quiet", "71%", "Still working. No progress for 2 min.", ["10 of 14 epochs"]]);
    assert.equal(seen.words.strong, "Still working.");
    assert.equal(view({ updated_at: ago(59) }).state, "processing");
    assert.equal(view({ updated_at: ago(60) }).state, "quiet");
    assert.equal(view(silent, { quietAfter: 131 }).state, "processing");
    assert.equal(view(silent, { quietAfter: 0 }).state, "processing");
  });

  test("a task without a sign of life is stalled, however long ago its progress was", () => {
    const seen = view({ stalled_since: ago(40), updated_at: ago(400), progress: { percent: 38 } });
    assert.deepEqual([seen.state, said(seen)], ["stalled", "No word from the job for 40 s. It fails if it stays silent."]);
    assert.equal(seen.words.strong, "No word from the job for 40 s.");
  });

  for (const connection of ["offline", "stale", "denied", "closed", "connecting"]) {
    test(`a running task is shown as last known while the page is ${connection}`, () => {
      const seen = view({ progress: { percent: 38, current: 190, total: 500, unit: "rows", rate: 9, eta: 30 } }, { connection, since: NOW - 12_000 });
      assert.deepEqual([seen.state, said(seen), seen.figure.text], ["lost", "Last known, 12 s ago.", "38%"]);
      assert.deepEqual([seen.meta, seen.action, seen.disabled, seen.busy], [["190 of 500 rows"], "cancel", true, false]);
    });
  }

  test("while the page is cut off nothing about the job goes on: its clock stands", () => {
    const seen = view({ started_at: ago(42) }, { connection: "offline", since: NOW - 12_000 });
    assert.deepEqual([seen.figure.text, seen.time.text, seen.bar.value], ["0:30", "started 30 s ago", null]);
    assert.equal(view({ status: "pending", started_at: null }, { connection: "offline" }).figure.text, "Waiting");
  });

  test("a task that was asked to stop says so, and cannot be asked again", () => {
    const seen = view({ cancel_requested_at: ago(2), updated_at: ago(300), progress: { percent: 64, current: 1004, total: 1570, unit: "files", rate: 5 } });
    assert.deepEqual([seen.state, seen.figure, said(seen)], ["cancelling", { text: "Cancelling", word: true }, "Asked the job to stop. It stops at its next step."]);
    assert.deepEqual([seen.bar.value, seen.meta, seen.time.text, seen.disabled], [64, ["1,004 of 1,570 files"], "asked 2 s ago", true]);
  });

  test("a task that was asked to stop and gives no sign of life promises nothing", () => {
    assert.equal(said(view({ cancel_requested_at: ago(60), stalled_since: ago(40) })), "Asked the job to stop. No word from the job for 40 s.");
  });

  test("a job that heard that it is to stop is stopping, however long that takes", () => {
    const seen = view({ cancel_requested_at: ago(300), cancel_acknowledged_at: ago(299) });
    assert.deepEqual([said(seen), seen.unanswered], ["The job is stopping.", false]);
    const silent = view({ cancel_requested_at: ago(300), cancel_acknowledged_at: ago(299), stalled_since: ago(40) });
    assert.equal(said(silent), "Asked the job to stop. No word from the job for 40 s.");
  });

  test("a job that does not answer for ten seconds is told of as that, and for how long", () => {
    const asked = (seconds, rest = {}, situation = {}) => view({ cancel_requested_at: ago(seconds), ...rest }, situation);
    assert.deepEqual([said(asked(9)), asked(9).unanswered], ["Asked the job to stop. It stops at its next step.", false]);
    assert.deepEqual([said(asked(14)), asked(14).unanswered], ["Asked to stop 14 s ago; the job has not answered.", true]);
    assert.equal(asked(14, { status: "failed", error: null }).unanswered, false);
    assert.deepEqual([said(asked(14, {}, { connection: "offline", since: NOW })), asked(14, {}, { connection: "offline" }).unanswered], ["Last known, 1 s ago.", false]);
    assert.equal(said(asked(14, {}, { now: NOW - 6000 })), "Asked the job to stop. It stops at its next step.");
    assert.equal(asked(0, {}, { now: NOW + 300_000, skew: -300_000 }).unanswered, false);
  });

  test("a task with parts stops when they have: nobody else is there to answer", () => {
    const children = { total: 2, pending: 0, processing: 2, completed: 0, failed: 0, cancelled: 0 };
    assert.equal(said(view({ cancel_requested_at: ago(60), children })), "Asked the job to stop. It stops at its next step.");
  });

  test("a completed task shows its result, its time and its speed over all", () => {
    const seen = view(ended("completed", { result: { message: "20,000 rows.", url: "/x.csv", label: "Download" }, progress: { current: 20_000, total: 20_000, unit: "rows", percent: 100, rate: 3 } }));
    assert.deepEqual([seen.state, seen.figure.text, seen.result], ["completed", "Done", { text: "20,000 rows.", url: "/x.csv", label: "Download" }]);
    assert.deepEqual([seen.bar, seen.meta, seen.action, seen.ticking], [{ value: 100, silent: true }, ["16 s", "1,250 rows/s"], "dismiss", false]);
  });

  test("a result of one text or number is shown as it is, another shape not at all", () => {
    assert.equal(view(ended("completed", { result: "All of it." })).result.text, "All of it.");
    assert.equal(view(ended("completed", { result: 42 })).result.text, "42");
    for (const result of [null, true, [1], { rows: 3 }, { message: 3, url: {}, label: [] }]) {
      assert.deepEqual(view(ended("completed", { result })).result, { text: "", url: "", label: "Open the result" });
    }
  });

  test("a failed task shows why, where it stopped, and the rest under technical details", () => {
    const error = { message: "Row 212 is bad.", code: "bad_row", type: "CsvRowError", retryable: false, details: { row: 212, cells: ["a", null] } };
    const seen = view(ended("failed", { error, progress: { current: 211, total: 500, unit: "rows", percent: 42 } }));
    assert.deepEqual([seen.state, seen.figure.text, seen.error.text], ["failed", "Failed", "Row 212 is bad."]);
    assert.deepEqual(seen.error.details, [["code", "bad_row"], ["row", "212"], ["cells", '["a",null]'], ["type", "CsvRowError"]]);
    assert.deepEqual([seen.bar.value, seen.meta], [42, ["211 of 500 rows"]]);
    assert.match(seen.time.text, /^\d\d:\d\d, after 16 s$/);
  });

  test("a task that came to its end in no time is not said to have lasted a second", () => {
    const brief = (status, seconds) => view(ended(status, { started_at: ago(20 + seconds) }));
    assert.match(brief("failed", 0).time.text, /, after 0 s$/);
    assert.match(brief("failed", 0.4).time.text, /, after 0.4 s$/);
    assert.match(brief("failed", 250).time.text, /, after 4 min 10 s$/);
    assert.equal(said(brief("cancelled", 0)), "Stopped after 0 s.");
  });

  test("a failure without details has none to unfold, and one without a message still says something", () => {
    const bare = { message: "", code: "failed", type: null, retryable: null, details: null };
    assert.deepEqual(view(ended("failed", { error: bare })).error, { text: "The job failed and gave no reason.", details: [] });
    assert.deepEqual(view(ended("failed", { error: { ...bare, details: "raw" } })).error.details, [["details", "raw"]]);
  });

  test("a lost worker is told in words of our own", () => {
    const error = { message: "lease expired", code: "worker_lost", type: null, retryable: true, details: null };
    const seen = view(ended("failed", { error, progress: { percent: 38 } }));
    assert.deepEqual(seen.error, { text: "The job’s worker went away and did not come back. Start it again.", details: [] });
    assert.deepEqual(seen.meta, ["stopped at 38%"]);
  });

  test("a cancelled task says where it stopped", () => {
    assert.equal(said(view(ended("cancelled", { progress: { percent: 64 } }))), "Stopped at 64%.");
    assert.equal(said(view(ended("cancelled"))), "Stopped after 16 s.");
    assert.equal(said(view(ended("cancelled", { started_at: null }))), "Stopped before it started.");
  });

  test("an end stays an end whatever the connection does", () => {
    for (const status of ["completed", "failed", "cancelled"]) assert.equal(view(ended(status), { connection: "offline" }).state, status);
  });

  test("a task that is not there, or not for this viewer, is not found", () => {
    const seen = view(null, { taskId: "7f3a91" });
    assert.deepEqual([seen.state, seen.name, seen.figure.text, said(seen)], ["unknown", "Job 7f3a91", "Not found", "It may have ended and been cleared, or you may not watch it."]);
    assert.deepEqual([seen.bar, seen.action, seen.time], [null, null, null]);
  });

  test("before there is an answer the card says what it waits for", () => {
    const waiting = (connection) => said(view(null, { answered: false, connection }));
    assert.deepEqual(["connecting", "live", "offline", "denied", "closed"].map(waiting), ["Connecting…", "Connecting…", "Connection lost.", "Not signed in.", "Connection closed."]);
  });
});

describe("attempts and parts", () => {
  const parts = (counts) => ({ total: 5, pending: 0, processing: 0, completed: 0, failed: 0, cancelled: 0, ...counts });
  const counted = { current: 3, total: 5, unit: "tasks", percent: 60, rate: 0.2, eta: 40 };

  test("the first attempt says nothing of it, a later one which it is, whatever its state", () => {
    assert.deepEqual(view({ attempt: 1 }).meta, []);
    assert.deepEqual(view({ attempt: 2, progress: { current: 3, total: 4 } }).meta, ["Attempt 2", "3 of 4"]);
    assert.deepEqual(view({ attempt: 1200, status: "pending", started_at: null }).meta, ["Attempt 1,200", "not started"]);
    for (const status of ["failed", "cancelled", "completed"]) assert.equal(view(ended(status, { attempt: 3 })).meta[0], "Attempt 3");
  });

  test("parts are told by how many are done, failed and cancelled, and are not counted a second time", () => {
    assert.deepEqual(view({ children: parts({ completed: 2, failed: 1, processing: 2 }), progress: counted }).meta, ["2 of 5 parts done, 1 failed", "about 40 s left"]);
    assert.deepEqual(view({ children: parts({ completed: 1, failed: 1, cancelled: 1 }), progress: counted }).meta[0], "1 of 5 parts done, 1 failed, 1 cancelled");
    assert.deepEqual(view({ children: parts({ total: 1 }) }).meta, ["0 of 1 part done"]);
    assert.deepEqual(view({ children: parts({ total: 0 }) }).meta, []);
  });

  test("a count of the parent's own stands beside that of its parts", () => {
    const own = { current: 3, total: 5, unit: "chapters", percent: 60 };
    assert.deepEqual(view({ children: parts({ completed: 3 }), progress: own }).meta, ["3 of 5 parts done", "3 of 5 chapters"]);
  });

  test("a group's end is told in the server's words, beside how its parts ended", () => {
    const error = { message: "4 of 5 completed; 1 failed.", code: "partly_completed", type: null, retryable: null, details: null };
    const children = parts({ completed: 4, failed: 1 });
    const seen = view(ended("failed", { error, children, progress: { ...counted, current: 5, percent: 96 } }));
    assert.deepEqual([seen.error.text, seen.meta], ["4 of 5 completed; 1 failed.", ["4 of 5 parts done, 1 failed"]]);
    const done = view(ended("completed", { children: parts({ completed: 5 }), progress: { ...counted, current: 5, percent: 100 } }));
    assert.deepEqual(done.meta, ["5 of 5 parts done", "16 s"]);
  });
});

describe("honesty", () => {
  test("no two silences look or read alike", () => {
    const silent = { updated_at: ago(130), progress: { percent: 38 } };
    const three = [view(silent), view({ ...silent, stalled_since: ago(40) }), view(silent, { connection: "offline", since: NOW - 12_000 })];
    assert.deepEqual(three.map(({ state }) => state), ["quiet", "stalled", "lost"]);
    assert.equal(new Set(three.map(said)).size, 3);
  });

  test("a cut-off page never says that the job goes on", () => {
    for (const task of [{}, { status: "pending" }, { stalled_since: ago(4) }, { cancel_requested_at: ago(4) }, { updated_at: ago(400) }]) {
      const seen = view(task, { connection: "offline", since: NOW - 4_000 });
      assert.equal(said(seen), "Last known, 4 s ago.");
      assert.equal(seen.busy, false);
    }
  });

  test("a guess runs out as time passes instead of standing still", () => {
    const at = (seconds) => view({ updated_at: ago(seconds), progress: { current: 1, total: 2, eta: 8 } }).meta;
    assert.deepEqual([at(0), at(3), at(8)], [["1 of 2", "about 8 s left"], ["1 of 2", "about 5 s left"], ["1 of 2"]]);
  });

  test("times are the server's: a wrong clock on this side makes no task quiet", () => {
    const now = NOW + 300_000; // five minutes fast
    assert.equal(view({}, { now, since: now }).state, "quiet");
    const seen = view({}, { now, since: now, skew: -300_000 });
    assert.deepEqual([seen.state, seen.time.text], ["processing", "started 10 s ago"]);
    assert.equal(view({ started_at: ago(-30) }).time.text, "started 1 s ago");
  });

  test("only the owner of a task that somebody listens to is offered Cancel", () => {
    assert.equal(view({}).action, "cancel");
    assert.equal(view({ cancellable: false }).action, null);
    assert.equal(view({}, { viewer: "grace" }).action, null);
    assert.equal(view({ user: null }, { viewer: null }).action, null);
  });
});

describe("names and links", () => {
  test("the page's label goes before the task's name, and that before the id", () => {
    assert.equal(view({}, { label: "My export" }).name, "My export");
    assert.equal(view({}).name, "Export");
    assert.equal(view({ name: null }).name, "Job t1");
    assert.equal(view(null, { taskId: "0123456789abcdef0123456789" }).name, "Job 01234567…");
  });

  test("a link is followed only over http and https, or within the site", () => {
    const base = "https://example.org/app/";
    for (const url of ["/x.csv", "x.csv", "?a=1", "//cdn.example.org/x", "http://example.org/", "HTTPS://example.org/"]) assert.equal(safeUrl(url, base), url);
    for (const url of ["javascript:alert(1)", " java\nscript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "vbscript:x", "blob:x", "file:///etc/passwd", "http://", "", null, 3, {}]) {
      assert.equal(safeUrl(url, base), "", String(url));
    }
  });

  test("a relative link on a page that is itself a file is none", () => {
    assert.equal(safeUrl("x.csv", "file:///home/ada/page.html"), "");
  });
});
