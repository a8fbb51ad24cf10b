import assert from "node:assert/strict";
import { test } from "node:test";
import { listFamilies, matching, relatives } from "../../../static/families.js";
import { EMPTY, isFinished, reduce } from "../../../static/task-store.js";
import { snapshot, task } from "./support/fakes.mjs";

const at = (second) => `2026-11-24T14:00:${String(second).padStart(2, "0")}Z`;
const one = (id, second, more = {}) => task(id, 1, { created_at: at(second), ...more });
const held = (...tasks) => reduce(EMPTY, { type: "snapshot", snapshot: snapshot(tasks) });
/** `p(c1,c2)` for a parent with two parts. */
const text = (families) => families.map(({ task: { task_id }, parts }) => (parts.length ? `${task_id}(${text(parts)})` : task_id)).join(",");

test("Parts stand under what they are parts of, the first made first, and not by themselves", () => {
  const state = held(one("c2", 3, { parent_id: "p" }), one("p", 1), one("x", 2), one("c1", 2, { parent_id: "p" }), one("d", 4, { parent_id: "c2" }));
  assert.equal(text(listFamilies(state)), "x,p(c1,c2(d))");
});

test("A part whose parent is not in the list is a task as any other", () => {
  assert.equal(text(listFamilies(held(one("c", 3, { parent_id: "gone" }), one("x", 2)))), "c,x");
});

test("While older tasks are on their way a finished part waits for what it is a part of; one that runs does not", () => {
  const over = { status: "completed", completed_at: at(9), parent_id: "p" };
  const state = held(one("c", 3, over), one("d", 2, { parent_id: "q" }), one("x", 1));
  assert.equal(text(listFamilies(state, true)), "d,x");
  assert.equal(text(listFamilies(state)), "c,d,x");
  const whole = reduce(state, { type: "page", tasks: [one("p", 0, { status: "completed", completed_at: at(9) })], next: null });
  assert.equal(text(listFamilies(whole, true)), "d,x,p(c)");
});

test("A part and its retries are one part, in its place; the parts of a parent's attempts are together", () => {
  const state = held(
    one("p", 1, { status: "failed" }),
    one("c1", 2, { parent_id: "p", status: "failed" }),
    one("c2", 3, { parent_id: "p" }),
    one("c1again", 4, { parent_id: "p", retry_of: "c1", attempt: 2 }),
    one("pagain", 5, { retry_of: "p", attempt: 2 }),
    one("c3", 6, { parent_id: "pagain" }),
  );
  assert.equal(text(listFamilies(state)), "pagain(c1again,c2,c3)");
});

test("Of an attempt that is over those parts are shown that still run, and its own parts too; the newest counts no others", () => {
  const over = { status: "failed", completed_at: at(9) };
  const state = held(
    one("p", 1, over),
    one("c1", 2, { parent_id: "p", ...over }),
    one("c2", 3, { parent_id: "p" }),
    one("c3", 4, { parent_id: "p", ...over }),
    one("d", 5, { parent_id: "c3" }),
    one("p2", 10, { retry_of: "p", attempt: 2 }),
    one("e1", 11, { parent_id: "p2", ...over }),
  );
  assert.equal(text(listFamilies(state)), "p2(c2,c3(d),e1)");
  assert.deepEqual(relatives(state, "p2", isFinished), ["c1", "c3", "e1", "p"]); // what is not shown goes, too
});

test("Tasks in a ring are each shown rather than none", () => {
  const state = held(one("a", 1, { parent_id: "b" }), one("b", 2, { parent_id: "a" }), one("c", 3, { parent_id: "c" }));
  assert.equal(text(listFamilies(state)), "c,b,a");
});

test("Of a family that does not match, the parts that do stand in its place, the newest first", () => {
  const state = held(one("p", 1, { status: "completed" }), one("c1", 2, { parent_id: "p" }), one("c2", 3, { parent_id: "p", status: "failed" }), one("c3", 4, { parent_id: "p" }), one("x", 9));
  assert.equal(text(matching(listFamilies(state), (each) => !isFinished(each))), "x,c3,c1");
  assert.equal(text(matching(listFamilies(state), isFinished)), "p(c1,c2,c3)");
});

test("With a task go its finished parts and its earlier attempts, parts first; with an earlier one nothing that came after", () => {
  const state = held(
    one("p", 1, { status: "failed" }),
    one("p2", 5, { status: "completed", retry_of: "p", attempt: 2 }),
    one("c", 6, { parent_id: "p2", status: "failed" }),
    one("c2", 7, { parent_id: "p2", status: "completed", retry_of: "c", attempt: 2 }),
    one("d", 8, { parent_id: "p2" }),
  );
  assert.deepEqual(relatives(state, "p2", isFinished), ["c", "c2", "p"]);
  assert.deepEqual(relatives(state, "p", isFinished), []);
  assert.deepEqual(relatives(state, "c2", isFinished), ["c"]);
  assert.deepEqual(relatives(state, "nobody", isFinished), []);
});

test("Who belongs to whom is not worked out anew for each piece of news", () => {
  const state = held(one("p", 1), one("c", 2, { parent_id: "p" }));
  const after = reduce(state, { type: "frame", frame: { task: { ...one("c", 2, { parent_id: "p" }), version: 2 }, listed: true } });
  assert.equal(listFamilies(after)[0].parts[0].task.version, 2);
  assert.equal(after.listed, state.listed);
  assert.equal(after.places, state.places);
});
