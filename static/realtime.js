/**
 * The browser's side: connect, and watch tasks move.
 *
 *     import { connect } from "/realtime/static/realtime.js";
 *     const rt = connect();
 *     rt.task(id).subscribe((task) => { bar.value = task?.progress.percent ?? 0; });
 *     const result = await rt.task(id).done();
 *
 * Types, with what each thing does: `realtime.d.ts`.
 *
 * @module
 */

import { pageFacts, pageOrigin, resolve } from "./address.js";
import { Client } from "./client.js";
import { browserEnvironment } from "./environment.js";
import { io as socketIo } from "./socket.js";

export { Denied, NotFound, RealtimeError, TaskCancelled, TaskFailed, TaskRemoved } from "./errors.js";

/** @typedef {import("./realtime.js").ConnectOptions} ConnectOptions */

/** @type {Map<string, {rt: Client, options: ConnectOptions}>} Those that are open, by name. */
const clients = new Map();

/** @type {Map<string, ((rt: Client) => void)[]>} Those who wait for a client of that name. */
const waiting = new Map();

/**
 * @param {ConnectOptions} [options]
 * @returns {Client}
 */
export function connect(options = {}) {
  const { url, ticket, name = "default", io = socketIo } = options;
  const open = clients.get(name);
  if (open) {
    const isSame = open.options.url === url && open.options.ticket === ticket && open.options.io === options.io;
    if (isSame) return open.rt;
    throw new Error(`A client named "${name}" is open already, with other options: close() it or name this one.`);
  }
  const address = resolve(url, pageOrigin(), pageFacts() ?? {});
  const rt = new Client({ name, address, ticket, io, env: browserEnvironment() });
  clients.set(name, { rt, options });
  rt.onState(({ state }) => {
    if (state === "closed" && clients.get(name)?.rt === rt) clients.delete(name);
  });
  for (const hand of waiting.get(name) ?? []) hand(rt);
  waiting.delete(name);
  return rt;
}

/**
 * @param {string} [name]
 * @returns {Client | Promise<Client>}
 */
export function client(name = "default") {
  const open = clients.get(name);
  if (open) return open.rt;
  if (name === "default" && pageFacts()) whenModulesHaveRun(() => connectDefault());
  return new Promise((hand) => {
    waiting.set(name, [...(waiting.get(name) ?? []), hand]);
  });
}

/** Somebody waits for the page's client, and the page has not made one of its own. */
function connectDefault() {
  if (waiting.has("default")) connect();
}

/**
 * Call when the modules that came with the document have had their turn: a page's own `connect({ticket})` goes first.
 *
 * @param {() => void} fn
 */
function whenModulesHaveRun(fn) {
  if (document.readyState === "complete") return queueMicrotask(fn);
  // "interactive" is both before and after DOMContentLoaded; whichever event is still to come will do.
  document.addEventListener("DOMContentLoaded", fn, { once: true });
  window.addEventListener("load", fn, { once: true });
}
