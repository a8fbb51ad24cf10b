// <realtime-task task-id="…">: one task as a card, live.
import { documentAnnouncer } from "./announcer.js";
import { ClientElement } from "./element-base.js";
import { milestone } from "./milestones.js";
import { TaskCard } from "./task-card.js";
import { isFinished } from "./task-store.js";
import { taskView } from "./task-view.js";
import { everySecond } from "./ticker.js";
import { holdVoice } from "./voice.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./elements.js").RealtimeTask} TaskShape */
/** @typedef {import("./realtime.js").Task} Task */

const REPAINT_MS = 250;
const REFUSAL_MS = 8000;
/** A finger on its way to Cancel must not land on Dismiss, which removes the task. */
const MISTAKE_MS = 500;

/** Large results are fetched one after another: a long list must not ask for fifty at once. */
let fetches = Promise.resolve();

/** @implements {TaskShape} */
export class RealtimeTask extends ClientElement {
  static observedAttributes = ["client", "task-id", "attempt", "label", "announce", "quiet-after", "heading-level"];

  #card;
  /** @type {Task | null} */
  #task = null;
  #answered = false;
  /** Hidden by its own Dismiss button; another task shows it again. */
  #dismissed = false;
  /** Fed by a list: its tasks come from there. */
  #fed = false;
  /** The list's voice, for what only a card notices. @type {((what: import("./milestones.js").Milestone, task: Task) => void) | null} */
  #tell = null;
  /** @type {import("./voice.js").Voice | null} */
  #voice = null;
  #paintedAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {(() => void) | null} */
  #stopTicking = null;
  /** Cancelling was asked for here, and nobody has answered yet. */
  #asking = false;
  /** A result that had to be fetched. @type {{of: Task, result: unknown} | null} */
  #result = null;
  /** Why it could not be cancelled. */
  #refusal = "";
  /** Whether it is known that the job does not answer: that is told once. null: nothing was painted yet. @type {boolean | null} */
  #unanswered = null;

