// <realtime-output task-id="…">: what a task writes, as it writes it, at the end of it or where the reader has scrolled to.
import { documentAnnouncer } from "./announcer.js";
import { ClientElement, make, setAttribute, setText } from "./element-base.js";
import { span } from "./format.js";
import { KEPT, Scrollback } from "./scrollback.js";
import { outputSheets } from "./sheets.js";
import { Speech } from "./speech.js";
import { isFinished } from "./task-store.js";
import { taskName } from "./task-view.js";
import { everySecond } from "./ticker.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./elements.js").RealtimeOutput} OutputShape */
/** @typedef {import("./realtime.js").OutputPiece} OutputPiece */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./scrollback.js").Block} Block */

/** Who is so near to the end, in pixels, reads at the end. */
const NEAR = 8;

/** @implements {OutputShape} */
export class RealtimeOutput extends ClientElement {
  static observedAttributes = ["client", "task-id", "stream", "announce"];

  #label = make("span", { id: "label" });
  #age = make("span", { class: "age" });
  #announce = make("button", { class: "on-focus", part: "announce", type: "button" });
  #new = make("button", { class: "new", part: "new", type: "button" });
  #head = make("div", { class: "head", part: "head" }, make("p", {}, this.#label, " ", this.#age), this.#announce, this.#new);
  /** What stands in the place of what is not there: before everything. */
  #note = make("em");
  // Not live by itself: a screen reader would read a whole block anew at each line. What is announced is said elsewhere.
  #log = make("div", { class: "log", part: "log", role: "log", "aria-live": "off", "aria-labelledby": "label", tabindex: "0" }, this.#note);
  #card = make("div", { class: "card", part: "card" }, this.#head, this.#log);
  #scrollback = new Scrollback();
  /** How each block is shown, and how much of its text. @type {Map<Block, {node: HTMLElement, gap: HTMLElement | null, text: Text, length: number}>} */
  #shown = new Map();
  /** @type {Task | null} */
  #task = null;
  #answered = false;
  /** @type {number | undefined} */
  #frame;
  /** The reader is at the end, and stays there. */
  #following = true;
  /** Where the log was scrolled to last. */
  #top = 0;
  /** The part of a pixel by which it could not be scrolled. */
  #rest = 0;
  /** What was painted when the reader left the end, and last. */
  #left = { lines: 0, written: 0 };
  #painted = { lines: 0, written: 0 };
  #speech = new Speech();
  /** @type {(() => void) | null} */
  #stopTicking = null;
  #resized = new ResizeObserver(() => this.#toEnd());

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = outputSheets;
    root.append(this.#card);
    this.#log.addEventListener("scroll", () => {
      this.#look();
      this.#paintButtons();
    });
    this.#new.addEventListener("click", () => {
      this.#following = true;
      this.#toEnd();
      this.#log.focus({ preventScroll: true }); // the button goes, and would take the keyboard's place with it
      this.#paintButtons();
    });
    this.#announce.addEventListener("click", () => {
      this.#speech.on = !this.#speech.on;
      this.#paintButtons();
    });
  }

  get taskId() {
    return this.getAttribute("task-id") ?? "";
  }

  set taskId(value) {
    this.setAttribute("task-id", value);
  }

  get stream() {
    return this.getAttribute("stream") || "output";
  }

  set stream(value) {
    this.setAttribute("stream", value);
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === "announce") {
      this.#speech.on = now === "lines";
      this.repaint();
      return;
    }
    this.#task = null;
    this.#answered = false;
    this.#restart();
    this.refind();
  }

  connectedCallback() {
    super.connectedCallback();
    this.#resized.observe(this.#log);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#resized.disconnect();
    this.#tick(false);
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#frame = undefined;
  }

  /** @protected @param {Client} client */
  attached(client) {
    this.hold(client.onState(() => this.repaint()));
    if (!this.taskId) return;
    const task = client.task(this.taskId);
    this.hold(task.subscribe((found) => this.#know(found)));
    this.hold(task.output((piece) => this.#receive(piece), { stream: this.stream }));
  }

  /** @param {Task | null} task */
  #know(task) {
    this.#task = task;
    this.#answered = true;
    if (task && isFinished(task)) this.#say();
    this.repaint();
  }

  /** @param {OutputPiece} piece */
  #receive({ text, lost, first }) {
    if (first) this.#restart();
    this.#scrollback.append(text, lost);
    if (!first) {
      this.#speech.hear(text);
      this.#say();
    }
    this.repaint();
  }

  #restart() {
    this.#scrollback = new Scrollback();
    this.#speech.forget();
    this.#following = true;
  }

  /** Say within a second what was written, where somebody wants to hear it. */
  #say() {
    this.#speech.say(documentAnnouncer(), this.words, this.language, () => this.#task !== null && isFinished(this.#task));
  }

  /** Paint in the next frame; a hidden page has none, and what it is told waits in the scrollback. @protected */
  repaint() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#paint();
    });
  }

  #paint() {
    if (this.#log.clientHeight > 0) this.#look(); // where it is not shown there is no place in it either
    const node = this.#following ? undefined : this.#newest();
    const place = node?.getBoundingClientRect().top ?? 0;
    this.#paintHead();
    this.#paintNote();
    this.#paintText();
    this.#painted = { lines: this.#scrollback.lines, written: this.#scrollback.written };
    if (node) {
      // What was let go of above the reader does not move the lines that are being read.
      const wanted = this.#log.scrollTop + node.getBoundingClientRect().top - place + this.#rest;
      this.#log.scrollTop = wanted;
      this.#top = this.#log.scrollTop;
      this.#rest = wanted - this.#top;
    }
    this.#toEnd();
    this.#paintButtons();
  }

  /** The newest of what is shown, if it stays. */
  #newest() {
    const [block, shown] = [...this.#shown].pop() ?? [];
    return block && this.#scrollback.blocks.includes(block) ? shown?.node : undefined;
  }

  #paintHead() {
    const { words } = this;
    const name = `\u2068${taskName(this.#task, { taskId: this.taskId, words })}\u2069`; // isolated, as by <bdi>
    const key = this.stream === "output" ? "output.of" : "output.of.stream";
    setText(this.#label, words.say(key, { name, stream: `\u2068${this.stream}\u2069` }));
    const { state = "connecting", since = 0 } = this.client?.state ?? {};
    const isLost = this.#task !== null && !isFinished(this.#task) && state !== "live";
    setAttribute(this.#card, "data-state", isLost ? "lost" : "live");
    setText(this.#age, isLost ? words.say("words.lost", { time: span(words, (Date.now() - since) / 1000) }) : "");
    this.#tick(isLost);
  }

  #paintNote() {
    const { words } = this;
    const { gone, full, bytes, blocks } = this.#scrollback;
    let text = "";
    if (gone) text = words.say("output.gone", { size: kibibytes(words, full ? KEPT : bytes) });
    else if (blocks.length > 0 || !this.#answered) text = "";
    else if (!this.#task) text = words.say("words.unknown");
    else if (!isFinished(this.#task)) text = words.say("output.none.yet");
    else if (this.#task.output_size === 0) text = words.say("output.none");
    setText(this.#note, text);
    this.#note.hidden = text === "";
  }

  #paintText() {
    const { words } = this;
    const { blocks } = this.#scrollback;
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

  #paintButtons() {
    const { words } = this;
    const count = this.#painted.lines - this.#left.lines;
    this.#new.hidden = this.#following || this.#painted.written === this.#left.written;
    if (!this.#new.hidden) setText(this.#new, count > 0 ? words.say("output.new", { count }) : words.say("output.new.text"));
    setText(this.#announce, words.say("output.announce"));
    setAttribute(this.#announce, "aria-pressed", String(this.#speech.on));
  }

  /** See whether the reader has gone from the end, or come back to it. */
  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    if (scrollHeight - scrollTop - clientHeight <= NEAR) this.#following = true;
    else if (this.#following && scrollTop < this.#top - 1) {
      // Only who goes up leaves: the end may also go from the reader, when lines wrap anew.
      this.#following = false;
      this.#left = this.#painted;
    }
    if (scrollTop !== this.#top) this.#rest = 0;
    this.#top = scrollTop;
  }

  #toEnd() {
    if (!this.#following) return;
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#top = this.#log.scrollTop;
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

/** `256 KiB`. @param {import("./strings.js").Words} words @param {number} bytes */
function kibibytes(words, bytes) {
  return words.say("unit.kib", { n: Math.ceil(bytes / 1024) });
}
