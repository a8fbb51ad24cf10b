/**
 * Functions that somebody handed over to be called, none of which can disturb another.
 *
 * @template {unknown[]} A
 */
export class Listeners {
  #report;
  /** @type {Set<{fn: (...args: A) => void}>} One for each call of `add`: a function may be added twice. */
  #entries = new Set();

  /** @param {(error: unknown) => void} report where an exception of a listener goes */
  constructor(report) {
    this.#report = report;
  }

  get size() {
    return this.#entries.size;
  }

  /**
   * @param {(...args: A) => void} fn
   * @param {(() => A) | null} [first] what to call it with once, in a microtask, unless a call comes sooner
   * @returns {() => void} the way to stop; it may be called again
   */
  add(fn, first = null) {
    if (typeof fn !== "function") throw new TypeError(`a function is needed, not ${fn === null ? "null" : typeof fn}`);
    const entry = { fn, waiting: first !== null };
    entry.fn = (...args) => {
      entry.waiting = false;
      fn(...args);
    };
    this.#entries.add(entry);
    if (first) {
      queueMicrotask(() => {
        if (entry.waiting && this.#entries.has(entry)) this.#call(entry, first());
      });
    }
    return () => void this.#entries.delete(entry);
  }

  /** @param {A} args */
  emit(...args) {
    // A copy: a listener may add and stop others. One that was stopped meanwhile is not called.
    for (const entry of [...this.#entries]) if (this.#entries.has(entry)) this.#call(entry, args);
  }

  clear() {
    this.#entries.clear();
  }

  /**
   * @param {{fn: (...args: A) => void}} entry
   * @param {A} args
   */
  #call(entry, args) {
    try {
      entry.fn(...args);
    } catch (error) {
      this.#report(error);
    }
  }
}
