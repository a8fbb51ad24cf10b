/** Those who show the viewer's list, and how often they hear of it. @module */

import { Listeners } from "./listeners.js";

/** Milliseconds between two calls while tasks keep changing: a frame of a usual screen. The first call is at once. */
const INTERVAL = 16;

/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./realtime.js").ListFacts} ListFacts */

export class TaskLists {
  #env;
  #read;
  /** @type {Listeners<[readonly Task[], ListFacts]>} */
  #listeners;
  #scheduled = false;
  #last = -Infinity;

  /**
   * @param {import("./environment.js").Environment} env
   * @param {() => [readonly Task[], ListFacts]} read
   */
  constructor(env, read) {
    this.#env = env;
    this.#read = read;
    this.#listeners = new Listeners(env.report);
  }

  get isShown() {
    return this.#listeners.size > 0;
  }

  /**
   * @param {(tasks: readonly Task[], facts: ListFacts) => void} fn
   * @returns {() => void}
   */
  add(fn) {
    return this.#listeners.add(fn, this.#read);
  }

  changed() {
    if (this.#scheduled || !this.isShown) return;
    this.#scheduled = true;
    const wait = this.#last + INTERVAL - this.#env.now();
    // A clock that was set back must not make anybody wait for it.
    if (wait > 0) this.#env.setTimeout(() => this.#emit(), Math.min(wait, INTERVAL));
    else queueMicrotask(() => this.#emit());
  }

  clear() {
    this.#listeners.clear();
  }

  #emit() {
    this.#scheduled = false;
    this.#last = this.#env.now();
    this.#listeners.emit(...this.#read());
  }
}
