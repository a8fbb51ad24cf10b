import assert from "node:assert/strict";
import { test } from "node:test";

import { Listeners } from "../../../static/listeners.js";
import { settle } from "./support/fakes.mjs";

test("An exception of one listener is reported, and the others hear all the same", async () => {
  const reported = [];
  const heard = [];
  const listeners = new Listeners((error) => reported.push(error.message));
  listeners.add(() => {
    throw new Error("first");
  });
  listeners.add((what) => heard.push(what));
  listeners.add(
    () => {
      throw new Error("second");
    },
    () => ["now"],
  );
  await settle();
  listeners.emit("news");
  assert.deepEqual(heard, ["news"]);
  assert.deepEqual(reported, ["second", "first", "second"]);
});

test("The first call comes after `add` has returned, and not at all when it was stopped before", async () => {
  const heard = [];
  const listeners = new Listeners(assert.fail);
  listeners.add((what) => heard.push(`kept ${what}`), () => ["now"]);
  listeners.add((what) => heard.push(`stopped ${what}`), () => ["now"])();
  assert.deepEqual(heard, []);
  await settle();
  assert.deepEqual(heard, ["kept now"]);
});

test("News that come before the first call take its place", async () => {
  const heard = [];
  const listeners = new Listeners(assert.fail);
  listeners.add((what) => heard.push(what), () => ["old"]);
  listeners.emit("new");
  await settle();
  assert.deepEqual(heard, ["new"]);
});

test("A listener that another one stops in the same round is not called any more; one added then waits for the next", () => {
  const heard = [];
  const listeners = new Listeners(assert.fail);
  listeners.add(() => {
    stop();
    if (heard.length === 0) listeners.add((what) => heard.push(`late ${what}`));
    heard.push("one");
  });
  const stop = listeners.add(() => heard.push("two"));
  listeners.emit("a");
  assert.deepEqual(heard, ["one"]);
  listeners.emit("b");
  assert.deepEqual(heard, ["one", "one", "late b"]);
});

test("One function added twice is called twice, and each has its own way to stop", () => {
  let calls = 0;
  const listeners = new Listeners(assert.fail);
  const fn = () => (calls += 1);
  const stop = listeners.add(fn);
  listeners.add(fn);
  listeners.emit();
  stop();
  stop();
  listeners.emit();
  assert.equal(calls, 3);
});

test("What is not a function is refused at once", () => {
  assert.throws(() => new Listeners(assert.fail).add(null), /a function is needed, not null/);
  assert.throws(() => new Listeners(assert.fail).add("x"), TypeError);
});
