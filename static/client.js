/** A client: one connection, what it knows, and those who want to hear of it. @module */

import { chunks, isTaskId } from "./chunks.js";
import { Connection } from "./connection.js";
import { NotFound, RealtimeError } from "./errors.js";
import { listFamilies, relatives } from "./families.js";
import { Following } from "./following.js";
import { Listeners } from "./listeners.js";
import { Outputs } from "./outputs.js";
import { Paging } from "./paging.js";
import { COMMANDS, EVENTS, PROTOCOL_VERSION } from "./protocol.js";
import { fetchResult } from "./results.js";
import { Subscriptions } from "./subscriptions.js";
import { TaskHandle } from "./task-handle.js";
import { TaskLists } from "./task-lists.js";
import { EMPTY, cursors, idsToRecover, isFinished, listTasks, reduce } from "./task-store.js";

/** @typedef {import("./realtime.js").ConnectionState} ConnectionState */
/** @typedef {import("./realtime.js").ListFacts} ListFacts */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./task-store.js").Action} Action */
/** @typedef {import("./task-store.js").State} State */
/** @typedef {import("./task-store.js").TasksSnapshot} TasksSnapshot */

/** @implements {ClientShape} */
export class Client {
  #env;
  #address;
  #connection;
  #subscriptions;
  #following;
  #outputs;
  #lists;
  #paging;
  /** @type {Listeners<[ConnectionState]>} */
  #stateListeners;
  /** @type {Listeners<[string, any]>} */
  #eventListeners;
  /** @type {State} */
  #state = EMPTY;
  /** What this connection's CONNECT said is held, and the ids of the list that it had no room for. */
  #sent = { epoch: EMPTY.epoch, cursors: cursors(EMPTY, []), missed: /** @type {string[]} */ ([]) };
  #skew = 0;

