import assert from "node:assert/strict";
import { test } from "node:test";

import { freshOf } from "../../../static/outputs.js";
import { EPOCH, makeWorld, seeded, settle, snapshot, task } from "./support/fakes.mjs";

const bytes = (text) => Buffer.byteLength(text);
const OK = { ok: true, tasks: [], denied: [] };
const PASSING = { ok: false, error: { code: "limit", message: "Too many." } };

/** A piece as the server sends it. */
const piece = (offset, text, more = {}) => ({
  task_id: "a", stream: "output", epoch: EPOCH, offset, end: offset + bytes(text), text, ...more,
});

/** Listen, and keep what is told: `[text, offset, end, lost, first]`. */
function listen(world, { id = "a", ...options } = {}) {
  const told = [];
  const stop = world.rt.task(id).output(({ text, offset, end, lost, first }) => told.push([text, offset, end, lost, first]), options);
  return { told, stop };
}

/** What of output was asked for, and given up: `[from offsets]`, `[streams]`. */
const asked = (world) => world.socket.messages("subscribe").filter((it) => it.outputs).map((it) => it.outputs);
const left = (world) => world.socket.messages("unsubscribe").filter((it) => it.outputs).map((it) => it.outputs);

/** A live client that hears of `a`. */
async function hearing() {
  const world = makeWorld();
  await world.goLive([task("a")]);
  const { told, stop } = listen(world);
  await settle();
  await world.socket.answer("subscribe", OK);
  return { world, told, stop, send: (...args) => world.socket.fire("task_output", piece(...args)) };
}

test("Output is declined at CONNECT, and asked for where somebody listens, from its beginning", async () => {
  const world = makeWorld();
  await world.goLive([task("a"), task("b")]);
  assert.equal(world.socket.auth.output, false);
  listen(world);
  await settle();
  assert.deepEqual(world.socket.messages("subscribe"), [{ task_ids: [], epoch: EPOCH, outputs: { a: { output: 0 } } }]);
});

test("Pieces are told in order, each byte once: duplicates are dropped and overlaps cut between characters", async () => {
  const { told, send } = await hearing();
  send(0, "né");
  send(0, "né");
  send(1, "é€😀!");
  send(3, "€😀");
  send(11, "?");
  assert.deepEqual(told, [["né", 0, 3, 0, true], ["€😀!", 3, 11, 0, false], ["?", 11, 12, 0, false]]);
});

test("Bytes that are gone are told with the piece after them, at the beginning and later", async () => {
  const { told, send } = await hearing();
  send(40, "abc");
  send(50, "d");
  assert.deepEqual(told, [["abc", 40, 43, 40, true], ["d", 50, 51, 7, false]]);
});

test("Whatever comes twice, late or in other cuts, the same text comes out", () => {
  const { below } = seeded(20261124);
  const alphabet = [..."ab\né€ह😀"];
  for (let round = 0; round < 200; round += 1) {
    const signs = Array.from({ length: 30 }, () => alphabet[below(alphabet.length)]);
    const [text, places] = [signs.join(""), signs.map((_, i) => bytes(signs.slice(0, i).join("")))];
    let [next, out] = [0, ""];
    while (next < bytes(text)) {
      const first = below(places.findLastIndex((place) => place <= next) + 1);
      const some = signs.slice(first, first + 1 + below(12)).join("");
      const fresh = freshOf(next, { text: some, offset: places[first], end: places[first] + bytes(some) });
      if (!fresh) continue;
      assert.deepEqual([fresh.offset, fresh.lost, fresh.end - fresh.offset], [next, 0, bytes(fresh.text)]);
      [next, out] = [fresh.end, out + fresh.text];
    }
    assert.equal(out, text);
  }
});

test("Nothing is asked before the task is known; a task that is not in the list is subscribed to as well", async () => {
  const world = makeWorld();
  listen(world, { id: "b" });
  await world.goLive();
  assert.deepEqual(world.socket.messages("subscribe").map(({ task_ids }) => task_ids), [["b"]]);
  await world.socket.answer("subscribe", { ...OK, tasks: [task("b", 1, { user: "grace" })] });
  assert.deepEqual(asked(world), [{ b: { output: 0 } }]);
});

test("After a reconnect it goes on from the byte that it had come to, and tells nothing twice", async () => {
  const { world, told, send } = await hearing();
  send(0, "é1");
  await world.comeBack();
  await world.goLive();
  assert.deepEqual(asked(world), [{ a: { output: 3 } }]);
  world.socket.fire("task_output", piece(0, "é1"));
  world.socket.fire("task_output", piece(3, "2"));
  assert.deepEqual(told, [["é1", 0, 3, 0, true], ["2", 3, 4, 0, false]]);
});

