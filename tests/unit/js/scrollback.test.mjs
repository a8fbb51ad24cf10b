import assert from "node:assert/strict";
import { test } from "node:test";

import { KEPT, Scrollback } from "../../../static/scrollback.js";
import { seeded } from "./support/fakes.mjs";

const bytes = (text) => Buffer.byteLength(text);
const shown = (scrollback) => scrollback.blocks.map(({ text }) => text).join("");

test("What is appended is there, in blocks that end with a line", () => {
  const scrollback = new Scrollback();
  const line = `${"x".repeat(99)}\n`;
  for (let i = 0; i < 100; i += 1) scrollback.append(line);
  scrollback.append("the last");
  assert.equal(shown(scrollback), `${line.repeat(100)}the last`);
  assert.ok(scrollback.blocks.slice(0, -1).every(({ text }) => text.endsWith("\n") && text.length >= 4096));
  assert.deepEqual([scrollback.lines, scrollback.bytes, scrollback.gone], [101, 10_008, false]);
});

test("A closed block never changes: only the last one is laid out anew", () => {
  const scrollback = new Scrollback();
  scrollback.append("x".repeat(5000));
  const [first] = scrollback.blocks;
  scrollback.append("y\nz");
  assert.deepEqual(scrollback.blocks.map(({ text }) => text.length), [5002, 1]);
  assert.equal(scrollback.blocks[0], first);
  scrollback.append("z");
  assert.deepEqual(scrollback.blocks.map(({ text }) => text.length), [5002, 2]);
});

test("Lines are those that have begun; blank ones count, an end of line by itself begins none", () => {
  const scrollback = new Scrollback();
  const after = ["", "a", "b", "\n", "c\n\n", "d"].map((text) => {
    scrollback.append(text);
    return scrollback.lines;
  });
  assert.deepEqual(after, [0, 1, 1, 1, 3, 4]);
});

test("However it is cut, the newest is kept, whole, and bounded", () => {
  const { below } = seeded(20261124);
  const alphabet = [..."ab\né€ह😀", "x".repeat(3000), "😀".repeat(9000), `${"é".repeat(700)}\n`];
  for (let round = 0; round < 20; round += 1) {
    const scrollback = new Scrollback();
    let whole = "";
    for (let i = 0; i < 300; i += 1) {
      const text = alphabet[below(alphabet.length)].repeat(1 + below(3));
      whole += text;
      scrollback.append(text);
    }
    const text = shown(scrollback);
    assert.ok(whole.endsWith(text));
    assert.ok(text.isWellFormed() && scrollback.blocks.every((block) => block.text.isWellFormed()));
    assert.equal(scrollback.bytes, bytes(text));
    assert.equal(scrollback.written, bytes(whole));
    assert.equal(scrollback.lines, whole.split("\n").length - (whole.endsWith("\n") ? 1 : 0));
    assert.ok(scrollback.bytes < KEPT + 4 * 16 * 1024);
    assert.ok(scrollback.blocks.length < 200);
    assert.equal(scrollback.gone, text !== whole);
    if (text !== whole) assert.ok(scrollback.bytes >= KEPT);
  }
});

test("A line without an end breaks, so that no block grows without bound", () => {
  const scrollback = new Scrollback();
  for (let i = 0; i < 50_000; i += 1) scrollback.append("😀");
  assert.equal(shown(scrollback), "😀".repeat(50_000));
  assert.ok(scrollback.blocks.every(({ text }) => text.length <= 16 * 1024 + 1));
});

test("Bytes that never came are noted where they are missing, at the beginning as an earlier part that is gone", () => {
  const scrollback = new Scrollback();
  scrollback.append("a", 10);
  assert.deepEqual([scrollback.gone, scrollback.full], [true, false]);
  scrollback.append("b");
  scrollback.append("c", 20);
  scrollback.append("d");
  assert.deepEqual(scrollback.blocks, [{ text: "ab", bytes: 2, missing: 0 }, { text: "cd", bytes: 2, missing: 20 }]);
  for (let i = 0; i < 100; i += 1) scrollback.append(`${"x".repeat(5000)}\n`);
  assert.deepEqual([scrollback.gone, scrollback.full], [true, true]);
});
