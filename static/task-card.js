// The card: a shadow tree that is built once, and painted from a view. It knows nothing of clients or events.
import { make, setAttribute, setText } from "./element-base.js";
import { drawIcon, makeIcon } from "./icons.js";
import { taskSheets } from "./sheets.js";

/** @typedef {import("./task-view.js").TaskView} TaskView */
/** @typedef {import("./strings.js").Words} Words */

export class TaskCard {
  #icon = makeIcon();
  #bdi = make("bdi");
  #heading = make("h3", { class: "name", part: "name", id: "name", tabindex: "-1" }, this.#bdi);
  #figure = make("span", { class: "figure", part: "figure" });
  #busy = make("span", { class: "sr" });
  #strong = make("strong");
  #text = make("span", { class: "message" });
  #words = make("p", { id: "words", dir: "auto" }, this.#strong, " ", this.#text);
  #resultText = make("span", { class: "result-text" });
  #label = make("bdi");
  #link = make("a", {}, this.#label);
  #resultLine = make("p", { dir: "auto" }, this.#resultText, " ", this.#link);
  #resultSlot = make("slot", { name: "result" }, this.#resultLine);
  #result = make("div", { class: "result", part: "result" }, this.#resultSlot);
  #errorText = make("p", { class: "error-text", dir: "auto" });
  #summary = make("summary");
  #list = make("dl");
  #details = make("details", {}, this.#summary, this.#list);
  #errorSlot = make("slot", { name: "error" }, this.#errorText);
  #error = make("div", { class: "error", part: "error" }, this.#errorSlot, this.#details);
  #bar = make("progress", { part: "bar", max: "100" });
  #meta = make("p");
  #time = make("time");
  #foot = make("div", { class: "meta", part: "meta" }, this.#meta, this.#time);
  #actions = make("slot", { name: "actions" });
  #action = make("span", { class: "action" }, this.#actions);
  #cancelName = make("span", { class: "sr" });
  #cancelText = make("span");
  #cancel = make("button", { part: "cancel", type: "button" }, this.#cancelText, this.#cancelName);
  #dismiss = make("button", { class: "quiet", part: "dismiss", type: "button" });
  #card = make("div", { class: "card", part: "card" });
  #root;
  #shownDetails = "";
  /** When Dismiss took the place of Cancel; by performance.now(). */
  swappedAt = -Infinity;

