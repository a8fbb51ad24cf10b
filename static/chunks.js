/** Packing many task ids into messages that the server takes. @module */

import { LIMITS } from "./protocol.js";

/** Bytes of a message left to everything but ids and cursors: names, the epoch, a ticket. */
const ENVELOPE = 2_048;

/** Ids as the server takes them; others are nobody's, and asking for one would have its whole message refused. */
const TASK_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/**
 * @param {string} id
 * @returns {boolean}
 */
export function isTaskId(id) {
  return TASK_ID.test(id);
}

/**
 * Groups of ids, in order, of at most a hundred and of such a length that a message which names each id once and each
 * cursor too stays below the server's bound: a hundred long ids do not fit, a hundred usual ones do.
 *
 * @param {readonly string[]} ids
 * @param {number} [reserved] bytes of the message that are taken already
 * @returns {string[][]}
 */
export function chunks(ids, reserved = 0) {
  const room = LIMITS.MESSAGE_BYTES - ENVELOPE - reserved;
  /** @type {string[][]} */
  const groups = [];
  /** @type {string[]} */
  let group = [];
  let bytes = 0;
  for (const id of ids) {
    const cost = 2 * (id.length + 3) + 18; // twice in quotes and with a comma, once with a version of 16 digits
    if (group.length === LIMITS.IDS || (group.length > 0 && bytes + cost > room)) {
      groups.push(group);
      group = [];
      bytes = 0;
    }
    group.push(id);
    bytes += cost;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
