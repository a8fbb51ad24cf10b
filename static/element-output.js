// <realtime-output task-id="…">: what a task writes, as it writes it, at the end of it or where the reader has scrolled to.
import { documentAnnouncer } from "./announcer.js";
import { ChapterText } from "./chapter-text.js";
import { Chapters } from "./chapters.js";
import { ClientElement, make, setAttribute, setText } from "./element-base.js";
import { span } from "./format.js";
import { outputSheets } from "./sheets.js";
import { Speech } from "./speech.js";
import { isFinished } from "./task-store.js";
import { taskName } from "./task-view.js";
import { everySecond } from "./ticker.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./elements.js").RealtimeOutput} OutputShape */
/** @typedef {import("./realtime.js").OutputPiece} OutputPiece */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./chapters.js").Chapter} Chapter */

/** Who is so near to the end, in pixels, reads at the end. */
const NEAR = 8;

/** @implements {OutputShape} */
export class RealtimeOutput extends ClientElement {
  static observedAttributes = ["client", "task-id", "attempt", "stream", "announce"];

  #label = make("span", { id: "label" });
  #age = make("span", { class: "age" });
  #announce = make("button", { class: "on-focus", part: "announce", type: "button" });
  #new = make("button", { class: "new", part: "new", type: "button" });
  #head = make("div", { class: "head", part: "head" }, make("p", {}, this.#label, " ", this.#age), this.#announce, this.#new);
  /** Why nothing stands there, or nothing yet. */
  #note = make("em");
  // Not live by itself: a screen reader would read a whole block anew at each line. What is announced is said elsewhere.
  #log = make("div", { class: "log", part: "log", role: "log", "aria-live": "off", "aria-labelledby": "label", tabindex: "0" }, this.#note);
  #card = make("div", { class: "card", part: "card" }, this.#head, this.#log);
  /** Attempt after attempt. */
  #chapters = new Chapters();
  /** @type {Map<Chapter, ChapterText>} */
  #shown = new Map();
  /** Those that are listened to, each with the way to stop. @type {Map<Chapter, () => void>} */
  #heard = new Map();
  /** Whose tasks they are. @type {Client | null} */
  #from = null;
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
    this.#forget();
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
    if (this.#from !== client) this.#forget();
    this.#from = client;
    this.hold(client.onState(() => this.repaint()));
    if (!this.taskId) return;
    this.hold(() => this.#listenTo([]));
    this.#listenTo(this.#chapters.open); // what is shown already goes on where the element has only been moved
    const follow = this.getAttribute("attempt") !== "this";
    this.hold(client.task(this.taskId).subscribe((task) => this.#know(task), { follow }));
  }

  #forget() {
    this.#task = null;
    this.#answered = false;
    this.#chapters.clear();
    this.#beginAnew();
  }

  #beginAnew() {
    this.#speech.forget();
    this.#following = true;
  }

  /** @param {Task | null} task The newest attempt. */
  #know(task) {
    this.#task = task;
    this.#answered = true;
    if (task) {
      const turn = this.#chapters.turnTo(task);
      if (turn === "anew") this.#beginAnew();
      if (turn === "next") this.#speech.hear(`\n${this.words.say("meta.attempt", { n: task.attempt })}\n`);
      if (turn !== "same") this.#listenTo(this.#chapters.open);
      if (turn === "next" || isFinished(task)) this.#say();
    }
    this.repaint();
  }

  /** @param {readonly Chapter[]} chapters These, and no others. */
  #listenTo(chapters) {
    for (const [chapter, stop] of this.#heard) {
      if (chapters.includes(chapter)) continue;
      stop();
      this.#heard.delete(chapter);
    }
    for (const chapter of chapters) {
      if (this.#heard.has(chapter) || !this.client) continue;
      const task = this.client.task(chapter.id);
      this.#heard.set(chapter, task.output((piece) => this.#receive(chapter, piece), { stream: this.stream }));
    }
  }

  /** @param {Chapter} chapter @param {OutputPiece} piece */
  #receive(chapter, { text, lost, first }) {
    const isNews = !first || chapter.isNews;
    chapter.isNews = false;
    if (first) this.#chapters.rewrite(chapter);
    if (!isNews && chapter === this.#chapters.last) this.#beginAnew();
    this.#chapters.append(chapter, text, lost);
    if (isNews) {
      this.#speech.hear(text);
      this.#say();
    }
    this.repaint();
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
    this.#painted = { lines: this.#chapters.lines, written: this.#chapters.written };
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

  /** The newest of what is shown, if it stays. @returns {HTMLElement | undefined} */
  #newest() {
    for (const chapter of [...this.#chapters.list].reverse()) {
      const node = this.#shown.get(chapter)?.newest;
      if (node) return node;
    }
    return undefined;
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
    const isWritten = Boolean(this.#chapters.last && this.#chapters.last.text.written > 0);
    let text = "";
    if (isWritten || !this.#answered) text = "";
    else if (!this.#task) text = this.#chapters.written > 0 ? "" : words.say("words.unknown");
    else if (!isFinished(this.#task)) text = words.say("output.none.yet");
    else if (this.#task.output_size === 0) text = words.say("output.none");
    setText(this.#note, text);
    this.#note.hidden = text === "";
  }

  #paintText() {
    const { list } = this.#chapters;
    for (const [chapter, shown] of this.#shown) {
      if (list.includes(chapter)) continue;
      shown.node.remove();
      this.#shown.delete(chapter);
    }
    for (const chapter of list) {
      const shown = this.#shown.get(chapter) ?? new ChapterText(chapter);
      if (!this.#shown.has(chapter)) this.#note.before(shown.node);
      this.#shown.set(chapter, shown);
      shown.paint(this.words);
    }
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