  /**
   * @param {ShadowRoot} root
   * @param {{cancel: (event: MouseEvent) => void, dismiss: (event: MouseEvent) => void, change: () => void}} on
   *   `change`: something that the view does not tell changed how it is to be painted.
   */
  constructor(root, on) {
    this.#root = root;
    root.adoptedStyleSheets = taskSheets;
    this.#icon.setAttribute("class", "icon");
    this.#icon.setAttribute("part", "icon");
    const cross = makeIcon(18);
    drawIcon(cross, "dismiss");
    this.#dismiss.append(cross);
    const words = make("div", { class: "words", part: "message" }, this.#busy, this.#words, this.#result, this.#error);
    this.#card.append(this.#icon, this.#heading, this.#figure, words, this.#bar, this.#foot, this.#action);
    root.append(this.#card);
    this.#cancel.addEventListener("click", on.cancel);
    this.#dismiss.addEventListener("click", on.dismiss);
    // Later: while the event runs the button may still count as focused, and a window that is left keeps its focus.
    this.#cancel.addEventListener("blur", () => void setTimeout(on.change));
    for (const slot of [this.#resultSlot, this.#errorSlot, this.#actions]) slot.addEventListener("slotchange", on.change);
  }

  /** In a list the item is the group already. @param {boolean} inList @param {number} level The heading's, 1–6. */
  place(inList, level) {
    setAttribute(this.#card, "role", inList ? null : "group");
    setAttribute(this.#card, "aria-labelledby", inList ? null : "name");
    if (this.#heading.localName === `h${level}`) return;
    const focused = this.#root.activeElement === this.#heading;
    const heading = make(/** @type {"h3"} */ (`h${level}`), { class: "name", part: "name", id: "name", tabindex: "-1" }, this.#bdi);
    this.#heading.replaceWith(heading);
    this.#heading = heading;
    if (focused) heading.focus();
  }

  focusHeading() {
    this.#heading.focus();
  }

  /** @param {TaskView} view @param {Words} words */
  paint(view, words) {
    setAttribute(this.#card, "data-state", view.state);
    drawIcon(this.#icon, view.state);
    setText(this.#bdi, view.name);
    setText(this.#figure, view.figure.text);
    setAttribute(this.#figure, "data-word", view.figure.word ? "" : null);
    setAttribute(this.#figure, "aria-hidden", view.figure.word ? null : "true"); // the bar says it
    setText(this.#busy, view.busy ? `${words.say("words.processing")} ` : "");
    this.#paintWords(view);
    this.#paintResult(view);
    this.#paintError(view, words);
    this.#paintBar(view);
    this.#paintMeta(view);
    this.#paintAction(view, words);
  }

  /** @param {TaskView} view */
  #paintWords({ words }) {
    setText(this.#strong, words?.strong ?? "");
    setText(this.#text, words?.text ?? "");
    this.#strong.hidden = !words?.strong;
    this.#words.hidden = !words?.strong && !words?.text;
  }

  /** @param {TaskView} view */
  #paintResult({ result }) {
    const slotted = this.#resultSlot.assignedNodes().length > 0;
    this.#result.hidden = !result || !(slotted || result.text || result.url);
    setText(this.#resultText, result?.text ?? "");
    this.#link.hidden = !result?.url;
    setAttribute(this.#link, "href", result?.url || null);
    setText(this.#label, result?.url ? result.label : "");
  }

  /** @param {TaskView} view @param {Words} words */
  #paintError({ error }, words) {
    this.#error.hidden = !error;
    setText(this.#errorText, error?.text ?? "");
    setText(this.#summary, words.say("details"));
    const rows = error?.details ?? [];
    this.#details.hidden = rows.length === 0;
    const shown = JSON.stringify(rows);
    if (shown === this.#shownDetails) return; // the reader may have opened it, or selected some of it
    this.#shownDetails = shown;
    this.#list.replaceChildren(...rows.flatMap(([key, value]) => [make("dt", { dir: "auto" }, key), make("dd", { dir: "auto" }, value)]));
  }

  /** @param {TaskView} view */
  #paintBar({ bar }) {
    this.#bar.hidden = !bar;
    this.#foot.hidden = !bar;
    setAttribute(this.#bar, "aria-hidden", bar?.silent ? "true" : null);
    setAttribute(this.#bar, "aria-labelledby", bar?.silent ? null : "name");
    setAttribute(this.#bar, "value", bar && bar.value !== null ? String(bar.value) : null);
  }

  /** @param {TaskView} view */
  #paintMeta({ meta, time }) {
    while (this.#meta.children.length > meta.length) this.#meta.lastElementChild?.remove();
    while (this.#meta.children.length < meta.length) this.#meta.append(make("span", {}, make("bdi"), make("i", {}, ", ")));
    meta.forEach((text, at) => setText(/** @type {Element} */ (this.#meta.children[at]?.firstElementChild), text));
    this.#time.hidden = !time;
    setText(this.#time, time?.text ?? "");
    setAttribute(this.#time, "datetime", time?.datetime ?? null);
    setAttribute(this.#time, "title", time?.title ?? null);
  }

  /** @param {TaskView} view @param {Words} words */
  #paintAction(view, words) {
    // Focus that falls to the page's start is lost for whoever cannot see: Cancel outlives its task while it has it.
    const kept = view.action !== "cancel" && this.#root.activeElement === this.#cancel;
    const action = kept ? "cancel" : view.action;
    const before = this.#action.dataset.button;
    if (action === "cancel") this.#swap(this.#cancel, this.#dismiss);
    else if (action === "dismiss") this.#swap(this.#dismiss, this.#cancel);
    else this.#swap(null, this.#cancel, this.#dismiss);
    if (before === "cancel" && action === "dismiss") this.swappedAt = performance.now();
    setAttribute(this.#action, "data-button", action);
    setAttribute(this.#action, "data-slotted", this.#actions.assignedNodes().length ? "" : null);
    setText(this.#cancelText, words.say("cancel"));
    setText(this.#cancelName, ` ${view.name}`);
    setAttribute(this.#cancel, "aria-disabled", kept || view.disabled ? "true" : null);
    setAttribute(this.#dismiss, "aria-label", words.say("dismiss", { name: view.name }));
  }

  /** @param {HTMLElement | null} shown @param {...HTMLElement} gone */
  #swap(shown, ...gone) {
    for (const node of gone) {
      if (this.#root.activeElement === node) this.#heading.focus();
      node.remove();
    }
    if (shown && shown.parentNode !== this.#action) this.#action.append(shown);
  }
}
