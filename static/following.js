/** Those who want to hear of the newest attempt at a thing, whichever of its attempts they named. @module */

import { later } from "./attempts.js";

/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./realtime.js").TaskFacts} TaskFacts */
/** @typedef {import("./realtime.js").TaskListener} TaskListener */
/** @typedef {import("./task-store.js").State} State */
/** @typedef {{stop: () => void, answer: {task: Task | null, facts: TaskFacts} | null}} Watched */

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
    const first = this.#open(id, () => tell());
    /** The newest attempt that is known of. @type {{id: string, watched: Watched}} */
    let newest = { id, watched: first };
    /** @type {Task | null | undefined} */
    let told;
    const tell = () => {
      const answers = [newest.watched.answer, first.answer];
      // How things stand is told once: not an older attempt first, as if the newer one had only just begun.
      if (told === undefined && answers.includes(null)) return;
      const answer = answers.find((each) => each?.task) ?? answers.find(Boolean);
      if (!answer || answer.task === told) return;
      if (answer.task && told && answer.task.attempt < told.attempt && !newest.watched.answer) return;
      told = answer.task;
      fn(answer.task, answer.facts);
    };
    const look = () => {
      const state = this.#read();
      const next = [...later(state, newest.id)].at(-1) ?? (state.tasks.has(newest.id) ? undefined : [...later(state, id)].at(-1));
      if (next === undefined || next === newest.id) return;
      if (newest.watched !== first) newest.watched.stop();
      newest = { id: next, watched: this.#open(next, () => tell()) };
    };
    this.#followers.add(look);
    look();
    return () => {
      this.#followers.delete(look);
      first.stop();
      newest.watched.stop();
    };
  }

  /**
   * @param {string} id
   * @param {() => void} heard
   * @returns {Watched}
   */
  #open(id, heard) {
    /** @type {Watched} */
    const watched = { stop: () => {}, answer: null };
    watched.stop = this.#watch(id, (task, facts) => {
      watched.answer = { task, facts };
      heard();
    });
    return watched;
  }
}
