import assert from "node:assert/strict";
import { test } from "node:test";
import { Announcer } from "../../../static/announcer.js";
import { passTime } from "./support/snapshots.mjs";

function listen(t) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const heard = [];
  return { heard, announcer: new Announcer((text, lang) => heard.push([text, lang])), pass: (ms) => passTime(t, ms) };
}

test("what is said within a second is one announcement", (t) => {
  const { heard, announcer, pass } = listen(t);
  announcer.say("A: started", "en");
  pass(999);
  announcer.say("B: started", "en");
  assert.deepEqual(heard, []);
  pass(1);
  assert.deepEqual(heard, [["A: started B: started", "en"]]);
  pass(5000);
  assert.equal(heard.length, 1);
  announcer.say("C: started", "en");
  pass(1000);
  assert.equal(heard.length, 2);
});

test("the same sentence, or the same end by two elements, is heard once", (t) => {
  const { heard, announcer, pass } = listen(t);
  for (let i = 0; i < 3; i += 1) {
    announcer.say("A: started", "en");
    announcer.end("e1 b", { kind: "completed", text: "B: done." }, "en");
    announcer.end("e1 c", { kind: "completed", text: "C: done." }, "en");
  }
  pass(1000);
  assert.deepEqual(heard, [["A: started B: done. C: done.", "en"]]);
});

test("two ends are told, more are counted by kind", (t) => {
  const { heard, announcer, pass } = listen(t);
  const end = (id, kind, text) => announcer.end(id, { kind, text }, "en");
  end("a", "completed", "A: done. Fine.");
  end("b", "failed", "B: failed. Bad.");
  pass(1000);
  for (const id of ["c", "d", "e"]) end(id, "completed", `${id}: done.`);
  end("f", "failed", "f: failed.");
  pass(1000);
  end("g", "completed", "g: done.");
  end("h", "cancelled", "h: cancelled");
  end("i", "cancelled", "i: cancelled");
  pass(1000);
  assert.deepEqual(heard.map(([text]) => text), ["A: done. Fine. B: failed. Bad.", "3 jobs done, 1 failed.", "1 job done, 2 cancelled."]);
});

test("what is no longer true when its second is over is not said", (t) => {
  const { heard, announcer, pass } = listen(t);
  let lost = true;
  announcer.say(() => (lost ? "Connection lost." : ""), "en");
  lost = false;
  pass(1000);
  assert.deepEqual(heard, []);
});

test("a long message is cut, not inside a character", (t) => {
  const { heard, announcer, pass } = listen(t);
  announcer.say("𝄞".repeat(400), "en");
  pass(1000);
  assert.equal(heard[0][0], `${"𝄞".repeat(300)}…`);
});
