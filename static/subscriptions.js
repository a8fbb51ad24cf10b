/**
 * Who on this page watches which task, and what the server has been asked to send because of it.
 *
 * Tasks of the viewer's own list arrive without asking. The others are subscribed to, in chunks, once per connection
 * and again in each new one. The order of messages does not matter: the server joins and then reads, so a task may
 * come twice, and versions settle that.
 *
 * @module
 */

import { Backoff } from "./backoff.js";
import { chunks, isTaskId } from "./chunks.js";
import { Listeners } from "./listeners.js";
import { COMMANDS } from "./protocol.js";
import { isPassing } from "./requests.js";
import { cursors } from "./task-store.js";

/** @typedef {import("./environment.js").Environment} Environment */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./realtime.js").TaskListener} TaskListener */
/** @typedef {import("./task-store.js").Action} Action */
/** @typedef {import("./task-store.js").State} State */

/**
 * @typedef {object} Watch
 * @property {Listeners<[Task | null, {known: boolean}]>} listeners
 * @property {boolean} known whether the task was ever seen here
 */

export class Subscriptions {
  #env;
  #read;
  #dispatch;
  #request;
  #left;
  #backoff;
  /** @type {Map<string, Watch>} */
  #watches = new Map();
  /**
   * What this connection has asked for, and where that stands: asked, refused, to be asked once more, being taken back.
   *
   * @type {Map<string, "joined" | "denied" | "again" | "leaving">}
   */
  #asked = new Map();
  /** Which connection this is: an answer to an earlier one's question is nobody's. 0: none that can be asked. */
  #session = 0;
  #sessions = 0;
  #scheduled = false;
  /** One question at a time, so that the answers do not pile up in the server's queue for this viewer. */
  #queue = Promise.resolve();

  /**
   * @param {object} options
   * @param {Environment} options.env
   * @param {() => State} options.read the store
   * @param {(action: Action) => void} options.dispatch to the store
   * @param {import("./connection.js").Request} options.request
   * @param {(ids: readonly string[]) => void} options.left told when the server was asked to leave rooms: their output ends too
   */
  constructor({ env, read, dispatch, request, left }) {
    this.#env = env;
    this.#read = read;
    this.#dispatch = dispatch;
    this.#request = request;
    this.#left = left;
    this.#backoff = new Backoff(env.random);
  }

