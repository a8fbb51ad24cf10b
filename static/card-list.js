// A list of cards, each in its place for as long as it is there; under a card, on demand, the list of its parts.
import { make, setAttribute, setText } from "./element-base.js";
import { RealtimeTask } from "./element-task.js";
import { isFinished } from "./task-store.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./realtime.js").Family} Family */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./milestones.js").Milestone} Milestone */

/**
 * @typedef {object} Host The element whose list it is.
 * @property {() => Client | null} client
 * @property {() => import("./strings.js").Words} words
 * @property {() => Element | null} active What has the focus in its shadow tree.
 * @property {(name: string) => string | null} attribute
 * @property {(task: Task) => boolean} isNews Whether that end came just now.
 * @property {(what: Milestone, task: Task) => void} tell Say it aloud.
 */

/** Cards that are shown at first, and with each "Show more". */
export const PAGE = 50;
const PARTS = "card, icon, name, figure, message, bar, meta, cancel, dismiss, result, error";

let made = 0;

export class CardList {
  node = make("ul", { class: "list", role: "list" });
  #host;
  #depth;
  /** The items by family. @type {Map<string, {item: HTMLLIElement, card: RealtimeTask, parts: Parts}>} */
  #items = new Map();

  /** @param {Host} host @param {number} [depth] How many lists it stands in. */
  constructor(host, depth = 0) {
    this.#host = host;
    this.#depth = depth;
  }

  get size() {
    return this.#items.size;
  }

