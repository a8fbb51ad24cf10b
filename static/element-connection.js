// <realtime-connection>: whether this page hears of anything, in a word; and when it does not, why and what to do.
import { span } from "./format.js";
import { ClientElement, make, setAttribute, setText } from "./element-base.js";
import { isOfServer } from "./refusal.js";
import { connectionSheets } from "./sheets.js";
import { safeUrl } from "./task-view.js";
import { everySecond } from "./ticker.js";
import { holdVoice } from "./voice.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./elements.js").RealtimeConnection} ConnectionShape */

/** Not a matter of signing in: the page itself is refused, and only its owner can change that. */
const REFUSALS = new Set(["origin_not_allowed", "not_served"]);

/** @type {Map<string, Set<RealtimeConnection>>} By the client's name. */
const shown = new Map();
/** @type {Set<() => void>} */
const watchers = new Set();

/** Whether the page has an element that shows the banner of this client. @param {string} name */
export function bannerIsShown(name) {
  return Boolean(shown.get(name)?.size);
}

/** Call `fn` when an answer of bannerIsShown() may have changed. @param {() => void} fn @returns {() => void} */
export function onBanners(fn) {
  watchers.add(fn);
  return () => void watchers.delete(fn);
}

/** @implements {ConnectionShape} */
export class RealtimeConnection extends ClientElement {
  static observedAttributes = ["client", "show", "sign-in-href", "announce"];

  #dot = make("span", { class: "dot", part: "dot", "aria-hidden": "true" });
  #word = make("span");
  #state = make("span", { class: "state", part: "state" }, this.#dot, this.#word);
  #strong = make("b");
  #text = make("span");
  #next = make("span", { class: "next" });
  #retry = make("button", { part: "retry", type: "button" });
  #signIn = make("a", { class: "button", part: "sign-in" });
  #slot = make("slot", { name: "sign-in" }, this.#signIn);
  #banner = make("div", { class: "banner", part: "banner" }, make("p", {}, this.#strong, " ", this.#text, " ", this.#next), this.#retry, this.#slot);
  /** @type {(() => void) | null} */
  #stopTicking = null;
  #told = "";

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = connectionSheets;
    root.append(this.#state, this.#banner);
    this.#retry.addEventListener("click", () => {
      if (this.#retry.getAttribute("aria-disabled") !== "true") this.client?.reconnect();
    });
    this.#retry.addEventListener("blur", () => void setTimeout(() => this.repaint()));
  }

  /** @param {string} _name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(_name, before, now) {
    if (before !== now) this.refind();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#tick(false);
  }

  /** @protected */
  refind() {
    super.refind();
    if (!this.placed || this.getAttribute("show") === "state" || this.hasAttribute("data-own")) return;
    const name = this.clientName;
    const here = shown.get(name) ?? new Set();
    shown.set(name, here.add(this));
    for (const watcher of [...watchers]) watcher();
    this.hold(() => {
      here.delete(this);
      for (const watcher of [...watchers]) watcher();
    });
  }

  /** @protected @param {Client} client */
  attached(client) {
    this.hold(client.onState(() => this.#heard()));
    if (this.getAttribute("announce") !== "off") {
      const voice = holdVoice(client, this.language);
      this.hold(() => voice.release());
    }
    this.repaint();
  }

  #heard() {
    const state = this.client?.state;
    this.repaint();
    if (!state || state.state === this.#told) return;
    this.#told = state.state;
    if (!this.hasAttribute("data-own")) this.emit("realtime-state", { state });
  }

  /** @protected */
  repaint() {
    const { words } = this;
    const { state, reason, retryAt } = this.client?.state ?? { state: "connecting", reason: null, retryAt: null };
    const shows = this.getAttribute("show");
    const refused = state === "denied" && REFUSALS.has(reason?.code ?? "");
    const face = refused ? "refused" : state;
    // In the server's own words, for whoever runs the page.
    const told = refused || (state === "offline" && isOfServer(reason)) ? (reason?.message ?? "") : null;

    this.#state.hidden = shows === "banner";
    setAttribute(this.#state, "data-state", state);
    setText(this.#word, words.say(`connection.${face}`));

    const away = state !== "live" && state !== "connecting";
    // The button outlives the outage while it has the focus, as Cancel does its task.
    const focused = this.shadowRoot?.activeElement === this.#retry;
    this.#banner.hidden = shows === "state" || !(away || focused);
    setAttribute(this.#banner, "data-state", state);
    setText(this.#strong, away ? words.say(`banner.${face}`) : state === "live" ? words.say("banner.back") : words.say("connection.connecting"));
    setText(this.#text, !away ? "" : (told ?? words.say(`banner.${face}.more`)));
    setText(this.#next, state === "offline" ? this.#nextTry(retryAt) : "");
    this.#retry.hidden = !(state === "offline" || focused);
    setText(this.#retry, words.say("banner.retry"));
    setAttribute(this.#retry, "aria-disabled", state === "offline" && retryAt !== null ? null : "true");
    const href = safeUrl(this.getAttribute("sign-in-href"), document.baseURI);
    this.#slot.hidden = state !== "denied" || refused;
    this.#signIn.hidden = !href;
    setAttribute(this.#signIn, "href", href || null);
    setText(this.#signIn, words.say("banner.sign_in"));
    this.#tick(state === "offline" && retryAt !== null);
  }

  /** @param {number | null} retryAt */
  #nextTry(retryAt) {
    if (retryAt === null) return this.words.say("banner.trying");
    return this.words.say("banner.next", { time: span(this.words, Math.ceil((retryAt - Date.now()) / 1000)) });
  }

  /** @param {boolean} on */
  #tick(on) {
    if (on) this.#stopTicking ??= everySecond(() => this.repaint());
    else {
      this.#stopTicking?.();
      this.#stopTicking = null;
    }
  }
}
