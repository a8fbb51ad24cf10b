// What is said aloud of lines that arrive: those that fit into a breath, the newest; of more, how many there were.

/** @typedef {import("./announcer.js").Announcer} Announcer */
/** @typedef {import("./strings.js").Words} Words */

/** Characters; the announcer says no more of one sentence. */
const BREATH = 280;
/** Characters that are kept of a line that does not end. */
const LONGEST = 2000;

export class Speech {
  /** Whether anybody wants to hear it. */
  #on = false;
  /** Lines that have ended and were not said. @type {string[]} */
  #lines = [];
  #count = 0;
  /** The line that has not ended. */
  #rest = "";
  #waiting = false;

  get on() {
    return this.#on;
  }

  set on(on) {
    this.#on = on;
    this.forget();
  }

  /** @param {string} text */
  hear(text) {
    if (!this.#on) return;
    const lines = (this.#rest + text).split("\n");
    this.#rest = (lines.pop() ?? "").slice(-LONGEST);
    const said = lines.map((line) => line.trim()).filter(Boolean);
    this.#count += said.length;
    this.#lines = [...this.#lines, ...said].slice(-BREATH);
  }

  forget() {
    this.#lines = [];
    this.#count = 0;
    this.#rest = "";
  }

  /**
   * Have it said with what else is said within the second.
   * @param {Announcer} announcer @param {Words} words @param {string} lang
   * @param {() => boolean} isOver Whether nothing follows: then a line need not end to be said.
   */
  say(announcer, words, lang, isOver) {
    if (!this.#on || this.#waiting) return;
    this.#waiting = true;
    announcer.say(() => {
      this.#waiting = false;
      return this.#take(words, isOver());
    }, lang);
  }

  /** @param {Words} words @param {boolean} isOver */
  #take(words, isOver) {
    if (isOver && this.#rest.trim()) this.hear("\n");
    const lines = [];
    let length = 0;
    for (const line of [...this.#lines].reverse()) {
      length += line.length + 1;
      if (lines.length > 0 && length > BREATH) break;
      lines.unshift(line);
    }
    const count = this.#count;
    this.#lines = [];
    this.#count = 0;
    return lines.length < count ? `${words.say("output.new", { count })}: ${lines.join("\n")}` : lines.join("\n");
  }
}
