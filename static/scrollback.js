/**
 * The text that a log shows: it grows at its end and is let go of at its beginning, so that it stays bounded however
 * much is written. Kept in blocks that end with a line, so that the browser lays out only the last one anew.
 *
 * @module
 */

/** Bytes of UTF-8 that are shown; a block more or less, since only whole ones are let go of. */
export const KEPT = 256 * 1024;
/** From this length on a block ends with its line. */
const BLOCK = 4096;
/**
 * A block ends here even within a line, which then breaks: to lay out a line of a hundred thousand characters anew at
 * each word takes a browser longer than a frame.
 */
const LONGEST = 16 * 1024;

/**
 * @typedef {object} Block once closed it never changes
 * @property {string} text
 * @property {number} bytes of UTF-8
 * @property {number} missing bytes that were written before it and never came
 */

const encoder = new TextEncoder();

export class Scrollback {
  /** @type {Block[]} */
  #blocks = [];
  #closed = true;
  #newlines = 0;
  #open = false;
  /** Bytes that are here. */
  bytes = 0;
  /** Bytes that were ever here. */
  written = 0;
  /** Whether what the stream begins with is not here. */
  gone = false;
  /** Whether that is so because there was more than is shown. */
  full = false;

  /** Oldest first. @returns {readonly Block[]} */
  get blocks() {
    return this.#blocks;
  }

  /** Lines that have begun since the beginning, those that were let go of among them. */
  get lines() {
    return this.#newlines + (this.#open ? 1 : 0);
  }

  /**
   * @param {string} text
   * @param {number} [missing] bytes before it that never came
   */
  append(text, missing = 0) {
    if (missing > 0 && this.#blocks.length === 0) this.gone = true;
    else if (missing > 0) this.#begin(missing);
    for (let at = 0; at < text.length; ) {
      if (this.#closed) this.#begin(0);
      const block = this.#blocks[this.#blocks.length - 1];
      const newline = text.indexOf("\n", at + Math.max(0, BLOCK - block.text.length));
      const longest = at + LONGEST - block.text.length;
      this.#closed = newline >= 0 || text.length >= longest;
      let end = Math.min(longest, newline < 0 ? text.length : newline + 1);
      if (isLowSurrogate(text.charCodeAt(end))) end += 1; // it belongs to the character before it
      const part = text.slice(at, end);
      const bytes = encoder.encode(part).length;
      block.text += part;
      block.bytes += bytes;
      this.bytes += bytes;
      this.written += bytes;
      at = end;
    }
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) this.#newlines += 1;
    if (text) this.#open = !text.endsWith("\n");
    while (this.bytes - this.#blocks[0]?.bytes >= KEPT) this.letGo();
  }

  /** @param {number} missing */
  #begin(missing) {
    this.#blocks.push({ text: "", bytes: 0, missing });
    this.#closed = false;
  }

  /** Without the oldest block. */
  letGo() {
    this.bytes -= this.#blocks.shift()?.bytes ?? 0;
    this.gone = this.full = true;
  }
}

/** @param {number} code NaN behind the end */
function isLowSurrogate(code) {
  return code >= 0xdc00 && code <= 0xdfff;
}
