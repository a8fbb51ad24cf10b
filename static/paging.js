/** Loading the rest of the viewer's list, page after page, while somebody shows it. @module */

import { Backoff } from "./backoff.js";
import { COMMANDS, LIMITS } from "./protocol.js";
import { isPassing } from "./requests.js";

/** @typedef {import("./task-store.js").Action} Action */
/** @typedef {import("./task-store.js").State} State */

export class Paging {
  #env;
  #read;
  #dispatch;
  #request;
  #isWanted;
  #changed;
  #backoff;
  /** Which run this is; a new connection starts a new one. */
  #run = 0;
  #loading = false;

  /**
   * @param {object} options
   * @param {import("./environment.js").Environment} options.env
   * @param {() => State} options.read
   * @param {(action: Action) => void} options.dispatch
   * @param {import("./connection.js").Request} options.request
   * @param {() => boolean} options.isWanted whether somebody shows the list
   * @param {() => void} options.changed called when `loading` changed
   */
  constructor({ env, read, dispatch, request, isWanted, changed }) {
    this.#env = env;
    this.#read = read;
    this.#dispatch = dispatch;
    this.#request = request;
    this.#isWanted = isWanted;
    this.#changed = changed;
    this.#backoff = new Backoff(env.random);
  }

  get loading() {
    return this.#loading;
  }

  /** Load what is missing, unless that is under way. */
  start() {
    if (!this.#loading && this.#isOwed()) void this.#load(++this.#run);
  }

  /** The connection is gone; the next one's snapshot says again whether there is more. */
  stop() {
    this.#run += 1;
    this.#set(false);
  }

  #isOwed() {
    const { synced, missing } = this.#read();
    return synced && missing !== null && this.#isWanted();
  }

  /** @param {number} run */
  async #load(run) {
    this.#set(true);
    while (run === this.#run && this.#isOwed()) {
      const before = this.#read().missing?.before ?? null;
      let answer;
      try {
        answer = await this.#request(COMMANDS.LIST_TASKS, { limit: LIMITS.SNAPSHOT_TASKS, before });
      } catch (error) {
        if (!isPassing(error)) break;
        await new Promise((resolve) => this.#env.setTimeout(() => resolve(null), this.#backoff.next()));
        continue;
      }
      this.#backoff.reset();
      this.#dispatch({ type: "page", tasks: answer.tasks ?? [], next: answer.next ?? null });
    }
    if (run === this.#run) this.#set(false);
  }

  /** @param {boolean} loading */
  #set(loading) {
    if (loading === this.#loading) return;
    this.#loading = loading;
    this.#changed();
  }
}
