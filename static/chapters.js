/**
 * What is shown of what a job writes: the text of one attempt after the other, together as bounded as that of one.
 *
 * @module
 */

import { KEPT, Scrollback } from "./scrollback.js";

/** @typedef {import("./realtime.js").Task} Task */

/** Attempts of which something may still come: what one of them wrote last may arrive when the next has begun. */
export const OPEN = 2;
/** Attempts that are shown. */
const MOST = 20;

/**
 * @typedef {object} Chapter
 * @property {string} id the attempt's task
 * @property {string} epoch
 * @property {number} attempt 1 is the first
 * @property {boolean} isNews the one before it was shown already, and nothing of this one has come yet
 * @property {Scrollback} text
 */

export class Chapters {
  /** @type {Chapter[]} */
  #list = [];
  /** What stood in those that are gone. */
  #gone = { lines: 0, written: 0 };

  /** Oldest first. @returns {readonly Chapter[]} */
  get list() {
    return this.#list;
  }

  /** The one that is written. @returns {Chapter | undefined} */
  get last() {
    return this.#list.at(-1);
  }

  /** Those that may still grow. */
  get open() {
    return this.#list.slice(-OPEN);
  }

  /** Lines that have begun since the beginning, those that were let go of among them. */
  get lines() {
    return this.#list.reduce((sum, { text }) => sum + text.lines, this.#gone.lines);
  }

  /** Bytes that were ever here. */
  get written() {
    return this.#list.reduce((sum, { text }) => sum + text.written, this.#gone.written);
  }

  /**
   * Go on with this attempt. Only a later one is a new chapter: anything else is another story.
   *
   * @param {Task} task
   * @returns {"same" | "next" | "anew"}
   */
  turnTo({ task_id: id, epoch, attempt }) {
    const { last } = this;
    const isSameStory = last?.epoch === epoch;
    if (last && isSameStory && last.id === id) return "same";
    const isNext = Boolean(last && isSameStory && attempt > last.attempt);
    if (!isNext) this.clear();
    this.#list.push({ id, epoch, attempt, isNews: isNext, text: new Scrollback() });
    this.#tidy();
    return isNext ? "next" : "anew";
  }

  /**
   * @param {Chapter} chapter one of the list
   * @param {string} text
   * @param {number} [missing] bytes before it that never came
   */
  append(chapter, text, missing = 0) {
    chapter.text.append(text, missing);
    let bytes = this.#list.reduce((sum, each) => sum + each.text.bytes, 0);
    for (const { text: oldest } of this.#list) {
      for (let [block] = oldest.blocks; block; [block] = oldest.blocks) {
        if (bytes - block.bytes < KEPT) return this.#tidy();
        bytes -= block.bytes;
        oldest.letGo();
      }
    }
  }

  /** What was written in it is written anew. @param {Chapter} chapter one of the list */
  rewrite(chapter) {
    this.#count(chapter);
    chapter.text = new Scrollback();
  }

  clear() {
    this.#list = [];
    this.#gone = { lines: 0, written: 0 };
  }

  /** Take away old chapters in which nothing stands, and too old ones. */
  #tidy() {
    const old = this.#list.slice(0, -OPEN);
    const away = old.filter(({ text }, at) => text.blocks.length === 0 || at < this.#list.length - MOST);
    if (away.length === 0) return;
    this.#list = this.#list.filter((chapter) => !away.includes(chapter));
    for (const chapter of away) this.#count(chapter);
    if (away.some(({ text }) => text.written > 0 || text.gone)) this.#list[0].text.gone = this.#list[0].text.full = true;
  }

  /** @param {Chapter} chapter that is not to be counted any more */
  #count({ text }) {
    this.#gone.lines += text.lines;
    this.#gone.written += text.written;
  }
}
