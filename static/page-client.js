// The client that an element's `client` attribute names. The unnamed one is made here when the page makes none.
import { client, connect } from "./realtime.js";

/** @typedef {import("./realtime.js").Client} Client */

/** Every script of the page has had its chance to connect() by itself. @type {Promise<void> | undefined} */
let scriptsRan;

/**
 * The client of that name, when there is one. For `default` on a page with `{{ realtime_head() }}` there always is:
 * a page that writes nothing but the tags has to work.
 * @param {string} name
 * @returns {Promise<Client>}
 */
export async function pageClient(name) {
  const found = client(name);
  if (name !== "default" || !(found instanceof Promise)) return found;
  await (scriptsRan ??= whenScriptsRan());
  if (!(client(name) instanceof Promise)) return found;
  if (document.querySelector('meta[name="realtime"]')) return connect();
  console.info('realtime: this page has no client yet. Write {{ realtime_head() }} in its head, or call connect().');
  return found;
}

/** @returns {Promise<void>} */
function whenScriptsRan() {
  if (document.readyState === "complete") return Promise.resolve();
  return new Promise((ran) => {
    document.addEventListener("DOMContentLoaded", () => ran(), { once: true });
    window.addEventListener("load", () => ran(), { once: true }); // this module itself may have come after that
  });
}