test("An epoch that begins clears what is shown; pieces of the old one are dropped", async () => {
  const { world, told, send } = await hearing();
  send(0, "old");
  await world.comeBack();
  await world.goLive([task("a", 1, { epoch: "epoch-2" })], { epoch: "epoch-2" });
  assert.deepEqual(asked(world), [{ a: { output: 0 } }]);
  world.socket.fire("task_output", piece(3, "er"));
  world.socket.fire("task_output", piece(0, "new", { epoch: "epoch-2" }));
  assert.deepEqual(told.slice(1), [["", 0, 0, 0, true], ["new", 0, 3, 0, false]]);
});

test("An id that is made anew clears what is shown and is asked for from its beginning", async () => {
  const { world, told, send } = await hearing();
  send(0, "old");
  world.socket.fire("task_created", task("a", 5, { created_at: "2026-11-24T15:00:00Z" }));
  send(3, "stray of the old one");
  await settle();
  assert.deepEqual(asked(world), [{ a: { output: 0 } }, { a: { output: 0 } }]);
  send(0, "new");
  assert.deepEqual(told.slice(1), [["", 0, 0, 0, true], ["new", 0, 3, 0, false]]);
});

test("A task that goes and is back the same is asked for from where it was: its going has ended the following", async () => {
  const { world, told, send } = await hearing();
  send(0, "abc");
  world.socket.fire("task_removed", { task_id: "a", epoch: EPOCH, version: 2 });
  world.socket.fire("task_progress", task("a", 3));
  await settle();
  assert.deepEqual(asked(world).at(-1), { a: { output: 3 } });
  assert.equal(asked(world).length, 2);
  assert.equal(told.length, 1);
});

test("A second listener gets what there is as one piece, then the same as the first", async () => {
  const { world, told, send } = await hearing();
  send(2, "ab");
  send(4, "cd");
  const second = listen(world);
  assert.deepEqual(second.told, []);
  await settle();
  assert.deepEqual(second.told, [["abcd", 2, 6, 2, true]]);
  const third = listen(world);
  send(6, "e");
  await settle();
  assert.deepEqual(second.told.at(-1), ["e", 6, 7, 0, false]);
  assert.deepEqual(third.told, [["abcde", 2, 7, 2, true]]);
  assert.deepEqual(told.at(-1), ["e", 6, 7, 0, false]);
  assert.equal(asked(world).length, 1);
});

test("What is kept for those who come later is bounded, and has no gap in it", async () => {
  const { world, send } = await hearing();
  const line = "x".repeat(32 * 1024);
  for (let i = 0; i < 20; i += 1) send(i * line.length, line);
  const late = listen(world);
  await settle();
  assert.deepEqual(late.told.map(([text, ...facts]) => [text.length, ...facts]), [[8 * line.length, 12 * line.length, 20 * line.length, 12 * line.length, true]]);
  send(21 * line.length, "y");
  const later = listen(world);
  await settle();
  assert.deepEqual(later.told, [["y", 21 * line.length, 21 * line.length + 1, 21 * line.length, true]]);
});

test("Streams are apart: each has its offsets, and ends alone", async () => {
  const { world, told, send } = await hearing();
  const errors = listen(world, { stream: "errors" });
  await settle();
  await world.socket.answer("subscribe", OK);
  assert.deepEqual(asked(world), [{ a: { output: 0 } }, { a: { errors: 0 } }]);
  send(0, "out");
  send(0, "err", { stream: "errors" });
  assert.deepEqual([told, errors.told], [[["out", 0, 3, 0, true]], [["err", 0, 3, 0, true]]]);
  errors.stop();
  await settle();
  assert.deepEqual(left(world), [{ a: ["errors"] }]);
});

test("The last who stops ends it, and hears no more; the task's own room is left as ever", async () => {
  const { world, told, stop, send } = await hearing();
  const second = listen(world);
  stop();
  await settle();
  assert.deepEqual(left(world), []);
  second.stop();
  send(0, "late");
  await settle();
  assert.deepEqual(world.socket.messages("unsubscribe"), [{ task_ids: [], outputs: { a: ["output"] } }]);
  assert.deepEqual([told, second.told], [[], []]);
});

test("An element that moves in the page stops and listens again without a word to the server", async () => {
  const { world, stop, send } = await hearing();
  send(0, "abc");
  stop();
  const again = listen(world);
  await settle();
  assert.equal(world.socket.sent.length, 1);
  assert.deepEqual(again.told, [["abc", 0, 3, 0, true]]);
});

