import assert from "node:assert/strict";
import { test } from "node:test";

import { PersistentMap } from "../../../static/persistent-map.js";
import { seeded } from "./support/fakes.mjs";

const sorted = (entries) => [...entries].sort(([a], [b]) => a - b);

for (let seed = 1; seed <= 40; seed += 1) {
  test(`Every map stays as it was made, whatever is made of it (seed ${seed})`, () => {
    const { below } = seeded(seed);
    const versions = [{ map: new PersistentMap(), model: new Map() }];
    for (let step = 0; step < 150; step += 1) {
      // Mostly the newest is changed, as a store does; sometimes an old one, which makes a branch.
      const from = below(5) === 0 ? versions[below(versions.length)] : versions.at(-1);
      const [key, value] = [below(12), below(3) === 0 ? undefined : below(4)];
      const model = new Map(from.model);
      const isRemoval = below(3) === 0;
      if (isRemoval) model.delete(key);
      else model.set(key, value);
      versions.push({ map: isRemoval ? from.map.delete(key) : from.map.set(key, value), model });
    }
    for (const { map, model } of versions) {
      assert.deepEqual(sorted(map.entries()), sorted(model));
      assert.deepEqual([...map.keys()].sort(), [...model.keys()].sort());
      assert.equal(map.values().length, model.size);
      assert.equal(map.size, model.size);
      for (let key = 0; key < 12; key += 1) {
        assert.equal(map.has(key), model.has(key));
        assert.equal(map.get(key), model.get(key));
      }
    }
  });
}

test("What changes nothing gives the same map", () => {
  const map = new PersistentMap().set("a", 1);
  assert.equal(map.set("a", 1), map);
  assert.equal(map.delete("b"), map);
  assert.notEqual(map.set("b", undefined), map);
});

test("A list of keys is the caller's own: going on from the map does not change it", () => {
  let map = new PersistentMap().set("a", 1).set("b", 2);
  const seen = [];
  for (const key of map.keys()) {
    seen.push(key);
    map = map.delete(key).set(`${key}'`, 0);
  }
  assert.deepEqual(seen, ["a", "b"]);
  assert.deepEqual(map.keys().sort(), ["a'", "b'"]);
});
