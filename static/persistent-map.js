/**
 * A map whose `set` and `delete` give a new map and leave the old one as it was, at the price of a plain `Map`.
 *
 * Only the newest map holds a `Map`. An older one holds what differs, and points to its successor (Baker's trick:
 * H. Baker, "Shallow binding makes functional arrays fast", 1991). So the usual way, always going on from the newest,
 * costs O(1) whatever the size, where a copy of 5,000 entries per event costs a fifth of a millisecond. Old maps
 * point at new ones and never the other way: those that nobody holds are collected. Reading an old map walks to the
 * newest; changing an old one copies it first.
 *
 * @template K, V
 */
export class PersistentMap {
  /** @type {Map<K, V> | null} The entries, in the newest map only. */
  #map = new Map();
  /** @type {PersistentMap<K, V> | null} What was made of this map. */
  #next = null;
  /** @type {K | undefined} The key at which this map and the next differ. */
  #key;
  /** @type {V | undefined} What this map has there. */
  #value;
  #had = false;
  #size = 0;

  get size() {
    return this.#size;
  }

  /**
   * @param {K} key
   * @returns {V | undefined}
   */
  get(key) {
    const node = this.#holder(key);
    return node.#map ? node.#map.get(key) : node.#value;
  }

  /**
   * @param {K} key
   * @returns {boolean}
   */
  has(key) {
    const node = this.#holder(key);
    return node.#map ? node.#map.has(key) : node.#had;
  }

  /**
   * @param {K} key
   * @param {V} value
   * @returns {PersistentMap<K, V>} this map if the value is there already
   */
  set(key, value) {
    if (this.has(key) && Object.is(this.get(key), value)) return this;
    return this.#change(key, (map) => map.set(key, value));
  }

  /**
   * @param {K} key
   * @returns {PersistentMap<K, V>} this map if it has no such key
   */
  delete(key) {
    return this.has(key) ? this.#change(key, (map) => map.delete(key)) : this;
  }

  /** @returns {K[]} a list of its own, so that a loop may go on making maps */
  keys() {
    return [...this.#entries().keys()];
  }

  /** @returns {V[]} */
  values() {
    return [...this.#entries().values()];
  }

  /** @returns {[K, V][]} */
  entries() {
    return [...this.#entries()];
  }

  /**
   * The first map from here on that can tell about the key.
   *
   * @param {K} key
   * @returns {PersistentMap<K, V>}
   */
  #holder(key) {
    /** @type {PersistentMap<K, V>} */
    let node = this;
    while (node.#next && !Object.is(node.#key, key)) node = node.#next;
    return node;
  }

  /** @returns {Map<K, V>} the live one when this map is the newest: not to be changed by the caller */
  #entries() {
    if (this.#map) return this.#map;
    const older = [];
    /** @type {PersistentMap<K, V>} */
    let node = this;
    for (; node.#next; node = node.#next) older.push(node);
    const map = new Map(node.#map);
    for (const { key, value, had } of older.reverse().map((each) => each.#difference())) {
      if (had) map.set(key, value);
      else map.delete(key);
    }
    return map;
  }

  /** @returns {{key: K, value: V, had: boolean}} */
  #difference() {
    return { key: /** @type {K} */ (this.#key), value: /** @type {V} */ (this.#value), had: this.#had };
  }

  /**
   * @param {K} key
   * @param {(map: Map<K, V>) => unknown} apply
   * @returns {PersistentMap<K, V>}
   */
  #change(key, apply) {
    const next = new PersistentMap();
    const map = this.#entries();
    if (this.#map) {
      this.#key = key;
      this.#value = map.get(key);
      this.#had = map.has(key);
      this.#map = null;
      this.#next = next;
    }
    next.#map = map;
    apply(map);
    next.#size = map.size;
    return next;
  }
}
