// One attempt's part of a log: which attempt it is, what of it is not there, and its text, block by block.
import { make, setText } from "./element-base.js";
import { KEPT } from "./scrollback.js";

/** @typedef {import("./chapters.js").Chapter} Chapter */
/** @typedef {import("./scrollback.js").Block} Block */
/** @typedef {import("./strings.js").Words} Words */

export class ChapterText {
  #chapter;
  #title = make("p", { class: "attempt", part: "attempt" });
  /** What stands in the place of what is not there: before everything. */
  #note = make("em");
  node = make("section", {}, this.#title, this.#note);
  /** How each block is shown, and how much of its text. @type {Map<Block, {node: HTMLElement, gap: HTMLElement | null, text: Text, length: number}>} */
  #shown = new Map();

  /** @param {Chapter} chapter */
  constructor(chapter) {
    this.#chapter = chapter;
  }

  /** The newest of what is shown, if it stays. @returns {HTMLElement | undefined} */
  get newest() {
    const [block, shown] = [...this.#shown].pop() ?? [];
    return block && this.#chapter.text.blocks.includes(block) ? shown?.node : undefined;
  }

  /** @param {Words} words */
  paint(words) {
    const { attempt, text } = this.#chapter;
    setText(this.#title, attempt > 1 ? words.say("meta.attempt", { n: attempt }) : "");
    this.#title.hidden = attempt < 2;
    setText(this.#note, text.gone ? words.say("output.gone", { size: kibibytes(words, text.full ? KEPT : text.bytes) }) : "");
    this.#note.hidden = !text.gone;
    this.#paintBlocks(words);
  }

  /** @param {Words} words */
  #paintBlocks(words) {
    const { blocks } = this.#chapter.text;
    const kept = new Set(blocks);
    for (const [block, { node }] of this.#shown) {
      if (kept.has(block)) continue;
      node.remove();
      this.#shown.delete(block);
    }
    let before = /** @type {HTMLElement} */ (this.#note);
    for (const block of blocks) {
      const shown = this.#shown.get(block) ?? this.#show(block, before);
      if (shown.gap) setText(shown.gap, words.say("output.missing", { size: kibibytes(words, block.missing) }));
      if (shown.length < block.text.length) shown.text.appendData(block.text.slice(shown.length));
      shown.length = block.text.length;
      before = shown.node;
    }
  }

  /** @param {Block} block @param {Element} before */
  #show(block, before) {
    const gap = block.missing > 0 ? make("em") : null;
    const text = document.createTextNode("");
    const node = make("div", {}, ...(gap ? [gap, text] : [text]));
    before.after(node);
    const shown = { node, gap, text, length: 0 };
    this.#shown.set(block, shown);
    return shown;
  }
}

/** `256 KiB`. @param {Words} words @param {number} bytes */
function kibibytes(words, bytes) {
  return words.say("unit.kib", { n: Math.ceil(bytes / 1024) });
}
