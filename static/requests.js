/** Questions to the server that wait for their answers. @module */

import { RealtimeError } from "./errors.js";

/** Milliseconds after which an answer is not waited for any longer. */
const PATIENCE = 10_000;

/** @typedef {import("./environment.js").Environment} Environment */
/** @typedef {import("./realtime.js").Socket} Socket */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {{ok: true, task?: Task, tasks?: Task[], denied?: string[], next?: string | null}} Answer */

export class Requests {
  #env;
  /** @type {Set<(error: RealtimeError) => void>} */
  #waiting = new Set();

  /** @param {Environment} env */
  constructor(env) {
    this.#env = env;
  }

  /**
   * @param {Socket} socket a connected one: the official client would keep it for later otherwise
   * @param {string} command
   * @param {object} message
   * @returns {Promise<Answer>} rejected with the server's `code`, or `timeout`, or what `abandon` was given
   */
  send(socket, command, message) {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#env.clearTimeout(timer);
        this.#waiting.delete(abandon);
      };
      const abandon = (/** @type {RealtimeError} */ error) => {
        settle();
        reject(error);
      };
      const timer = this.#env.setTimeout(() => {
        abandon(new RealtimeError(`The server did not answer "${command}" within ${PATIENCE / 1000} s.`, "timeout"));
      }, PATIENCE);
      this.#waiting.add(abandon);
      socket.emit(command, message, (/** @type {any} */ answer) => {
        settle();
        if (answer?.ok === true) resolve(answer);
        else reject(refusal(command, answer?.error));
      });
    });
  }

  /** @param {() => RealtimeError} why made for each, for each has a stack of its own */
  abandonAll(why) {
    for (const abandon of [...this.#waiting]) abandon(why());
  }
}

/**
 * @param {string} command
 * @param {{code?: string, message?: string} | undefined} error
 * @returns {RealtimeError}
 */
function refusal(command, error) {
  return new RealtimeError(error?.message ?? `The server refused "${command}".`, error?.code ?? "internal");
}

/** Refusals that may be over soon. */
const PASSING = new Set(["timeout", "unavailable", "limit", "server_stopping", "internal"]);

/**
 * @param {unknown} error
 * @returns {boolean} whether the same question may be answered later, in the same connection
 */
export function isPassing(error) {
  return error instanceof RealtimeError && PASSING.has(error.code);
}