  /**
   * @param {string} id
   * @param {TaskListener} fn called when there is something to tell: at once if the task is known, never twice the same
   * @returns {() => void}
   */
  watch(id, fn) {
    if (typeof fn !== "function") throw new TypeError("subscribe() needs a function");
    const watch = this.#watches.get(id) ?? { listeners: new Listeners(this.#env.report), known: false };
    const held = this.#read().tasks.has(id);
    if (held) watch.known = true;
    /** @type {Task | null | undefined} */
    let told;
    const stop = watch.listeners.add(
      (task, facts) => {
        if (task === told) return;
        told = task;
        fn(task, facts);
      },
      held ? () => [this.#read().tasks.get(id) ?? null, { known: true }] : null,
    );
    this.#watches.set(id, watch);
    // An earlier answer may be out of date: a task denied a minute ago may exist by now.
    const isAnswered = this.#asked.get(id) === "joined" || this.#asked.get(id) === "denied";
    if (!held && isAnswered) this.#asked.set(id, "again");
    this.#schedule();
    return () => {
      stop();
      if (watch.listeners.size === 0 && this.#watches.get(id) === watch) this.#watches.delete(id);
      this.#schedule();
    };
  }

  /** @returns {string[]} the ids that somebody watches */
  watched() {
    return [...this.#watches.keys()];
  }

  /**
   * @param {string} id
   * @returns {boolean} whether news of it may come only because this connection asked
   */
  isSingle(id) {
    return this.#asked.has(id);
  }

  /**
   * Tell those who watch this task how it is now.
   *
   * @param {string} id
   */
  notify(id) {
    const watch = this.#watches.get(id);
    if (!watch) return;
    const task = this.#read().tasks.get(id) ?? null;
    if (task) watch.known = true;
    if (watch.known) watch.listeners.emit(task, { known: true });
  }

  /**
   * A snapshot has arrived: ask for all that is watched and does not come by itself.
   *
   * @param {readonly string[]} missed ids of the viewer's list whose cursors did not fit in the CONNECT
   */
  begin(missed) {
    if (this.#session === 0) {
      this.#session = ++this.#sessions;
      this.#backoff.reset();
    }
    // A second snapshot in one connection: the store may be another, and all is asked for anew.
    for (const [id, how] of this.#asked) if (how !== "leaving") this.#asked.set(id, "again");
    const { tasks } = this.#read();
    const left = tasks.keys().filter((id) => !this.#watches.has(id) && !this.#comesByItself(id));
    this.#dispatch({ type: "forget", taskIds: left });
    // Tasks of the list come by themselves: these are asked for once, and their rooms left again.
    this.#enqueue(missed, this.#isTransient);
    this.#flush();
  }

  /** The connection is gone, and with it all that it had asked for. */
  end() {
    this.#session = 0;
    this.#asked.clear();
  }

  clear() {
    this.end();
    for (const { listeners } of this.#watches.values()) listeners.clear();
    this.#watches.clear();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Not now: an element that moves in the document stops and subscribes again, and a page makes many at a time.
    queueMicrotask(() => this.#flush());
  }

  #flush() {
    this.#scheduled = false;
    for (const [id, watch] of this.#watches) if (!isTaskId(id)) watch.listeners.emit(null, { known: false });
    if (this.#session === 0) return;
    const ask = this.watched().filter((id) => this.#isToBeAsked(id));
    for (const id of ask) this.#asked.set(id, "joined");
    this.#enqueue(ask, (id) => this.#asked.get(id) === "joined");
    this.#leave();
  }

  /**
   * @param {string} id
   * @returns {boolean}
   */
  #isToBeAsked(id) {
    const how = this.#asked.get(id);
    return isTaskId(id) && (how === undefined || how === "again") && !this.#comesByItself(id);
  }

  /**
   * @param {string} id
   * @returns {boolean}
   */
  #comesByItself(id) {
    const { tasks, listed, hidden } = this.#read();
    return tasks.has(id) && (listed.has(id) || hidden.has(id));
  }

  /**
   * @param {readonly string[]} ids
   * @param {(id: string) => boolean} isWanted asked again before each id is sent
   */
  #enqueue(ids, isWanted) {
    const session = this.#session;
    for (const chunk of chunks(ids)) this.#inTurn(() => this.#ask(chunk.filter(isWanted), session, isWanted));
  }

  /**
   * @param {readonly string[]} ids
   * @param {number} session
   * @param {(id: string) => boolean} isWanted
   */
  async #ask(ids, session, isWanted) {
    if (session !== this.#session || ids.length === 0) return;
    const { epoch } = this.#read();
    const sent = cursors(this.#read(), ids);
    let answer;
    try {
      answer = await this.#request(COMMANDS.SUBSCRIBE, { task_ids: ids, epoch, cursors: sent });
    } catch (error) {
      if (session !== this.#session) return;
      if (!isPassing(error)) return this.#deny(ids, epoch, {});
      this.#env.setTimeout(() => {
        if (session === this.#session) this.#enqueue(ids, isWanted);
      }, this.#backoff.next());
      return;
    }
    if (session !== this.#session) return;
    this.#backoff.reset();
    this.#dispatch({ type: "tasks", tasks: answer.tasks ?? [], listed: false });
    this.#deny(answer.denied ?? [], epoch, sent);
    this.#enqueueLeaving(ids.filter(this.#isTransient), this.#isTransient);
  }

  /**
   * @param {readonly string[]} ids
   * @param {string | null} epoch
   * @param {Readonly<Record<string, number>>} sent
   */
  #deny(ids, epoch, sent) {
    for (const id of ids) if (this.#asked.get(id) === "joined") this.#asked.set(id, "denied");
    this.#dispatch({ type: "gone", taskIds: ids, epoch, cursors: sent });
    for (const id of ids) {
      const watch = this.#watches.get(id);
      if (watch && !this.#read().tasks.has(id)) watch.listeners.emit(null, { known: watch.known });
    }
  }

  /** Whether its room is of no further use; the server bounds how many a viewer may be in. */
  #isTransient = (/** @type {string} */ id) => !this.#asked.has(id);

  #leave() {
    const unwatched = [...this.#asked].filter(([id]) => !this.#watches.has(id));
    for (const [id, how] of unwatched) if (how === "denied") this.#asked.delete(id);
    const left = unwatched.filter(([, how]) => how === "joined" || how === "again").map(([id]) => id);
    // They stay marked until the server has answered: what it sends till then is not news of the viewer's own list.
    for (const id of left) this.#asked.set(id, "leaving");
    this.#enqueueLeaving(left, (id) => this.#asked.get(id) === "leaving");
  }

  /**
   * @param {readonly string[]} ids
   * @param {(id: string) => boolean} isWanted
   */
  #enqueueLeaving(ids, isWanted) {
    const session = this.#session;
    for (const chunk of chunks(ids)) this.#inTurn(() => this.#unsubscribe(chunk.filter(isWanted), session));
  }

  /** @param {() => Promise<void>} question */
  #inTurn(question) {
    this.#queue = this.#queue.then(question).catch(this.#env.report);
  }

  /**
   * @param {readonly string[]} ids
   * @param {number} session
   */
  async #unsubscribe(ids, session) {
    if (session !== this.#session || ids.length === 0) return;
    try {
      await this.#request(COMMANDS.UNSUBSCRIBE, { task_ids: ids });
    } catch {
      // Tried again when something else changes; till then a few frames come for nothing.
      if (session !== this.#session) return;
      for (const id of ids) if (this.#asked.has(id)) this.#asked.set(id, "joined");
      this.#left(ids); // perhaps only the answer was lost
      return;
    }
    if (session !== this.#session) return;
    this.#left(ids);
    for (const id of ids) this.#asked.delete(id);
    this.#dispatch({ type: "forget", taskIds: ids.filter((id) => !this.#watches.has(id)) });
    this.#schedule();
  }
}
