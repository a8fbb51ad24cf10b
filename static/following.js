/** Those who want to hear of the newest attempt at a thing, whichever of its attempts they named. @module */

import { later } from "./attempts.js";

/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./realtime.js").TaskFacts} TaskFacts */
/** @typedef {import("./realtime.js").TaskListener} TaskListener */
/** @typedef {import("./task-store.js").State} State */
/** @typedef {{id: string, stop: () => void, answer: {task: Task | null, facts: TaskFacts} | null}} Watched */

export class Following {
  #read;
  #watch;
  /** @type {Set<() => void>} */
  #followers = new Set();

  /**
   * @param {object} options
   * @param {() => State} options.read the store
   * @param {(id: string, fn: TaskListener) => () => void} options.watch
   */
  constructor({ read, watch }) {
    this.#read = read;
    this.#watch = watch;
  }

  /** Which attempts there are has changed. */
  changed() {
    for (const look of [...this.#followers]) look();
  }

  /**
   * @param {string} id
   * @param {TaskListener} fn as of `watch`; after each other the snapshots may be of different tasks
   * @returns {() => void}
   */
  follow(id, fn) {
    /** The task that was named, then newer attempts at it: the one that is shown, and those that may yet come. */
    const watched = [this.#open(id, () => tell())];
    /** @type {Task | null | undefined} */
    let told;
    const tell = () => {
      // How things stand is told once: not an older attempt first, as if the newer one had only just begun.
      if (told === undefined && watched.some(({ answer }) => answer === null)) return;
      const answers = watched.map(({ answer }) => answer);
      const answer = [...answers].reverse().find((each) => each?.task) ?? answers.find(Boolean);
      if (!answer) return;
      for (const { stop } of watched.splice(1, answers.indexOf(answer) - 1)) stop();
      if (answer.task === told) return;
      told = answer.task;
      fn(answer.task, answer.facts);
    };
    const look = () => {
      const state = this.#read();
      const newest = watched.at(-1)?.id ?? id;
      // Of what is gone nobody knows any more which came after it.
      const next = [...later(state, newest)].at(-1) ?? (state.tasks.has(newest) ? undefined : [...later(state, id)].at(-1));
      // Attempts that say they come after each other in a ring are gone round once.
      if (next !== undefined && watched.every((each) => each.id !== next)) watched.push(this.#open(next, () => tell()));
    };
    this.#followers.add(look);
    look();
    return () => {
      this.#followers.delete(look);
      for (const { stop } of watched) stop();
    };
  }

  /**
   * @param {string} id
   * @param {() => void} heard
   * @returns {Watched}
   */
  #open(id, heard) {
    /** @type {Watched} */
    const watched = { id, stop: () => {}, answer: null };
    watched.stop = this.#watch(id, (task, facts) => {
      watched.answer = { task, facts };
      heard();
    });
    return watched;
  }
}
