/** Results too large to be pushed, fetched by HTTP. @module */

import { Backoff } from "./backoff.js";
import { Denied, RealtimeError, TaskRemoved } from "./errors.js";

/** @typedef {import("./realtime.js").Task} Task */

/**
 * Fetch the result of a completed task whose snapshot came without it. An outage is waited for, as the rest of the
 * client does; only an answer ends it.
 *
 * @param {Task} task
 * @param {object} options
 * @param {import("./environment.js").Environment} options.env
 * @param {import("./address.js").Address} options.address
 * @param {string | null} options.ticket
 * @param {(() => Promise<string | null>) | null} options.freshTicket asked once when the server refuses the ticket
 * @param {AbortSignal} options.signal
 * @returns {Promise<unknown>} rejected with `TaskRemoved`, `Denied` or the signal's reason
 */
export async function fetchResult(task, { env, address, ticket, freshTicket, signal }) {
  const backoff = new Backoff(env.random);
  const url = `${address.api}/tasks/${encodeURIComponent(task.task_id)}`;
  let current = ticket;
  let renew = freshTicket;
  for (;;) {
    signal.throwIfAborted();
    const answer = await ask(url, current, { env, signal });
    if (answer?.status === 200) {
      const found = /** @type {Task | null} */ (answer.body);
      const isSame = found?.epoch === task.epoch && found.version === task.version;
      if (!isSame) throw new TaskRemoved(task.task_id, task); // its id was given to another task
      return found.result;
    }
    if (answer?.status === 404) throw new TaskRemoved(task.task_id, task);
    if (answer?.status === 401 && renew) {
      try {
        current = await renew();
        renew = null;
      } catch {
        await pause(backoff.next(), { env, signal }); // as at a connect: no ticket now is an outage
      }
    } else if (answer && answer.status < 500 && !PASSING.has(answer.status)) {
      const { code = "internal", message = `The server answered ${answer.status}.` } = answer.body?.error ?? {};
      throw DENYING.has(answer.status) ? new Denied({ code, message }) : new RealtimeError(message, code);
    } else {
      await pause(backoff.next(), { env, signal });
    }
  }
}

/** Statuses below 500 that may be over soon: timeout, too early, too many. */
const PASSING = new Set([408, 425, 429]);
const DENYING = new Set([401, 403]);

/**
 * @param {string} url
 * @param {string | null} ticket
 * @param {{env: import("./environment.js").Environment, signal: AbortSignal}} options
 * @returns {Promise<{status: number, body: any} | null>} null when the server cannot be reached; a body that is not
 *     JSON is null
 */
async function ask(url, ticket, { env, signal }) {
  /** @type {RequestInit} */
  const init = { signal, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (ticket !== null) Object.assign(init, { headers: { ...init.headers, Authorization: `Bearer ${ticket}` } });
  try {
    const response = await env.fetch(url, init);
    const text = await response.text();
    return { status: response.status, body: parse(text) };
  } catch {
    return null;
  }
}

/** @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * @param {number} ms
 * @param {{env: import("./environment.js").Environment, signal: AbortSignal}} options
 * @returns {Promise<void>} early when the signal aborts
 */
function pause(ms, { env, signal }) {
  return new Promise((resolve) => {
    const timer = env.setTimeout(finish, ms);
    function finish() {
      env.clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    }
    signal.addEventListener("abort", finish);
  });
}
