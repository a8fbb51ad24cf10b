/**
 * What a server says that will have none of a try, and what follows from it.
 *
 * @module
 */

/** @typedef {import("./realtime.js").Reason} Reason */

/** What the client says by itself. All other codes are the server's. */
const OWN_CODES = new Set(["network", "timeout", "ticket", "cut", "reconnect", "resync"]);
const TICKET_CODES = new Set(["ticket_invalid", "ticket_expired"]);
const DENYING_CODES = new Set([...TICKET_CODES, "unauthenticated", "origin_not_allowed", "not_served"]);

/**
 * @param {Error & {data?: Partial<Reason>, context?: {responseText?: unknown}}} error socket.io-client's `connect_error`
 * @returns {Reason}
 */
export function reasonOf(error) {
  const said = error.data ?? answerOf(error.context?.responseText);
  const notServed = error.message === "Invalid namespace" && !said.code;
  return { code: notServed ? "not_served" : (said.code ?? "network"), message: said.message ?? error.message };
}

/** Whether a new ticket may help. @param {string} code */
export function isOfTicket(code) {
  return TICKET_CODES.has(code);
}

/** Whether it is no use to try again. @param {string} code */
export function isFinal(code) {
  return DENYING_CODES.has(code);
}

/** Whether the server has said it, to whoever can do something about it. @param {Reason | null} reason */
export function isOfServer(reason) {
  return reason !== null && !OWN_CODES.has(reason.code);
}

/**
 * A long poll is refused by an answer to a request.
 *
 * @param {unknown} text
 * @returns {Partial<Reason>}
 */
function answerOf(text) {
  try {
    const { code, message } = JSON.parse(String(text)).error;
    return typeof code === "string" && typeof message === "string" ? { code, message } : {};
  } catch {
    return {}; // what others answer, such as a proxy
  }
}
