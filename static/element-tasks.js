// <realtime-tasks>: the viewer's tasks, newest first, each in its place for as long as it is there.
import { ClientElement, make, setAttribute, setText } from "./element-base.js";
import { RealtimeConnection, bannerIsShown, onBanners } from "./element-connection.js";
import { RealtimeTask } from "./element-task.js";
import { newEnds } from "./milestones.js";
import { tasksSheets } from "./sheets.js";
import { isFinished } from "./task-store.js";
import { holdVoice } from "./voice.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./elements.js").RealtimeTasks} TasksShape */
/** @typedef {import("./realtime.js").Task} Task */

const PAGE = 50;
const BANNER = { class: "banner", show: "banner", announce: "off", "data-own": "", exportparts: "banner, retry, sign-in" };
const PARTS = "card, icon, name, figure, message, bar, meta, cancel, dismiss, result, error";

/** @implements {TasksShape} */
export class RealtimeTasks extends ClientElement {
  static observedAttributes = ["client", "group", "filter", "limit", "announce", "quiet-after", "heading-level", "sign-in-href"];

  #list = make("ul", { class: "list", role: "list", part: "list" });
  #emptyStrong = make("b");
  #emptyText = make("span");
  #empty = make("div", { class: "empty", part: "empty", tabindex: "-1" }, make("slot", { name: "empty" }, this.#emptyStrong, " ", this.#emptyText));
  #more = make("button", { class: "more", part: "more", type: "button" });
  #count = make("span", { part: "count" });
  #clear = make("button", { part: "clear", type: "button" });
  #foot = make("div", { class: "foot", part: "foot" }, this.#count, this.#clear);
  /** Only on a page that has no banner for this client. @type {RealtimeConnection | null} */
  #banner = null;
  /** Everything the client has, newest first. @type {readonly Task[]} */
  #tasks = [];
  #loading = true;
  /** What was known when ends were last told; null until the first list is whole. @type {Map<string, Task> | null} */
  #told = null;
  /** Ends that were not known before the latest change. @type {ReadonlySet<Task>} */
  #news = new Set();
  /** The items by task and creation: an id that was made anew is another task. @type {Map<string, {item: HTMLLIElement, card: RealtimeTask}>} */
  #items = new Map();
  #extra = 0;
  /** The first list is shown: only what comes later comes in with a movement. */
  #settled = false;
  /** @type {import("./voice.js").Voice | null} */
  #voice = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = tasksSheets;
    root.append(this.#list, this.#empty, this.#more, this.#foot);
    this.#more.addEventListener("click", () => this.#showMore());
    this.#clear.addEventListener("click", () => this.#clearFinished());
  }

  /** The snapshots that the list is made of, newest first. @returns {readonly Task[]} */
  get tasks() {
    return this.#mine();
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === "client") this.#forget();
    if (name === "client" || name === "announce") this.refind();
    else {
      for (const { card } of this.#items.values()) this.#passOn(card);
      this.repaint();
    }
  }

