import assert from "node:assert/strict";
import { test } from "node:test";
import { listNews, milestone, newestAttempts } from "../../../static/milestones.js";
import { ago, snapshot } from "./support/snapshots.mjs";

const pending = snapshot({ status: "pending", started_at: null });
const at = (percent, rest = {}) => snapshot({ started_at: ago(30), progress: { percent, eta: 30 }, ...rest });

test("a first snapshot is how things are, not what happened", () => {
  for (const task of [pending, at(60), snapshot({ status: "failed" })]) assert.equal(milestone(null, task), null);
});

test("a start, a half and each end are told", () => {
  assert.equal(milestone(pending, at(1)), "started");
  assert.equal(milestone(at(49.9), at(50)), "half");
  for (const status of ["completed", "failed", "cancelled"]) assert.equal(milestone(at(10), snapshot({ status })), status);
});

test("each is told once, and the greatest that happened between two snapshots only", () => {
  assert.equal(milestone(at(50), at(51)), null);
  assert.equal(milestone(at(10), at(49)), null);
  assert.equal(milestone(pending, at(70)), "started");
  assert.equal(milestone(pending, snapshot({ status: "completed" })), "completed");
  assert.equal(milestone(snapshot({ status: "failed" }), snapshot({ status: "failed", version: 2 })), null);
});

test("a job that takes under ten seconds in all has no half", () => {
  const half = (ran, eta) => milestone(at(40), at(50, { started_at: ago(ran), progress: { percent: 50, eta } }));
  assert.equal(half(4, 5), null);
  assert.equal(half(4, 6), "half");
  assert.equal(half(4, null), null); // as long again as it has run
  assert.equal(half(5, null), "half");
});

test("another task in the same place is a first snapshot again", () => {
  assert.equal(milestone(pending, snapshot({ task_id: "t2" })), null);
});

test("another attempt is told as that, and its end if it is over by then; an older one is nothing", () => {
  const failed = snapshot({ task_id: "t1", status: "failed" });
  const again = (rest) => snapshot({ task_id: "t2", retry_of: "t1", attempt: 2, ...rest });
  assert.equal(milestone(failed, again()), "attempt");
  assert.equal(milestone(at(10), again({ status: "pending" })), "attempt");
  assert.equal(milestone(failed, again({ status: "completed" })), "completed");
  assert.equal(milestone(again({ status: "failed" }), failed), null);
});

const family = (task, parts = []) => ({ key: task.task_id, task, attempts: [task], parts });
const told = (before, after) => listNews(before, after).map(([what, { task_id }]) => [what, task_id]);

test("a list's news are the ends of what it knew, and of what came and went between", () => {
  const run = snapshot({ task_id: "run", created_at: ago(50) });
  const old = snapshot({ task_id: "old", created_at: ago(100), status: "completed" });
  const before = newestAttempts([run, old].map((task) => family(task)));
  const ended = { ...run, status: "failed", version: 2 };
  const brief = snapshot({ task_id: "brief", created_at: ago(2), status: "completed" });
  const paged = snapshot({ task_id: "paged", created_at: ago(900), status: "completed" });
  const fresh = snapshot({ task_id: "fresh", created_at: ago(1) });
  assert.deepEqual(told(before, [fresh, brief, ended, old, paged].map((task) => family(task))), [["completed", "brief"], ["failed", "run"]]);
  assert.deepEqual(told(new Map(), [family(brief)]), [["completed", "brief"]]);
});

test("a list tells the attempt and not the end that it follows, and nothing of a start", () => {
  const first = snapshot({ task_id: "a", status: "pending" });
  const before = newestAttempts([family(first)]);
  const again = snapshot({ task_id: "a2", retry_of: "a", attempt: 2 });
  assert.deepEqual(told(before, [{ ...family(again), key: "a" }]), [["attempt", "a2"]]);
  assert.deepEqual(told(before, [{ ...family({ ...again, status: "completed" }), key: "a" }]), [["completed", "a2"]]);
  assert.deepEqual(told(before, [family({ ...first, status: "processing" })]), []);
});

test("parts are no news of a list, nor is one that ended long ago and stands by itself now", () => {
  const parent = snapshot({ task_id: "p", created_at: ago(50) });
  const part = snapshot({ task_id: "c", created_at: ago(40), parent_id: "p" });
  const over = { ...part, status: "completed" };
  const before = newestAttempts([family(parent, [family(part)])]);
  assert.deepEqual(told(before, [family(parent, [family(over)])]), []);
  assert.deepEqual(told(newestAttempts([family(parent, [family(over)])]), [family(over)]), []);
});
