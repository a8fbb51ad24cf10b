import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../../../static/format.js";
import { words } from "../../../static/strings.js";

const en = words("en");
const de = words("de");

test("bytes are told in decimal units, with one decimal below ten and never a thousand of a unit", () => {
  const shown = [0, 1, 512, 999, 999.6, 1_000, 9_949, 9_960, 132e6, 999_499, 999_600, 1.3e9, 1e18].map((n) => format.bytes(en, n));
  assert.deepEqual(shown, ["0 bytes", "1 byte", "512 bytes", "999 bytes", "1 kB", "1 kB", "9.9 kB", "10 kB", "132 MB", "999 kB", "1 MB", "1.3 GB", "1,000 PB"]);
});

test("a clock counts seconds, minutes and hours", () => {
  assert.deepEqual([-3, 0.9, 42, 68.7, 3599, 3753, 360_000].map((n) => format.clock(en, n)), ["0:00", "0:00", "0:42", "1:08", "59:59", "1:02:33", "100:00:00"]);
});

test("a time that still passes is told in one unit", () => {
  assert.deepEqual([0, 0.4, 1, 59.9, 60, 119, 3600, 172_799, 172_800].map((n) => format.span(en, n)), ["1 s", "1 s", "1 s", "59 s", "1 min", "1 min", "1 h", "47 h", "2 d"]);
});

test("what is left is rounded up in seconds and to the nearest above", () => {
  assert.deepEqual([0.2, 2.6, 59.2, 89, 91, 215, 3540, 5500].map((n) => format.left(en, n)), [
    "about 1 s left", "about 3 s left", "about 1 min left", "about 1 min left", "about 2 min left", "about 4 min left", "about 59 min left", "about 2 h left",
  ]);
});

test("a time that has passed is told with its next smaller unit", () => {
  assert.deepEqual([0, 0.04, 3, 9.12, 9.96, 16.4, 59.6, 60, 250, 3599.7, 7500, 7200].map((n) => format.lasted(en, n)), [
    "0 s", "0 s", "3 s", "9.1 s", "10 s", "16 s", "1 min", "1 min", "4 min 10 s", "1 h", "2 h 5 min", "2 h",
  ]);
});

test("a count is told with its unit, whatever is known of it", () => {
  assert.equal(format.count(en, 1004, 1570, "files"), "1,004 of 1,570 files");
  assert.equal(format.count(en, 190, 500, null), "190 of 500");
  assert.equal(format.count(en, 3112, null, "messages"), "3,112 messages");
  assert.equal(format.count(en, 3112, null, null), "3,112");
  assert.equal(format.count(en, 1.25, 2.5, "m"), "1.3 of 2.5 m");
});

test("bytes and seconds are told as such", () => {
  for (const unit of ["bytes", "byte", "B"]) assert.equal(format.count(en, 340e6, 2e9, unit), "340 MB of 2 GB");
  assert.equal(format.count(en, 1.3e9, null, "bytes"), "1.3 GB so far");
  for (const unit of ["s", "seconds"]) assert.equal(format.count(en, 41, 108, unit), "0:41 of 1:48");
});

test("a rate is told by the second, a slow one by the minute, none of nothing and none of seconds", () => {
  assert.equal(format.rate(en, 1240.4, "rows"), "1,240 rows/s");
  assert.equal(format.rate(en, 4.25, "rows"), "4.3 rows/s");
  assert.equal(format.rate(en, 46, null), "46/s");
  assert.equal(format.rate(en, 0.05, "pages"), "3 pages/min");
  assert.equal(format.rate(en, 132e6, "bytes"), "132 MB/s");
  assert.equal(format.rate(en, 0, "rows"), null);
  assert.equal(format.rate(en, 1e-9, "rows"), null);
  assert.equal(format.rate(en, 1, "s"), null);
});

test("a percent is whole, and 100 only at the end", () => {
  assert.deepEqual([-1, 0.4, 38, 63.95, 99.6, 100, 120].map((n) => format.wholePercent(n)), [0, 0, 38, 64, 99, 100, 100]);
  assert.equal(format.percent(en, 99.6), "99%");
});

test("a time of another day says which", () => {
  const now = new Date(2026, 10, 24, 14, 3, 30).getTime();
  assert.equal(format.timeOfDay(en, new Date(2026, 10, 24, 0, 7).getTime(), now), "00:07");
  assert.equal(format.timeOfDay(en, new Date(2026, 10, 23, 23, 58).getTime(), now), "Nov 23, 23:58");
});

test("numbers follow the words: a language without words is not mixed into the English", () => {
  assert.equal(de.locale, "en");
  assert.equal(format.count(de, 12_800, 20_000, "rows"), "12,800 of 20,000 rows");
});
