import assert from "node:assert/strict";
import { test } from "node:test";
import { count, percent } from "../../../static/format.js";
import { onStrings, setStrings, words } from "../../../static/strings.js";

test("a language gets its own sentences, its regions too, and English for what it lacks", () => {
  setStrings("de", { "figure.completed": "Fertig" });
  assert.equal(words("de").say("figure.completed"), "Fertig");
  assert.equal(words("de-AT").say("figure.completed"), "Fertig");
  assert.equal(words("de").say("figure.failed"), "Failed");
  assert.equal(words("en").say("figure.completed"), "Done");
});

test("numbers are written as the language writes them", () => {
  setStrings("de", { "meta.of.unit": "{current} von {total} {unit}" });
  assert.equal(count(words("de"), 12_800, 20_000, "Zeilen"), "12.800 von 20.000 Zeilen");
  assert.equal(percent(words("de"), 64), "64\u00a0%");
});

test("several calls for one language add up, and those who listen hear of each", () => {
  let heard = 0;
  const stop = onStrings(() => (heard += 1));
  setStrings("fr", { "cancel": "Annuler" });
  setStrings("fr", { "figure.failed": "Échec" });
  stop();
  setStrings("fr", { "figure.completed": "Fini" });
  assert.equal(heard, 2);
  assert.deepEqual(["cancel", "figure.failed"].map((key) => words("fr").say(key)), ["Annuler", "Échec"]);
});

test("the count chooses the plural form, by the rules of the language", () => {
  assert.equal(words("en").say("say.meanwhile", { count: 1 }), "1 job finished meanwhile.");
  assert.equal(words("en").say("say.meanwhile", { count: 1200 }), "1,200 jobs finished meanwhile.");
  setStrings("pl", { "say.meanwhile": { one: "{count} praca", few: "{count} prace", many: "{count} prac", other: "{count} pracy" } });
  assert.deepEqual([1, 3, 5].map((count) => words("pl").say("say.meanwhile", { count })), ["1 praca", "3 prace", "5 prac"]);
});

test("a value that looks like a place is left as it is", () => {
  assert.equal(words("en").say("say.started", { name: "{name} $& {count}" }), "{name} $& {count}: started");
});

test("what is no language tag is English", () => {
  assert.equal(words("not a tag!").say("cancel"), "Cancel");
  assert.equal(words("").say("cancel"), "Cancel");
});
