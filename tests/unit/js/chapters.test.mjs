import assert from "node:assert/strict";
import { test } from "node:test";

import { Chapters, OPEN } from "../../../static/chapters.js";
import { KEPT } from "../../../static/scrollback.js";
import { task } from "./support/fakes.mjs";

const attempt = (n, more = {}) => task(`a${n}`, 1, { attempt: n, retry_of: n > 1 ? `a${n - 1}` : null, ...more });
const text = (chapters) => chapters.list.map((chapter) => `${chapter.attempt}:${chapter.text.blocks.map((block) => block.text).join("")}`);
const line = (letter, length) => `${letter.repeat(length - 1)}\n`;

/** Chapters in which each of the texts is what an attempt wrote; null: nothing. */
function written(...texts) {
  const chapters = new Chapters();
  texts.forEach((each, index) => {
    chapters.turnTo(attempt(index + 1));
    if (each !== null) chapters.append(chapters.last, each);
  });
  return chapters;
}

test("A later attempt is a new chapter below; news of the same one is none", () => {
  const chapters = written("one\n");
  assert.equal(chapters.turnTo(attempt(1, { version: 9 })), "same");
  assert.equal(chapters.turnTo(attempt(3)), "next");
  chapters.append(chapters.last, "three");
  assert.deepEqual(text(chapters), ["1:one\n", "3:three"]);
  assert.deepEqual(chapters.list.map(({ isNews }) => isNews), [false, true]);
  assert.deepEqual([chapters.lines, chapters.written], [2, 9]);
});

test("What an attempt wrote last stands above what the next has written already", () => {
  const chapters = written("one, ", "three");
  chapters.append(chapters.open[0], "two\n");
  assert.deepEqual(text(chapters), ["1:one, two\n", "2:three"]);
});

for (const [what, next] of [
  ["an earlier attempt", attempt(1)],
  ["another task that is no later attempt", task("b", 1, { attempt: 2 })],
  ["a server that has begun anew, also under the same id", attempt(2, { epoch: "e2" })],
]) {
  test(`With ${what} everything begins anew`, () => {
    const chapters = written("one", "two");
    assert.equal(chapters.turnTo(next), "anew");
    assert.deepEqual(text(chapters), [`${next.attempt}:`]);
    assert.deepEqual([chapters.lines, chapters.written, chapters.last.isNews], [0, 0, false]);
  });
}

test("All attempts together are as bounded as one, and what is let go of is the oldest", () => {
  const size = 8192;
  const half = line("x", size).repeat(KEPT / size / 2);
  const chapters = written(half, half);
  assert.deepEqual(chapters.list.map((chapter) => [chapter.text.bytes, chapter.text.gone]), [[KEPT / 2, false], [KEPT / 2, false]]);
  chapters.append(chapters.last, line("y", size));
  assert.deepEqual(chapters.list.map((chapter) => [chapter.text.bytes, chapter.text.gone]), [[KEPT / 2 - size, true], [KEPT / 2 + size, false]]);
  chapters.append(chapters.last, half.repeat(3));
  assert.deepEqual(chapters.list.map((chapter) => [chapter.text.bytes, chapter.text.full]), [[0, true], [KEPT, true]]);
  assert.equal(chapters.written, (KEPT / 2) * 5 + size);
  assert.equal(chapters.lines, chapters.written / size);
});

test("Of an old attempt in which nothing stands any more only that is kept that it was there; of one that wrote nothing, nothing", () => {
  const chapters = written("one\n", null, null, "four\n");
  assert.deepEqual(text(chapters), ["1:one\n", "3:", "4:four\n"]);
  chapters.append(chapters.last, line("x", 8192).repeat(KEPT / 8192));
  chapters.turnTo(attempt(5));
  chapters.append(chapters.last, "five\n");
  assert.deepEqual(chapters.list.map((chapter) => [chapter.attempt, chapter.text.gone]), [[4, true], [5, false]]);
  assert.equal(chapters.lines, 3 + KEPT / 8192);
});

test("However often it is tried again, the newest twenty attempts are kept, and no line is counted twice or not at all", () => {
  const chapters = written(...Array.from({ length: 300 }, (_, n) => `${n}\n`));
  assert.deepEqual(chapters.list.map((chapter) => chapter.attempt), Array.from({ length: 20 }, (_, n) => 281 + n));
  assert.deepEqual([chapters.lines, chapters.list[0].text.gone, chapters.list[1].text.gone], [300, true, false]);
  assert.equal(chapters.open.length, OPEN);
});

test("What is written anew is counted as new", () => {
  const chapters = written("one\n", "two\n");
  chapters.rewrite(chapters.last);
  assert.deepEqual(text(chapters), ["1:one\n", "2:"]);
  chapters.append(chapters.last, "three\n");
  assert.deepEqual([chapters.lines, chapters.written], [3, 14]);
});
