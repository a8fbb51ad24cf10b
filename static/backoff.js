/**
 * How long to wait before the next try: exponential, with full jitter.
 *
 * The n-th wait (from 0) is uniform in [0, min(cap, base · 2ⁿ)). The whole width is random so that viewers who lost
 * a server together do not come back together
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export class Backoff {
  #random;
  #base;
  #cap;
  #failures = 0;
  /** @type {number | null} */
  #once = null;

  /**
   * @param {() => number} random in [0, 1)
   * @param {{base?: number, cap?: number}} [bounds] milliseconds
   */
  constructor(random, { base = 500, cap = 30_000 } = {}) {
    this.#random = random;
    this.#base = base;
    this.#cap = cap;
  }

  /** @returns {number} milliseconds; each call is one more failure, but for the one that `within` set */
  next() {
    const once = this.#once;
    this.#once = null;
    if (once !== null) return this.#random() * once;
    const width = Math.min(this.#cap, this.#base * 2 ** this.#failures);
    this.#failures += 1;
    return this.#random() * width;
  }

  /**
   * The next wait is uniform in this: the server knows how many it sends away together.
   *
   * @param {unknown} seconds
   */
  within(seconds) {
    if (typeof seconds === "number" && seconds >= 0) this.#once = Math.min(this.#cap, seconds * 1000);
  }

  reset() {
    this.#failures = 0;
  }
}