  /**
   * @param {object} options
   * @param {string} options.name
   * @param {import("./address.js").Address} options.address
   * @param {import("./realtime.js").Ticket} [options.ticket]
   * @param {import("./realtime.js").Connect} options.io
   * @param {import("./environment.js").Environment} options.env
   */
  constructor({ name, address, ticket, io, env }) {
    this.name = name;
    this.#env = env;
    this.#address = address;
    this.#stateListeners = new Listeners(env.report);
    this.#eventListeners = new Listeners(env.report);
    this.#connection = new Connection({
      io,
      address,
      ticket,
      env,
      hooks: {
        auth: (current) => this.#auth(current),
        event: (event, payload) => this.#receive(event, payload),
        state: (state) => this.#connectionChanged(state),
      },
    });
    const shared = {
      env,
      read: () => this.#state,
      dispatch: (/** @type {Action} */ action) => this.#dispatch(action),
      request: this.#connection.request,
    };
    this.#subscriptions = new Subscriptions({ ...shared, left: (ids) => this.#outputs.left(ids) });
    this.#following = new Following({ read: shared.read, watch: (id, fn) => this.#subscriptions.watch(id, fn) });
    this.#outputs = new Outputs({ ...shared, watch: (id, fn) => this.#subscriptions.watch(id, fn) });
    this.#lists = new TaskLists(env, () => this.#list());
    this.#paging = new Paging({
      ...shared,
      isWanted: () => this.#lists.isShown,
      changed: () => this.#lists.changed(),
    });
    this.#connection.start();
  }

  get state() {
    return this.#connection.state;
  }

  get user() {
    return this.#state.userId;
  }

  get skew() {
    return this.#skew;
  }

  /** @param {string | number} id */
  task(id) {
    return new TaskHandle(
      {
        watch: (taskId, fn) => this.#subscriptions.watch(taskId, fn),
        follow: (taskId, fn) => this.#following.follow(taskId, fn),
        listen: (taskId, stream, fn) => this.#outputs.listen(taskId, stream, fn),
        onState: (fn) => this.onState(fn),
        cancel: (taskId) => this.#cancel(taskId),
        fetchResult: (task, signal) => this.#fetchResult(task, signal),
      },
      String(id),
    );
  }

  /** @param {(tasks: readonly Task[], facts: ListFacts) => void} fn */
  tasks(fn) {
    const stop = this.#lists.add(fn);
    this.#paging.start();
    return stop;
  }

  /** @param {(state: ConnectionState) => void} fn */
  onState(fn) {
    return this.#stateListeners.add(fn, () => [this.state]);
  }

  /** @param {(event: string, payload: any) => void} fn */
  onEvent(fn) {
    return this.#eventListeners.add(fn);
  }

  /** @param {string | number} id */
  async dismiss(id) {
    const task = this.#state.tasks.get(String(id));
    if (!task || !isFinished(task)) return false;
    const gone = [...relatives(this.#state, task.task_id, isFinished), task.task_id];
    for (const taskId of gone) this.#dispatch({ type: "hide", taskId });
    let removed = false;
    // One after another: a task may have thousands of parts.
    for (const taskId of gone) removed = await this.#remove(taskId);
    return removed;
  }

  /**
   * @param {string} id one that is out of sight
   * @returns {Promise<boolean>}
   */
  async #remove(id) {
    if (this.user === null || this.#state.tasks.get(id)?.user !== this.user) return false;
    try {
      await this.#connection.request(COMMANDS.REMOVE_TASK, { task_id: id });
      return true;
    } catch {
      return false; // the server clears it away in its own time
    }
  }

  reconnect() {
    this.#connection.reconnect();
  }

  /** @param {number} ms */
  cut(ms) {
    this.#connection.cut(ms);
  }

  close() {
    this.#connection.close();
    this.#outputs.clear();
    this.#subscriptions.clear();
    this.#lists.clear();
    this.#stateListeners.clear();
    this.#eventListeners.clear();
  }

  /** @returns {[readonly Task[], ListFacts]} */
  #list() {
    const isOver = this.state.state === "denied" || this.state.state === "closed";
    const loading = this.#paging.loading || (this.#state.epoch === null && !isOver);
    return [listTasks(this.#state), { loading, hasMore: this.#state.missing !== null, families: listFamilies(this.#state, loading) }];
  }

  /**
   * The `auth` of a CONNECT that is about to be sent.
   *
   * @param {string | null} ticket
   */
  #auth(ticket) {
    const ids = idsToRecover(this.#state);
    const [told = []] = chunks(ids, ticket?.length);
    const { epoch } = this.#state;
    this.#sent = { epoch, cursors: cursors(this.#state, told), missed: ids.slice(told.length) };
    /** @type {Record<string, unknown>} */
    const auth = { protocol: PROTOCOL_VERSION, output: false };
    if (ticket !== null) auth.ticket = ticket;
    if (epoch !== null) Object.assign(auth, { epoch, cursors: this.#sent.cursors });
    return auth;
  }

  /**
   * @param {string} event
   * @param {any} payload
   */
  #receive(event, payload) {
    try {
      if (event === EVENTS.TASKS_SNAPSHOT) this.#synchronise(payload);
      else if (event === EVENTS.TASK_REMOVED) this.#dispatch({ type: "frame", frame: { removed: payload } });
      else if (event === EVENTS.TASK_OUTPUT) this.#outputs.receive(payload);
      else {
        const listed = !this.#subscriptions.isSingle(payload.task_id);
        this.#dispatch({ type: "frame", frame: { task: payload, listed } });
      }
    } catch (error) {
      this.#env.report(error); // a frame that cannot be read must not break the transport's reading of the next
    }
    this.#eventListeners.emit(event, payload);
  }

  /** @param {TasksSnapshot} snapshot */
  #synchronise(snapshot) {
    const serverTime = Date.parse(snapshot.server_time ?? "");
    if (!Number.isNaN(serverTime)) this.#skew = serverTime - this.#env.now();
    const { epoch, missed } = this.#sent;
    const user = this.user;
    this.#dispatch({ type: "snapshot", snapshot, cursors: this.#sent.cursors });
    const isSameList = snapshot.epoch === epoch && snapshot.user_id === user;
    const told = new Set(snapshot.tasks.map((task) => task.task_id));
    this.#connection.synced();
    this.#subscriptions.begin(isSameList ? missed.filter((id) => !told.has(id)) : []);
    this.#outputs.begin();
    this.#paging.start();
  }

  /** @param {Action} action */
  #dispatch(action) {
    const before = this.#state;
    this.#state = reduce(before, action);
    if (this.#state === before) return;
    const { epoch, tasks } = this.#state;
    if (this.#state.retries !== before.retries) this.#following.changed();
    for (const id of this.#named(action)) {
      // Of what an older epoch held nothing is known until the server has been asked again.
      const isForgotten = epoch !== before.epoch && !tasks.has(id);
      if (before.tasks.get(id) !== tasks.get(id) && !isForgotten) this.#subscriptions.notify(id);
    }
    this.#lists.changed();
    if (this.#state.resync && !before.resync) this.#connection.resync();
  }

  /**
   * @param {Action} action
   * @returns {readonly string[]} the ids whose tasks it may have changed, of those that somebody may watch
   */
  #named(action) {
    switch (action.type) {
      case "snapshot":
        return this.#subscriptions.watched();
      case "frame":
        return ["task" in action.frame ? action.frame.task.task_id : action.frame.removed.task_id];
      case "tasks":
      case "page":
        return action.tasks.map((task) => task.task_id);
      case "gone":
        return action.taskIds;
      default:
        return [];
    }
  }

  /** @param {ConnectionState} state */
  #connectionChanged(state) {
    if (state.state !== "live" && state.state !== "stale") {
      this.#dispatch({ type: "disconnected" });
      this.#subscriptions.end();
      this.#outputs.end();
      this.#paging.stop();
    }
    // A page without elements would stay empty and say nothing, and whoever writes it looks here first.
    if (state.state === "denied") console.warn(`realtime: ${state.reason?.message} (${state.reason?.code})`);
    this.#stateListeners.emit(state);
  }

  /**
   * @param {string} id
   * @returns {Promise<Task>}
   */
  async #cancel(id) {
    if (!isTaskId(id)) throw new NotFound(id);
    const { task } = await this.#connection.request(COMMANDS.CANCEL_TASK, { task_id: id });
    if (!task) throw new RealtimeError('The server answered "cancel_task" without the task.', "internal");
    this.#dispatch({ type: "tasks", tasks: [task], listed: false });
    return task;
  }

  /**
   * @param {Task} task
   * @param {AbortSignal} signal
   */
  #fetchResult(task, signal) {
    const connection = this.#connection;
    return fetchResult(task, {
      env: this.#env,
      address: this.#address,
      ticket: connection.lastTicket,
      freshTicket: connection.ticketIsFunction ? () => connection.freshTicket() : null,
      signal,
    });
  }
}

/** @typedef {import("./realtime.js").Client} ClientShape */