  constructor() {
    super();
    this.#card = new TaskCard(this.attachShadow({ mode: "open" }), {
      cancel: () => void this.#cancel(),
      dismiss: (event) => this.#dismiss(event),
      change: () => this.#schedule(),
    });
  }

  /** The newest snapshot; null until there is one, and for a task that is not there. @returns {Task | null} */
  get task() {
    return this.#task;
  }

  get taskId() {
    return this.getAttribute("task-id") ?? "";
  }

  set taskId(value) {
    this.setAttribute("task-id", value);
  }

  get label() {
    return this.getAttribute("label") ?? "";
  }

  set label(value) {
    this.setAttribute("label", value);
  }

  /** Put the keyboard's focus on the name. */
  focusHeading() {
    this.#card.focusHeading();
  }

  /**
   * Show this snapshot; the element then asks nobody itself. For a list, which has the snapshots already.
   * @param {Task} task
   * @param {boolean} [isNews] An end that is the first thing seen of the task is news too.
   */
  feed(task, isNews = false) {
    if (this.taskId !== task.task_id) this.taskId = task.task_id;
    this.#receive(task, isNews);
  }

  /** The card's tasks will come from a list. @param {(what: import("./milestones.js").Milestone, task: Task) => void} tell */
  beFed(tell) {
    this.#fed = true;
    this.#tell = tell;
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === "task-id" || name === "attempt") this.#forget();
    if (["client", "task-id", "attempt", "announce"].includes(name)) this.refind();
    else this.repaint();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#tick(false);
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @protected @param {Client} client */
  attached(client) {
    this.hold(client.onState(() => this.#schedule()));
    if (this.getAttribute("announce") !== "off") {
      const voice = holdVoice(client, this.language);
      this.#voice = voice;
      this.hold(() => {
        voice.release();
        this.#voice = null;
      });
    }
    if (this.taskId && !this.#fed) {
      const follow = this.getAttribute("attempt") !== "this";
      this.hold(client.task(this.taskId).subscribe((task) => this.#receive(task), { follow }));
    } else this.#schedule();
  }

  /** @protected */
  repaint() {
    this.#schedule();
  }

  #forget() {
    if (this.#fed) return;
    this.#task = null;
    this.#answered = false;
    this.#paintedAt = -Infinity;
    this.#beginAnew();
  }

  /** What was between the reader and the task before is over. */
  #beginAnew() {
    this.#asking = false;
    this.#refusal = "";
    this.#unanswered = null;
    if (this.#dismissed) this.#dismissed = this.hidden = false;
  }

  /**
   * The server's answer.
   * @param {Task | null} task null: it has no such task, or not for this viewer.
   * @param {boolean} [isNews]
   */
  #receive(task, isNews = true) {
    const before = this.#task;
    if (task === before && this.#answered) return;
    this.#task = task;
    this.#answered = true;
    const isRetry = before !== null && task !== null && before.task_id !== task.task_id;
    if (isRetry) this.#beginAnew();
    if (task && (task.cancel_requested_at || isFinished(task))) this.#asking = false;
    this.#schedule();
    if (!task) return;

    const first = before === null;
    const happened = milestone(before, task);
    if (happened && (isFinished(task) || happened === "attempt" || this.getAttribute("announce") !== "ends")) this.#voice?.tell(happened, task, this.label);
    this.emit("realtime-change", { task, first });
    if (!isFinished(task)) return;
    if (first ? isNews : isRetry || !isFinished(before)) this.emit(`realtime-${task.status}`, { task, first });
    if (task.result_omitted) this.#fetchResult(task);
  }

  /** A large result is not pushed; its words may be in it. @param {Task} task */
  #fetchResult(task) {
    const { client } = this;
    if (!client) return;
    fetches = fetches.then(async () => {
      if (this.#task !== task || !this.isConnected) return;
      try {
        const result = await client.task(task.task_id).done();
        if (this.#task !== task) return;
        this.#result = { of: task, result };
        this.#schedule();
      } catch {
        // The card says that it is done; what came of it the page can still ask for.
      }
    });
  }

  /** Paint now, or when a quarter of a second has passed since the last time. */
  #schedule() {
    if (!this.isConnected || this.#timer !== undefined || (this.#fed && !this.#task)) return;
    const wait = this.#paintedAt + REPAINT_MS - performance.now();
    if (wait <= 0) this.#paint();
    else this.#timer = setTimeout(() => this.#paint(), wait);
  }

  #paint() {
    this.#timer = undefined;
    const { words } = this;
    const state = this.client?.state;
    const quietAfter = this.getAttribute("quiet-after");
    const task = this.#task && this.#task === this.#result?.of ? { ...this.#task, result: this.#result.result } : this.#task;
    const view = taskView(task, {
      words,
      taskId: this.taskId,
      label: this.label,
      answered: this.#answered,
      connection: state?.state ?? "connecting",
      since: state?.since ?? Date.now(),
      now: Date.now(),
      skew: this.client?.skew ?? 0,
      viewer: this.client?.user ?? null,
      quietAfter: quietAfter === null ? 60 : Number(quietAfter) || 0,
      base: document.baseURI,
    });
    if (this.#asking) view.disabled = true;
    if (this.#refusal && view.action === "cancel") view.words = { strong: words.say("words.refused"), text: this.#refusal };
    this.#card.place(this.closest("li, [role=listitem]") !== null, this.#headingLevel());
    this.#card.paint(view, words);
    this.#tellUnanswered(view.unanswered);
    this.#tick(view.ticking);
    // What was shown before there was anything to show does not hold up the first snapshot.
    if (view.state !== "loading") this.#paintedAt = performance.now();
  }

  /** A silence that was there from the start is no news. @param {boolean} now */
  #tellUnanswered(now) {
    const task = this.#task;
    if (task && now && this.#unanswered === false) {
      if (this.#tell) this.#tell("unanswered", task);
      else this.#voice?.tell("unanswered", task, this.label);
    }
    if (task && this.client?.state.state === "live") this.#unanswered = this.#unanswered === true || now;
  }

  #headingLevel() {
    const level = Number(this.getAttribute("heading-level"));
    return Number.isInteger(level) && level >= 1 && level <= 6 ? level : 3;
  }

  /** @param {boolean} on */
  #tick(on) {
    if (on) this.#stopTicking ??= everySecond(() => this.#schedule());
    else {
      this.#stopTicking?.();
      this.#stopTicking = null;
    }
  }

  async #cancel() {
    const { client } = this;
    const task = this.#task;
    if (!client || !task || this.#asking || client.state.state !== "live" || isFinished(task) || task.cancel_requested_at) return;
    if (!this.emit("realtime-cancel-request", { task }, { cancelable: true })) return;
    this.#asking = true;
    this.#refusal = "";
    this.#schedule();
    try {
      await client.task(task.task_id).cancel();
    } catch (error) {
      this.#asking = false;
      this.#refuse(error);
      this.#schedule();
    }
    // Otherwise the next snapshot answers: it says that cancelling was asked for, or that it has ended.
  }

  /** @param {unknown} error */
  #refuse(error) {
    if (this.#task && isFinished(this.#task)) return; // it ended first, which the card says itself
    this.#refusal = error instanceof Error ? error.message : String(error);
    if (this.getAttribute("announce") !== "off") documentAnnouncer().say(`${this.words.say("words.refused")} ${this.#refusal}`, this.language);
    setTimeout(() => {
      this.#refusal = "";
      this.#schedule();
    }, REFUSAL_MS);
  }

  /** @param {MouseEvent} event */
  #dismiss(event) {
    const task = this.#task;
    if (!task || (event.detail > 0 && performance.now() - this.#card.swappedAt < MISTAKE_MS)) return;
    if (!this.emit("realtime-dismiss", { task }, { cancelable: true })) return;
    if (!this.#fed) {
      this.#focusNeighbour();
      this.#dismissed = this.hidden = true;
    }
    this.client?.dismiss(task.task_id);
  }

  /** The next card of the page, or the one before: where the keyboard goes on. */
  #focusNeighbour() {
    const root = /** @type {Document | ShadowRoot} */ (this.getRootNode());
    const cards = [...root.querySelectorAll("realtime-task")].filter((card) => card === this || !card.closest("[hidden]"));
    const at = cards.indexOf(this);
    const neighbour = cards[at + 1] ?? cards[at - 1];
    if (neighbour instanceof RealtimeTask) neighbour.focusHeading();
  }
}