  #forget() {
    this.#tasks = [];
    this.#loading = true;
    this.#told = null;
    this.#extra = 0;
    this.#settled = false;
  }

  /** @protected @param {Client} client */
  attached(client) {
    if (this.getAttribute("announce") !== "off") {
      const voice = holdVoice(client, this.language);
      this.#voice = voice;
      this.hold(() => {
        voice.release();
        this.#voice = null;
      });
    }
    this.hold(onBanners(() => this.#placeBanner()));
    this.hold(client.tasks((tasks, { loading }) => this.#receive(tasks, loading)));
    this.#placeBanner();
  }

  /** @param {readonly Task[]} tasks @param {boolean} loading */
  #receive(tasks, loading) {
    this.#tasks = tasks;
    this.#loading = loading;
    const ends = this.#told ? newEnds(this.#told, tasks) : [];
    for (const task of this.#ofGroup(ends)) this.#voice?.tell(/** @type {import("./milestones.js").Milestone} */ (task.status), task);
    if (this.#told || (!loading && this.client?.state.state === "live")) this.#told = new Map(tasks.map((task) => [task.task_id, task]));
    this.#news = new Set(ends);
    this.repaint();
  }

  /** @param {readonly Task[]} tasks */
  #ofGroup(tasks) {
    const group = this.getAttribute("group");
    return group ? tasks.filter((task) => task.groups.includes(group)) : tasks;
  }

  #mine() {
    const filter = this.getAttribute("filter");
    const tasks = this.#ofGroup(this.#tasks);
    return filter === "running" || filter === "finished" ? tasks.filter((task) => isFinished(task) === (filter === "finished")) : tasks;
  }

  /** @protected */
  repaint() {
    const tasks = this.#mine();
    const active = this.shadowRoot?.activeElement;
    const shown = this.#items.size;
    let lost = this.#paintItems(tasks);
    this.#paintAround(tasks);
    if (active === this.#clear && this.#clear.hidden) lost = 0;
    if (active === this.#more && this.#more.hidden) lost = shown;
    if (lost !== null) this.#focusAt(lost);
  }

  /**
   * @param {readonly Task[]} tasks
   * @returns {number | null} The place of the item that was taken away with the focus in it.
   */
  #paintItems(tasks) {
    const limit = (Number(this.getAttribute("limit")) || PAGE) + this.#extra;
    // What runs is always shown, and what was shown stays: the limit holds back only the old.
    const wanted = tasks.filter((task, at) => at < limit || !isFinished(task) || this.#items.has(keyOf(task)));
    const lost = this.#remove(new Set(wanted.map(keyOf)));
    /** @type {Element | null} */
    let next = this.#list.firstElementChild;
    for (const task of wanted) {
      const known = this.#items.get(keyOf(task));
      if (known) {
        known.card.feed(task);
        next = known.item.nextElementSibling;
      } else this.#add(task, next);
    }
    this.#more.hidden = wanted.length === tasks.length;
    this.#list.hidden = wanted.length === 0;
    setAttribute(this.#list, "aria-busy", this.#loading ? "true" : null);
    this.#settled ||= this.#told !== null;
    return lost;
  }

  /** @param {Task} task @param {Element | null} next The item that it comes before. */
  #add(task, next) {
    const card = new RealtimeTask();
    setAttribute(card, "announce", "off");
    setAttribute(card, "exportparts", PARTS);
    const item = make("li", this.#settled ? { class: "new" } : {}, card);
    card.client = this.client;
    card.beFed((what, its) => this.#voice?.tell(what, its));
    this.#items.set(keyOf(task), { item, card });
    this.#passOn(card);
    this.#list.insertBefore(item, next);
    card.feed(task, this.#news.has(task)); // in its place, from where its events are heard
  }

  /** @param {RealtimeTask} card */
  #passOn(card) {
    for (const name of ["quiet-after", "heading-level"]) setAttribute(card, name, this.getAttribute(name));
  }

  /**
   * Take away the items that are not wanted.
   * @param {ReadonlySet<string>} keys
   * @returns {number | null} The place of the one that had the focus.
   */
  #remove(keys) {
    let lost = null;
    for (const [key, { item, card }] of [...this.#items]) {
      if (keys.has(key)) continue;
      if (this.shadowRoot?.activeElement === card) lost = [...this.#list.children].indexOf(item);
      this.#items.delete(key);
      item.remove();
    }
    return lost;
  }

  /** Focus the card that stands at this place now, or the last one, or what is shown when there is none. @param {number} at */
  #focusAt(at) {
    const card = (this.#list.children[at] ?? this.#list.lastElementChild)?.firstElementChild;
    if (card instanceof RealtimeTask) card.focusHeading();
    else this.#empty.focus();
  }

  /** @param {readonly Task[]} tasks */
  #paintAround(tasks) {
    const { words } = this;
    const filter = this.getAttribute("filter");
    const kind = filter === "running" || filter === "finished" ? `.${filter}` : "";
    setText(this.#emptyStrong, words.say(`list.empty${kind}`));
    setText(this.#emptyText, kind ? "" : words.say("list.empty.more"));
    // "No jobs" is said only by who knows it.
    this.#empty.hidden = tasks.length > 0 || this.#told === null;
    const ended = tasks.filter(isFinished).length;
    const running = tasks.length - ended;
    const counts = { running: words.say("list.running", { count: running }), finished: words.say("list.finished", { count: ended }) };
    setText(this.#count, running && ended ? words.say("list.both", counts) : running ? counts.running : counts.finished);
    setText(this.#clear, words.say("list.clear"));
    setText(this.#more, words.say("list.more"));
    this.#clear.hidden = ended === 0;
    this.#foot.hidden = tasks.length === 0;
    if (this.#banner) setAttribute(this.#banner, "sign-in-href", this.getAttribute("sign-in-href"));
  }

  /** A page that writes nothing but this element still has to say why nothing moves. */
  #placeBanner() {
    const elsewhere = bannerIsShown(this.clientName);
    if (elsewhere) {
      this.#banner?.remove();
      this.#banner = null;
      return;
    }
    if (!this.#banner) {
      this.#banner = new RealtimeConnection();
      for (const [name, value] of Object.entries(BANNER)) setAttribute(this.#banner, name, value);
      this.#list.before(this.#banner);
    }
    if (this.#banner.client !== this.client) this.#banner.client = this.client;
    this.repaint();
  }

  #showMore() {
    this.#extra += Number(this.getAttribute("limit")) || PAGE;
    this.repaint();
  }

  #clearFinished() {
    for (const task of this.#mine().filter(isFinished)) {
      if (this.emit("realtime-dismiss", { task }, { cancelable: true })) this.client?.dismiss(task.task_id);
    }
  }
}

/** @param {Task} task */
function keyOf(task) {
  return `${task.task_id} ${task.created_at}`;
}