test("Who listens again while the end is on its way misses nothing: after it, the rest is asked for", async () => {
  const { world, stop, send } = await hearing();
  send(0, "abc");
  stop();
  await settle();
  assert.deepEqual(left(world), [{ a: ["output"] }]);
  const again = listen(world);
  await settle();
  send(3, "de"); // sent before the server had heard of the end
  assert.equal(asked(world).length, 1, "one question at a time");
  await world.socket.answer("unsubscribe", { ok: true });
  assert.deepEqual(asked(world).at(-1), { a: { output: 5 } });
  send(5, "f");
  assert.deepEqual(again.told, [["abc", 0, 3, 0, true], ["de", 3, 5, 0, false], ["f", 5, 6, 0, false]]);
});

test("Who listens again before the end is on its way has it called off", async () => {
  const { world, stop, send } = await hearing();
  const other = listen(world, { stream: "errors" }); // its question is under way: the next ones wait
  await settle();
  send(0, "abc");
  stop();
  await settle();
  const again = listen(world);
  await world.socket.answer("subscribe", OK);
  await settle();
  assert.deepEqual(left(world), []);
  send(3, "d");
  assert.deepEqual(again.told.at(-1), ["d", 3, 4, 0, false]);
  other.stop();
  await settle();
  assert.deepEqual(left(world), [{ a: ["errors"] }]);
});

test("What was given up begins anew for who comes after its end; a lost connection ends it, too", async () => {
  const { world, stop, send } = await hearing();
  send(0, "abc");
  stop();
  await settle();
  await world.socket.answer("unsubscribe", { ok: true });
  const again = listen(world);
  await settle();
  assert.deepEqual([asked(world).at(-1), again.told], [{ a: { output: 0 } }, []]);
  await world.socket.answer("subscribe", OK);
  send(0, "abc");
  again.stop();
  await settle();
  await world.comeBack();
  await world.goLive([task("a")]);
  assert.deepEqual([asked(world), left(world)], [[], []]);
});

test("A room that was joined for a moment is left, and the output that this ends is asked for again", async () => {
  const world = makeWorld();
  const ids = Array.from({ length: 101 }, (_, i) => `t${String(i).padStart(3, "0")}`);
  await world.goLive(ids.map((id) => task(id)));
  await world.comeBack();
  await world.goLive();
  const [id] = ids.filter((each) => !(each in world.socket.auth.cursors)); // its cursor found no room in the CONNECT
  listen(world, { id });
  await settle();
  const ends = () => world.socket.messages("unsubscribe");
  await world.socket.answer("subscribe", OK); // the moment's room
  await world.socket.answer("subscribe", OK); // the output
  world.socket.fire("task_output", piece(0, "abc", { task_id: id }));
  assert.deepEqual(ends(), [{ task_ids: [id] }]);
  assert.deepEqual(asked(world), [{ [id]: { output: 0 } }]);
  await world.socket.answer("unsubscribe", { ok: true });
  assert.deepEqual(asked(world), [{ [id]: { output: 0 } }, { [id]: { output: 3 } }]);
});

test("Refusals that pass are asked again; others are reported, and asked again only when something changes", async () => {
  const world = makeWorld();
  await world.goLive([task("a")]);
  const { stop } = listen(world);
  await settle();
  await world.socket.answer("subscribe", PASSING);
  await world.clock.pass(10_000);
  assert.equal(asked(world).length, 2);
  await world.socket.answer("subscribe", { ok: false, error: { code: "invalid_value", message: "No." } });
  await world.clock.pass(60_000);
  assert.equal(asked(world).length, 2);
  assert.deepEqual(world.reported.map(({ code }) => code), ["invalid_value"]);
  stop();
  await settle();
  await world.socket.answer("unsubscribe", PASSING);
  await world.clock.pass(10_000);
  assert.equal(left(world).length, 2);
});

test("A task has at most eight streams, and what is no function or no name is refused at once", async () => {
  const world = makeWorld();
  const stops = Array.from({ length: 8 }, (_, i) => listen(world, { stream: `s${i}` }).stop);
  listen(world, { stream: "s0" });
  assert.throws(() => listen(world, { stream: "s8" }), RangeError);
  stops[1]();
  listen(world, { stream: "s8" });
  assert.throws(() => world.rt.task("a").output(), TypeError);
  assert.throws(() => listen(world, { stream: "" }), TypeError);
  await world.goLive([task("a")]);
  assert.deepEqual(asked(world).map(({ a }) => Object.keys(a).length), [8]);
});

test("A listener that throws disturbs nobody; after close() nobody hears anything", async () => {
  const { world, told, send } = await hearing();
  world.rt.task("a").output(() => {
    throw new Error("theirs");
  });
  send(0, "abc");
  world.rt.close();
  send(3, "d");
  await settle();
  assert.deepEqual(told, [["abc", 0, 3, 0, true]]);
  assert.deepEqual(world.reported.map(({ message }) => message), ["theirs"]);
});
