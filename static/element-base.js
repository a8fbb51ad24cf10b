// What the elements share: which client they show, in which language, and that both may come late.
import { pageClient } from "./page-client.js";
import { onStrings, words } from "./strings.js";

/** @typedef {import("./realtime.js").Client} Client */

/** An element that shows a client: the one given to its `client` property, else the one that its `client` attribute names. */
export class ClientElement extends HTMLElement {
  /** @type {Client | null} */
  #client = null;
  /** @type {Client | null} */
  #given = null;
  /** @type {Array<() => void>} */
  #stops = [];
  /** Counts the attachments, so that a client that was awaited too long ago is let go. */
  #turn = 0;
  /** Attributes of the markup are told before this; attaching for each of them would be for nothing. */
  #placed = false;

  /** @returns {Client | null} The client in use, once there is one. */
  get client() {
    return this.#client;
  }

  /** A client, or the name of one. @param {Client | string | null} value */
  set client(value) {
    if (typeof value === "string") {
      this.setAttribute("client", value);
      return;
    }
    this.#given = value;
    this.refind();
  }

  connectedCallback() {
    // Properties that were set before the element's class was there hide its setters.
    for (const name of ["client", "taskId", "label", "stream"]) {
      if (!Object.hasOwn(this, name)) continue;
      const early = Reflect.get(this, name);
      Reflect.deleteProperty(this, name);
      Reflect.set(this, name, early);
    }
    this.#placed = true;
    this.refind();
  }

  disconnectedCallback() {
    this.#placed = false;
    this.#let();
  }

  /** `moveBefore()` keeps the element's state: without this the move would be a leaving and a coming. */
  connectedMoveCallback() {}

  /** Find the client anew and attach to it. @protected */
  refind() {
    this.#let();
    if (!this.#placed) return;
    const turn = this.#turn;
    this.hold(onStrings(() => this.repaint()));
    this.repaint();
    if (this.#given) this.#attach(this.#given);
    else {
      void pageClient(this.clientName).then((found) => {
        if (turn === this.#turn) this.#attach(found);
      });
    }
  }

  /** @protected */
  get clientName() {
    return this.getAttribute("client") || "default";
  }

  /** Whether the element stands in the document and listens. @protected */
  get placed() {
    return this.#placed;
  }

  /** @param {Client} found */
  #attach(found) {
    this.#client = found;
    this.attached(found);
  }

  #let() {
    this.#turn += 1;
    for (const stop of this.#stops.splice(0)) stop();
    this.#client = null;
  }

  /** Keep the way to stop something until the element leaves or takes another client. @protected @param {() => void} stop */
  hold(stop) {
    this.#stops.push(stop);
  }

  /** There is a client: listen to it. @protected @param {Client} _client */
  attached(_client) {}

  /** Show what is known now. @protected */
  repaint() {}

  /** The words in the language of the place where the element stands. @protected */
  get words() {
    return words(this.language);
  }

  /** @protected @returns {string} The nearest `lang`, through shadow roots too. */
  get language() {
    /** @type {Node | null} */
    let node = this;
    while (node) {
      const marked = node instanceof Element ? node.closest("[lang]") : null;
      if (marked) return marked.getAttribute("lang") || "en";
      const root = node.getRootNode();
      node = root instanceof ShadowRoot ? root.host : null;
    }
    return "en";
  }

  /**
   * @protected @param {string} type @param {object} detail @param {{cancelable?: boolean}} [options]
   * @returns {boolean} Whether nobody prevented it.
   */
  emit(type, detail, { cancelable = false } = {}) {
    return this.dispatchEvent(new CustomEvent(type, { bubbles: true, composed: true, cancelable, detail }));
  }
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Record<string, string>} [attributes] @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Set a text only where it differs: an untouched node costs nothing and says nothing. @param {Element} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {Element} node @param {string} name @param {string | null} value null takes it away. */
export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