  /** The attributes of the element have changed. */
  passOn() {
    for (const { card } of this.#items.values()) this.#passOn(card);
  }

  /**
   * @param {readonly Family[]} families
   * @param {{limit: number, settled: boolean}} how `settled`: what is new now comes in with a movement.
   * @returns {{all: boolean, lost: number | null}} Whether all are shown; the place of the item that was taken away with the focus in it.
   */
  paint(families, { limit, settled }) {
    // What runs is always shown, and what was shown stays: the limit holds back only the old.
    const wanted = families.filter(({ key, task }, at) => at < limit || !isFinished(task) || this.#items.has(key));
    const lost = this.#remove(new Set(wanted.map(({ key }) => key)));
    /** @type {Element | null} */
    let next = this.node.firstElementChild;
    for (const family of wanted) {
      const known = this.#items.get(family.key);
      if (known) {
        known.card.feed(family.task);
        known.parts.paint(family);
        next = known.item.nextElementSibling;
      } else this.#add(family, next, settled);
    }
    this.node.hidden = wanted.length === 0;
    return { all: wanted.length === families.length, lost };
  }

  /** Focus the card that stands at this place now, or the last one. @param {number} at @returns {boolean} Whether there is one. */
  focusAt(at) {
    const card = (this.node.children[at] ?? this.node.lastElementChild)?.firstElementChild;
    if (card instanceof RealtimeTask) card.focusHeading();
    return card instanceof RealtimeTask;
  }

  /** @param {Family} family @param {Element | null} next The item that it comes before. @param {boolean} settled */
  #add(family, next, settled) {
    const { task } = family;
    const card = new RealtimeTask();
    setAttribute(card, "announce", "off");
    setAttribute(card, "exportparts", PARTS);
    card.client = this.#host.client();
    card.beFed((what, its) => this.#host.tell(what, its));
    const parts = new Parts(this.#host, card, this.#depth + 1);
    const item = make("li", settled ? { class: "new" } : {}, card);
    // It comes in once: not again whenever a hidden list is shown.
    item.addEventListener("animationend", () => item.removeAttribute("class"));
    this.#items.set(family.key, { item, card, parts });
    this.#passOn(card);
    this.node.insertBefore(item, next);
    card.feed(task, this.#host.isNews(task)); // in its place, from where its events are heard
    parts.paint(family);
  }

  /** @param {RealtimeTask} card */
  #passOn(card) {
    setAttribute(card, "quiet-after", this.#host.attribute("quiet-after"));
    const level = this.#host.attribute("heading-level");
    // A part's heading is under that of what it is a part of.
    setAttribute(card, "heading-level", this.#depth ? String(Math.min(6, (Number(level) || 3) + this.#depth)) : level);
  }

  /**
   * Take away the items that are not wanted.
   * @param {ReadonlySet<string>} keys
   * @returns {number | null} The place of the one that had the focus.
   */
  #remove(keys) {
    let lost = null;
    for (const [key, { item }] of [...this.#items]) {
      if (keys.has(key)) continue;
      if (item.contains(this.#host.active())) lost = [...this.node.children].indexOf(item);
      this.#items.delete(key);
      item.remove();
    }
    return lost;
  }
}

/** The parts of one task, folded away until somebody wants to see them. */
class Parts {
  #host;
  #card;
  #depth;
  #id = `parts-${(made += 1)}`;
  #text = make("span");
  #name = make("span", { class: "sr" });
  #button = make("button", { class: "unfold", part: "parts", type: "button", "aria-expanded": "false" }, this.#text, this.#name);
  #more = make("button", { class: "more", part: "more", type: "button" });
  #node = make("div", { class: "parts" }, this.#button);
  /** Only while it is unfolded. @type {CardList | null} */
  #list = null;
  #settled = false;
  #limit = PAGE;
  /** They went while they were unfolded: another attempt begins without any. */
  #again = false;
  /** @type {Family | null} */
  #family = null;

  /** @param {Host} host @param {RealtimeTask} card What they are parts of. @param {number} depth */
  constructor(host, card, depth) {
    this.#host = host;
    this.#card = card;
    this.#depth = depth;
    this.#button.addEventListener("click", () => this.#toggle());
    this.#more.addEventListener("click", () => this.#showMore());
  }

  /** @param {Family} family */
  paint(family) {
    this.#family = family;
    if (family.parts.length === 0) this.#leave();
    else {
      if (!this.#node.isConnected) this.#card.after(this.#node);
      if (this.#again) this.#unfold();
      this.#paint(family);
    }
  }

  /** @param {Family} family */
  #paint({ task, parts }) {
    const words = this.#host.words();
    const name = task.name || words.say("job", { id: task.task_id });
    setText(this.#text, words.say(this.#list ? "parts.hide" : "parts.show"));
    setText(this.#name, ` ${name}`);
    setAttribute(this.#button, "aria-expanded", String(this.#list !== null));
    setAttribute(this.#button, "aria-controls", this.#list ? this.#id : null);
    if (!this.#list) return;
    setAttribute(this.#list.node, "aria-label", words.say("parts.of", { name }));
    const { all, lost } = this.#list.paint(parts, { limit: this.#limit, settled: this.#settled });
    this.#settled = true;
    setText(this.#more, words.say("list.more"));
    const [place, hasFocus] = [this.#list.size, this.#host.active() === this.#more];
    this.#more.hidden = all;
    if (hasFocus && all) this.#list.focusAt(place);
    else if (lost !== null && !this.#list.focusAt(lost)) this.#card.focusHeading();
  }

  #toggle() {
    if (this.#list) this.#fold();
    else this.#unfold();
    if (this.#family) this.#paint(this.#family);
  }

  #showMore() {
    const shown = this.#list?.size ?? 0;
    this.#limit += PAGE;
    if (this.#family) this.#paint(this.#family);
    if (this.#more.hidden) this.#list?.focusAt(shown);
  }

  #unfold() {
    this.#again = false;
    this.#list = new CardList(this.#host, this.#depth);
    this.#list.node.id = this.#id;
    this.#node.append(this.#list.node, this.#more);
  }

  #fold() {
    this.#list?.node.remove();
    this.#more.remove();
    this.#list = null;
    this.#settled = false;
    this.#limit = PAGE;
  }

  #leave() {
    if (this.#node.contains(this.#host.active())) this.#card.focusHeading();
    this.#node.remove();
    this.#again ||= this.#list !== null;
    this.#fold();
  }
}
