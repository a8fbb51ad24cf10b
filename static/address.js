/** Where the server is: from the page it wrote, or from a given address. @module */

import { NAMESPACE } from "./protocol.js";

/**
 * @typedef {object} Address
 * @property {string} socket origin and namespace, for Socket.IO
 * @property {string} path of the Socket.IO endpoint
 * @property {string} api the URL under which `tasks/<id>` is
 * @property {boolean} sameOrigin whether the page's cookies go along
 */

/** @typedef {{path?: string, namespace?: string, api?: string}} PageFacts */

/**
 * @param {string | undefined} url an origin, or one with the prefix of an app that is mounted under one; default: the
 *     page's origin
 * @param {string | undefined} pageOrigin
 * @param {PageFacts} facts what the page's `<meta name="realtime">` says; holds for the page's own app only
 * @returns {Address}
 */
export function resolve(url, pageOrigin, facts) {
  if (url === undefined && pageOrigin === undefined) {
    throw new TypeError("connect() needs a url where there is no page to take it from");
  }
  const { origin, pathname, protocol } = new URL(url ?? "/", pageOrigin);
  if (protocol !== "http:" && protocol !== "https:") {
    throw new TypeError(`connect(): url: an http or https address is needed, not ${url}`);
  }
  const prefix = pathname.replace(/\/+$/, "");
  const known = origin === pageOrigin && prefix === "" ? facts : {};
  return {
    socket: origin + (known.namespace ?? NAMESPACE),
    path: known.path ?? `${prefix}/socket.io`,
    api: origin + (known.api ?? `${prefix}/realtime/v1`),
    sameOrigin: origin === pageOrigin,
  };
}

/** @returns {string | undefined} the origin of the page; none in Node and in a `file:` page */
export function pageOrigin() {
  return typeof location === "undefined" || location.origin === "null" ? undefined : location.origin;
}

/** @returns {PageFacts | null} what `{{ realtime_head() }}` wrote */
export function pageFacts() {
  if (typeof document === "undefined") return null;
  const meta = document.querySelector('meta[name="realtime"]');
  const content = meta?.getAttribute("content");
  return content ? JSON.parse(content) : null;
}
