// One voice for the document, whatever the number of elements: a polite live region, or ariaNotify where it exists.
import { words } from "./strings.js";

const REGION = "realtime-announcer";
const GATHER_MS = 1000;
const MERGE_ABOVE = 2;
const MAX_TEXT = 300;

/** @typedef {string | {text: string, meanwhile: number}} Said "" = nothing; `meanwhile`: jobs that ended in a silence. */
/** @typedef {{kind: "completed" | "failed" | "cancelled" | "attempt", text: string}} End `attempt`: it goes on as another. */

/** Gathers sentences for a second and hands them over as one text. */
export class Announcer {
  /** @type {Array<string | (() => Said)>} */
  #texts = [];
  /** @type {Map<string, End>} */
  #ends = new Map();
  /** The ends that were none: there is another attempt already. @type {Set<string>} */
  #overtaken = new Set();
  #lang = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #speak;

  /** @param {(text: string, lang: string) => void} speak */
  constructor(speak) {
    this.#speak = speak;
  }

  /**
   * Say a sentence, or what a function makes of it once the second is over ("" = nothing after all).
   * The same sentence twice within the second is heard once, and what ended in several silences is counted together.
   * @param {string | (() => Said)} text @param {string} lang
   */
  say(text, lang) {
    this.#texts.push(text);
    this.#gather(lang);
  }

  /**
   * Say that a job ended; once, however many elements show it. More than two within the second are counted instead.
   * @param {string} key Which end of which job. @param {End} end @param {string} lang
   * @param {string} [instead] The end of the attempt before; it is not told as an end if its second is not over.
   */
  end(key, end, lang, instead) {
    this.#ends.set(key, end);
    if (instead !== undefined) this.#overtaken.add(instead);
    this.#gather(lang);
  }

  /** Whether that is about to be told. @param {string} key */
  tells(key) {
    return this.#ends.has(key);
  }

  /** @param {string} lang */
  #gather(lang) {
    this.#lang = lang;
    this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  #flush() {
    let meanwhile = 0;
    const said = this.#texts.map((text) => {
      const what = typeof text === "string" ? text : text();
      if (typeof what === "string") return what;
      meanwhile += what.meanwhile;
      return what.text;
    });
    if (meanwhile) said.push(words(this.#lang).say("say.meanwhile", { count: meanwhile }));
    for (const key of this.#overtaken) this.#ends.delete(key);
    const sentences = new Set([...said, ...merge([...this.#ends.values()], this.#lang)].filter(Boolean).map(clip));
    this.#texts = [];
    this.#ends.clear();
    this.#overtaken.clear();
    this.#timer = undefined;
    if (sentences.size) this.#speak([...sentences].join(" "), this.#lang);
  }
}

/** @param {readonly End[]} ends @param {string} lang @returns {string[]} */
function merge(ends, lang) {
  if (ends.length <= MERGE_ABOVE) return ends.map((end) => end.text);
  const say = words(lang);
  const counts = /** @type {const} */ (["completed", "failed", "cancelled", "attempt"]).map((kind) => {
    const count = ends.filter((end) => end.kind === kind).length;
    return count ? say.say(`say.many.${kind}`, { count }) : "";
  });
  return [`${counts.filter(Boolean).join(", ")}.`];
}

/** A long message is read on the card, not listened to. @param {string} text */
function clip(text) {
  const characters = [...text];
  return characters.length > MAX_TEXT ? `${characters.slice(0, MAX_TEXT).join("")}…` : text;
}

/** @type {Announcer | undefined} */
let announcer;

/** The document's announcer. Each call makes sure that its live region stands in the page before anything is said in it. */
export function documentAnnouncer() {
  liveRegion();
  announcer ??= new Announcer(speak);
  return announcer;
}

/** @param {string} text @param {string} lang */
function speak(text, lang) {
  const page = /** @type {Document & {ariaNotify?: (text: string, options?: {priority: string}) => void}} */ (document);
  if (typeof page.ariaNotify === "function") {
    page.ariaNotify(text, { priority: "normal" });
    return;
  }
  const region = liveRegion();
  region.lang = words(lang).locale;
  region.textContent = text;
}

/** @returns {HTMLElement} */
function liveRegion() {
  const found = document.getElementById(REGION);
  if (found) return found;
  const region = document.createElement("div");
  region.id = REGION;
  region.setAttribute("role", "status");
  // Through the CSSOM: a style attribute would be refused by the page's policy.
  Object.assign(region.style, { position: "absolute", inlineSize: "1px", blockSize: "1px", overflow: "hidden", clipPath: "inset(50%)", whiteSpace: "nowrap" });
  (document.body ?? document.documentElement).append(region);
  return region;
}
