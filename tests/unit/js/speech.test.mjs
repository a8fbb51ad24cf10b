import assert from "node:assert/strict";
import { test } from "node:test";

import { Announcer } from "../../../static/announcer.js";
import { Speech } from "../../../static/speech.js";
import { words } from "../../../static/strings.js";
import { passTime } from "./support/snapshots.mjs";

/** A speech that is wanted, and what is heard of it. */
function speaking(t, { on = true } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const heard = [];
  const announcer = new Announcer((text) => heard.push(text));
  const speech = new Speech();
  speech.on = on;
  const world = { heard, speech, over: false, pass: () => passTime(t, 1000) };
  world.hear = (text) => {
    speech.hear(text);
    speech.say(announcer, words("en"), "en", () => world.over);
  };
  return world;
}

test("Lines of a second are said together, each once it has ended; blank ones are not", (t) => {
  const { heard, hear, pass } = speaking(t);
  hear("one\ntw");
  hear("o\n\n \nthr");
  assert.deepEqual(heard, []);
  pass();
  hear("ee\n");
  pass();
  pass();
  assert.deepEqual(heard, ["one\ntwo", "three"]);
});

test("Of more than a breath holds the newest are said, and how many there were", (t) => {
  const { heard, hear, pass } = speaking(t);
  for (let i = 1; i <= 1000; i += 1) hear(`this is line ${i}\n`);
  pass();
  assert.match(heard[0], /^1,000 new lines: this is line 9\d\d\n.*this is line 1000$/s);
  assert.ok(heard[0].length < 310);
  hear(`${"long ".repeat(200)}\n`);
  pass();
  assert.match(heard[1], /^long long .*…$/);
});

test("The last words are said when nothing follows them", (t) => {
  const world = speaking(t);
  world.hear("no end");
  world.pass();
  assert.deepEqual(world.heard, []);
  world.over = true;
  world.hear("");
  world.pass();
  world.hear("");
  world.pass();
  assert.deepEqual(world.heard, ["no end"]);
});

test("Nothing is said while nobody wants to hear it, and what was written then is not said later", (t) => {
  const { heard, hear, pass, speech } = speaking(t, { on: false });
  hear("unheard\nunhea");
  pass();
  speech.on = true;
  hear("rd\nheard\n");
  pass();
  hear("too late\n");
  speech.on = false;
  pass();
  assert.deepEqual(heard, ["rd\nheard"]);
});
