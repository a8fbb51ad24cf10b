// <realtime-tasks>: the viewer's tasks, newest first: of each its newest attempt, and its parts under it.
import { ClientElement, make, setAttribute, setText } from "./element-base.js";
import { RealtimeConnection, bannerIsShown, onBanners } from "./element-connection.js";
import { CardList, PAGE } from "./card-list.js";
import { matching } from "./families.js";
import { listNews, newestAttempts } from "./milestones.js";
import { tasksSheets } from "./sheets.js";
import { isFinished } from "./task-store.js";
import { holdVoice } from "./voice.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./elements.js").RealtimeTasks} TasksShape */
/** @typedef {import("./realtime.js").Family} Family */
/** @typedef {import("./realtime.js").Task} Task */

const BANNER = { class: "banner", show: "banner", announce: "off", "data-own": "", exportparts: "banner, retry, sign-in" };

/** @implements {TasksShape} */
export class RealtimeTasks extends ClientElement {
  static observedAttributes = ["client", "group", "filter", "limit", "announce", "quiet-after", "heading-level", "sign-in-href"];

  #list = new CardList({
    client: () => this.client,
    words: () => this.words,
    active: () => this.shadowRoot?.activeElement ?? null,
    attribute: (name) => this.getAttribute(name),
    isNews: (task) => this.#news.has(task),
    tell: (what, task) => this.#voice?.tell(what, task),
  });
  #emptyStrong = make("b");
  #emptyText = make("span");
  #empty = make("div", { class: "empty", part: "empty", tabindex: "-1" }, make("slot", { name: "empty" }, this.#emptyStrong, " ", this.#emptyText));
  #more = make("button", { class: "more", part: "more", type: "button" });
  #count = make("span", { part: "count" });
  #clear = make("button", { part: "clear", type: "button" });
  #foot = make("div", { class: "foot", part: "foot" }, this.#count, this.#clear);
  /** Only on a page that has no banner for this client. @type {RealtimeConnection | null} */
  #banner = null;
  /** Everything the client has, newest first. @type {readonly Family[]} */
  #families = [];
  #loading = true;
  /** The attempts that were known when ends were last told; null until the first list is whole. @type {Map<string, Task> | null} */
  #told = null;
  /** Ends that came with the latest change. @type {ReadonlySet<Task>} */
  #news = new Set();
  #extra = 0;
  /** The first list is shown: only what comes later comes in with a movement. */
  #settled = false;
  /** @type {import("./voice.js").Voice | null} */
  #voice = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = tasksSheets;
    setAttribute(this.#list.node, "part", "list");
    root.append(this.#list.node, this.#empty, this.#more, this.#foot);
    this.#more.addEventListener("click", () => this.#showMore());
    this.#clear.addEventListener("click", () => this.#clearFinished());
  }

  /** The snapshots of the cards, newest first. @returns {readonly Task[]} */
  get tasks() {
    return this.#mine().map(({ task }) => task);
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now) return;
    if (name === "client") this.#forget();
    if (name === "client" || name === "announce") this.refind();
    else {
      this.#list.passOn();
      this.repaint();
    }
  }

  #forget() {
    this.#families = [];
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
    this.hold(client.tasks((_tasks, { loading, families }) => this.#receive(families, loading)));
    this.#placeBanner();
  }

  /** @param {readonly Family[]} families @param {boolean} loading */
  #receive(families, loading) {
    this.#families = families;
    this.#loading = loading;
    const news = this.#told ? listNews(this.#told, this.#ofGroup()) : [];
    for (const [what, task] of news) this.#voice?.tell(what, task);
    if (this.#told || (!loading && this.client?.state.state === "live")) this.#told = newestAttempts(families);
    this.#news = new Set(news.map(([, task]) => task));
    this.repaint();
  }

  #ofGroup() {
    const group = this.getAttribute("group");
    return group ? matching(this.#families, (task) => task.groups.includes(group)) : this.#families;
  }

  #mine() {
    const filter = this.getAttribute("filter");
    const families = this.#ofGroup();
    return filter === "running" || filter === "finished" ? matching(families, (task) => isFinished(task) === (filter === "finished")) : families;
  }

  /** @protected */
  repaint() {
    const families = this.#mine();
    const active = this.shadowRoot?.activeElement;
    const shown = this.#list.size;
    const { node } = this.#list;
    const limit = (Number(this.getAttribute("limit")) || PAGE) + this.#extra;
    const { all, lost } = this.#list.paint(families, { limit, settled: this.#settled });
    this.#more.hidden = all;
    setAttribute(node, "aria-busy", this.#loading ? "true" : null);
    this.#settled ||= this.#told !== null;
    this.#paintAround(families.map(({ task }) => task));
    const place = active === this.#more && all ? shown : active === this.#clear && this.#clear.hidden ? 0 : lost;
    if (place !== null && !this.#list.focusAt(place)) this.#empty.focus(); // what is shown when there is no card
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
      this.#banner.client = this.client; // before it is placed, or it would have the page's unnamed client made
      this.#list.node.before(this.#banner);
    }
    if (this.#banner.client !== this.client) this.#banner.client = this.client;
    this.repaint();
  }

  #showMore() {
    this.#extra += Number(this.getAttribute("limit")) || PAGE;
    this.repaint();
  }

  #clearFinished() {
    for (const task of this.tasks.filter(isFinished)) {
      if (this.emit("realtime-dismiss", { task }, { cancelable: true })) this.client?.dismiss(task.task_id);
    }
  }
}
