import assert from "node:assert/strict";
import { test } from "node:test";
import { milestone, newEnds } from "../../../static/milestones.js";
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

test("a list's news are the ends of what it knew, and of what came and went between", () => {
  const run = snapshot({ task_id: "run", created_at: ago(50) });
  const old = snapshot({ task_id: "old", created_at: ago(100), status: "completed" });
  const before = new Map([run, old].map((task) => [task.task_id, task]));
  const ended = { ...run, status: "failed", version: 2 };
  const brief = snapshot({ task_id: "brief", created_at: ago(2), status: "completed" });
  const paged = snapshot({ task_id: "paged", created_at: ago(900), status: "completed" });
  const fresh = snapshot({ task_id: "fresh", created_at: ago(1) });
  assert.deepEqual(newEnds(before, [fresh, brief, ended, old, paged]).map(({ task_id }) => task_id), ["brief", "run"]);
  assert.deepEqual(newEnds(new Map(), [brief]).map(({ task_id }) => task_id), ["brief"]);
});
