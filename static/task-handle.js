/** One task in the hands of the page. @module */

import { Denied, NotFound, RealtimeError, TaskCancelled, TaskFailed, TaskRemoved } from "./errors.js";
import { isFinished } from "./task-store.js";

/** @typedef {import("./realtime.js").ConnectionState} ConnectionState */
/** @typedef {import("./realtime.js").OutputListener} OutputListener */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./realtime.js").TaskListener} TaskListener */

/**
 * @typedef {object} Client what a handle needs of its client
 * @property {(id: string, fn: TaskListener) => () => void} watch
 * @property {(id: string, fn: TaskListener) => () => void} follow
 * @property {(id: string, stream: string, fn: OutputListener) => () => void} listen
 * @property {(fn: (state: ConnectionState) => void) => () => void} onState
 * @property {(id: string) => Promise<Task>} cancel
 * @property {(task: Task, signal: AbortSignal) => Promise<unknown>} fetchResult
 */

/** @implements {TaskHandleShape} */
export class TaskHandle {
  #client;

  /**
   * @param {Client} client
   * @param {string} id
   */
  constructor(client, id) {
    this.#client = client;
    this.id = id;
  }

  /**
   * @param {TaskListener} fn
   * @param {{follow?: boolean}} [options]
   * @returns {() => void}
   */
  subscribe(fn, { follow = false } = {}) {
    return follow ? this.#client.follow(this.id, fn) : this.#client.watch(this.id, fn);
  }

  /**
   * @param {OutputListener} fn
   * @param {{stream?: string}} [options]
   * @returns {() => void}
   */
  output(fn, { stream = "output" } = {}) {
    return this.#client.listen(this.id, stream, fn);
  }

  /** @returns {Promise<Task>} */
  cancel() {
    return this.#client.cancel(this.id);
  }

  /**
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<any>}
   */
  async done({ signal } = {}) {
    signal?.throwIfAborted();
    /** @type {(() => void)[]} */
    const stops = [];
    // Ends the fetch of a result when anything else has settled the promise.
    const over = new AbortController();
    try {
      return await new Promise((resolve, reject) => {
        const aborted = () => reject(signal?.reason);
        signal?.addEventListener("abort", aborted);
        stops.push(() => signal?.removeEventListener("abort", aborted));
        /** @type {Task | null} */
        let last = null;
        const settle = (/** @type {Task | null} */ task, /** @type {boolean} */ known) => {
          if (!task) reject(known ? new TaskRemoved(this.id, last) : new NotFound(this.id));
          else if (task.status === "failed") reject(new TaskFailed(task));
          else if (task.status === "cancelled") reject(new TaskCancelled(task));
          else if (!task.result_omitted) resolve(task.result);
          else this.#client.fetchResult(task, over.signal).then(resolve, reject);
        };
        let ended = false;
        stops.push(
          this.#client.watch(this.id, (task, { known }) => {
            // The end of the task decides; that it is cleared away while its result is fetched does not.
            if (ended || (task && !isFinished(task))) {
              last = task;
              return;
            }
            ended = true;
            settle(task, known);
          }),
          this.#client.onState(({ state, reason }) => {
            if (state === "denied" && reason) reject(new Denied(reason));
            if (state === "closed") reject(new RealtimeError("The client was closed.", "closed"));
          }),
        );
      });
    } finally {
      for (const stop of stops) stop();
      over.abort();
    }
  }
}

/** @typedef {import("./realtime.js").TaskHandle} TaskHandleShape */
