import assert from "node:assert/strict";
import { test } from "node:test";

import { chunks, isTaskId } from "../../../static/chunks.js";
import { LIMITS } from "../../../static/protocol.js";

const ids = (count, length) => Array.from({ length: count }, (_, i) => String(i).padStart(length, "x"));

test("Ids are packed in hundreds, in order, and none is lost", () => {
  const groups = chunks(ids(250, 36));
  assert.deepEqual(groups.map((group) => group.length), [100, 100, 50]);
  assert.deepEqual(groups.flat(), ids(250, 36));
});

test("No ids make no message", () => {
  assert.deepEqual(chunks([]), []);
});

for (const length of [1, 36, 64, 128]) {
  test(`A message with ids of ${length} characters and their cursors is below the server's bound`, () => {
    for (const group of chunks(ids(300, length))) {
      const cursors = Object.fromEntries(group.map((id) => [id, 1_795_495_200_000_017]));
      const message = JSON.stringify(["subscribe", { task_ids: group, epoch: "e".repeat(64), cursors }]);
      assert.ok(`42/tasks,123456${message}`.length <= LIMITS.MESSAGE_BYTES);
    }
  });
}

test("A long ticket leaves less room for cursors", () => {
  const [all] = chunks(ids(100, 36));
  const [some] = chunks(ids(100, 36), 8_000);
  assert.equal(all.length, 100);
  assert.ok(some.length > 0 && some.length < 100);
});

test("An id that has room in no message goes alone", () => {
  assert.deepEqual(chunks(["a", "b"], LIMITS.MESSAGE_BYTES), [["a"], ["b"]]);
});

test("Task ids are told from other text as the server does", () => {
  for (const id of ["a", "A-9.b_c:d", "x".repeat(128)]) assert.ok(isTaskId(id), id);
  for (const id of ["", "a b", "é", "a/b", "a\n", "x".repeat(129)]) assert.ok(!isTaskId(id), id);
});
