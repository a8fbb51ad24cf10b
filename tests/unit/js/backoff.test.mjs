import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../../../static/backoff.js";
import { seeded } from "./support/fakes.mjs";

test("The widths double from half a second to thirty, and stay there", () => {
  const backoff = new Backoff(() => 1);
  const waits = Array.from({ length: 9 }, () => backoff.next());
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test("A wait is anywhere in its width, down to nothing", () => {
  const { random } = seeded(7);
  const waits = Array.from({ length: 2000 }, () => new Backoff(random, { base: 1000 }).next());
  assert.ok(Math.min(...waits) >= 0 && Math.max(...waits) < 1000);
  for (let tenth = 0; tenth < 10; tenth += 1) {
    const share = waits.filter((wait) => Math.floor(wait / 100) === tenth).length;
    assert.ok(share > 140 && share < 260, `${share} of 2,000 waits in the tenth from ${tenth * 100} ms on`);
  }
});

test("A reset begins with the first width again", () => {
  const backoff = new Backoff(() => 1);
  backoff.next();
  backoff.next();
  backoff.reset();
  assert.equal(backoff.next(), 500);
});

test("Thousands of failures overflow nothing", () => {
  const backoff = new Backoff(() => 1);
  for (let failures = 0; failures < 5000; failures += 1) backoff.next();
  assert.equal(backoff.next(), 30_000);
});

test("What the server says of when to come back holds for one wait", () => {
  const backoff = new Backoff(() => 0.5);
  backoff.next();
  backoff.within(3);
  assert.deepEqual([backoff.next(), backoff.next()], [1500, 500]);
  backoff.within(0);
  assert.equal(backoff.next(), 0);
});

test("What is no number of seconds is passed over, and nobody waits longer than the cap", () => {
  const backoff = new Backoff(() => 1);
  for (const word of [undefined, null, "3", -1, Number.NaN, {}]) backoff.within(word);
  assert.equal(backoff.next(), 500);
  backoff.within(1e9);
  assert.equal(backoff.next(), 30_000);
});
