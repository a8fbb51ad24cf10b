/**
 * One connection to the server: tries, waits, and says how it is.
 *
 *     connecting ──► live ◄──► stale          offline: a try failed or the connection was lost; it goes on trying
 *         │           │ ▲        │            denied: the server will have none of it; `reconnect()` starts anew
 *         ▼           ▼ │        │            closed: by `close()`, from anywhere, for good
 *       denied ◄── offline ◄─────┘
 *
 * Each try has a socket of its own, and socket.io-client's own reconnecting is off: so `retryAt` is exact, and nothing
 * that an earlier try still has to say is heard. A connection is `live` when its first `tasks_snapshot` is here.
 *
 * @module
 */

import { Backoff } from "./backoff.js";
import { RealtimeError } from "./errors.js";
import { COMMANDS, EVENTS } from "./protocol.js";
import { isFinal, isOfTicket, reasonOf } from "./refusal.js";
import { Requests, isPassing } from "./requests.js";

/** @typedef {import("./environment.js").Environment} Environment */
/** @typedef {import("./realtime.js").ConnectionState} ConnectionState */
/** @typedef {import("./realtime.js").Reason} Reason */
/** @typedef {import("./realtime.js").Socket} Socket */
/** @typedef {import("./realtime.js").Ticket} Ticket */

/** @typedef {(command: string, message: object) => Promise<import("./requests.js").Answer>} Request */

/**
 * @typedef {object} Hooks
 * @property {(ticket: string | null) => object} auth the CONNECT's `auth`, asked for when a transport is open: current
 * @property {(event: string, payload: any) => void} event a push
 * @property {(state: ConnectionState) => void} state each change of `state`
 */

/** Milliseconds from the start of a try to the `tasks_snapshot`, the ticket function included. */
const TRY_TIME = 20_000;
/** How long a try takes to fail while the connection is cut: long enough to be seen. */
const CUT_TRY_TIME = 300;
/** A connection that lived less long than this goes on with the backoff where it was. */
const STEADY_TIME = 10_000;
const RESYNC_INTERVAL = 1_000;

const STALE = Object.freeze({ code: "unavailable", message: "The server cannot reach its task store." });
const CUT = Object.freeze({ code: "cut", message: "The connection was cut on purpose." });

export class Connection {
  #io;
  #address;
  #ticket;
  #env;
  #hooks;
  #backoff;
  #requests;
  #unwatch;
  /** @type {ConnectionState} */
  #state;
  /** @type {Socket | null} */
  #socket = null;
  /** @type {string | null} */
  #lastTicket = null;
  /** Which try this is: a ticket that arrives for an earlier one is nobody's. */
  #try = 0;
  /** @type {unknown} until the next try, or the end of the one under way */
  #timer = null;
  #trying = false;
  #synced = false;
  #storeAway = false;
  #liveSince = 0;
  /** What this connection's server believes of the page; it begins with a page that is seen. */
  #hiddenTold = false;
  #ticketRenewed = false;
  #pollFirst = false;
  /** @type {number | null} */
  #cutUntil = null;
  /** @type {unknown} */
  #cutTimer = null;
  #lastResync = -Infinity;

  /**
   * @param {object} options
   * @param {import("./realtime.js").Connect} options.io
   * @param {import("./address.js").Address} options.address
   * @param {Ticket | undefined} options.ticket
   * @param {Environment} options.env
   * @param {Hooks} options.hooks
   */
  constructor({ io, address, ticket, env, hooks }) {
    this.#io = io;
    this.#address = address;
    this.#ticket = ticket;
    this.#env = env;
    this.#hooks = hooks;
    this.#backoff = new Backoff(env.random);
    this.#requests = new Requests(env);
    this.#state = Object.freeze({ state: "connecting", reason: null, since: env.now(), retryAt: null });
    this.#unwatch = env.watch({
      online: () => this.#hurry(true),
      visible: () => {
        this.#hurry(false);
        this.#tellVisibility();
      },
      hidden: () => this.#tellVisibility(),
      offline: (message) => this.#lost({ code: "network", message }),
    });
  }

  get state() {
    return this.#state;
  }

  /** The ticket of the latest try, for requests beside the socket. */
  get lastTicket() {
    return this.#lastTicket;
  }

  /** @returns {Promise<string | null>} a ticket made now */
  async freshTicket() {
    const ticket = typeof this.#ticket === "function" ? await this.#ticket() : this.#ticket;
    if (ticket === undefined || ticket === null) return null;
    if (typeof ticket !== "string") throw new TypeError(`a ticket is a string, not ${typeof ticket}`);
    return ticket;
  }

  get ticketIsFunction() {
    return typeof this.#ticket === "function";
  }

  start() {
    this.#begin();
  }

  /** Try now. A try under way goes on; a live connection is made anew (somebody signed in as another). */
  reconnect() {
    const { state } = this.#state;
    if (state === "closed" || this.#trying) return;
    if (state === "denied") this.#set("connecting", null);
    else if (state !== "offline") this.#away({ code: "reconnect", message: "The page asked for a new connection." });
    this.#begin();
  }

  /**
   * Behave as in an outage: the transport closes and nothing gets through for a while.
   *
   * @param {number} ms
   */
  cut(ms) {
    if (!Number.isFinite(ms) || ms < 0) throw new RangeError(`cut(): milliseconds are needed, not ${ms}`);
    if (this.#isOver()) return;
    this.#env.clearTimeout(this.#cutTimer);
    this.#cutUntil = this.#env.now() + ms;
    this.#cutTimer = this.#env.setTimeout(() => {
      this.#cutUntil = null;
      this.#begin();
    }, ms);
    this.#away(CUT, this.#cutUntil);
  }

  close() {
    if (this.#state.state === "closed") return;
    this.#stop("closed", null);
    this.#unwatch();
  }

  /** The `tasks_snapshot` of this connection has arrived and was applied. */
  synced() {
    if (this.#synced || !this.#socket) return;
    this.#endTry();
    this.#synced = true;
    this.#ticketRenewed = false;
    this.#liveSince = this.#env.now();
    this.#hiddenTold = false;
    this.#tellVisibility();
    this.#show();
  }

  /** A hidden page is sent the ends of tasks only, and what it missed when it is seen again. */
  #tellVisibility() {
    const hidden = this.#env.isHidden();
    if (!this.#synced || hidden === this.#hiddenTold) return;
    this.#hiddenTold = hidden;
    this.request(COMMANDS.VISIBILITY, { hidden }).catch((error) => {
      if (this.#synced && isPassing(error)) this.#env.setTimeout(() => this.#tellAgain(hidden), RESYNC_INTERVAL);
    });
  }

  /** @param {boolean} hidden what the server could not be told */
  #tellAgain(hidden) {
    if (this.#hiddenTold === hidden) this.#hiddenTold = !hidden;
    this.#tellVisibility();
  }

  /** Ask for a new `tasks_snapshot` by connecting anew, at most once a second. */
  resync() {
    if (!this.#socket) return;
    const wait = Math.min(RESYNC_INTERVAL, Math.max(0, this.#lastResync + RESYNC_INTERVAL - this.#env.now()));
    this.#lastResync = this.#env.now() + wait;
    const reason = { code: "resync", message: "The server's tasks are not the ones that were known." };
    if (wait > 0) return this.#retryIn(wait, reason);
    this.#away(reason);
    this.#begin();
  }

  /** @type {Request} */
  request = (command, message) => {
    if (!this.#socket?.connected) return Promise.reject(this.#unreachable());
    return this.#requests.send(this.#socket, command, message);
  };

  /** Start a try. State listeners may call anything, so here and below all is in place before they hear. */
  #begin() {
    if (this.#isOver()) return;
    this.#drop();
    this.#trying = true;
    const time = this.#cutUntil === null ? TRY_TIME : CUT_TRY_TIME;
    this.#timer = this.#env.setTimeout(() => this.#runOut(), time);
    const number = this.#try;
    this.#set(this.#state.state === "connecting" ? "connecting" : "offline", this.#state.reason);
    if (this.#cutUntil === null) void this.#open(number);
  }

  /** @param {number} number */
  async #open(number) {
    let ticket;
    try {
      ticket = await this.freshTicket();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (number === this.#try) this.#fail({ code: "ticket", message });
      return;
    }
    if (number !== this.#try) return;
    this.#lastTicket = ticket;
    const socket = this.#io(this.#address.socket, {
      path: this.#address.path,
      auth: (/** @type {(auth: object) => void} */ send) => send(this.#hooks.auth(ticket)),
      autoConnect: false,
      forceNew: true,
      reconnection: false,
      timeout: false, // the whole try has one
      transports: this.#pollFirst ? ["polling", "websocket"] : ["websocket", "polling"],
      tryAllTransports: true,
    });
    this.#socket = socket;
    this.#listen(socket);
    socket.connect();
  }

  /** @param {Socket} socket */
  #listen(socket) {
    const hear = (/** @type {string} */ event, /** @type {(payload: any) => void} */ fn) =>
      socket.on(event, (/** @type {any} */ payload) => {
        if (socket === this.#socket) fn(payload);
      });
    hear("connect_error", (error) => this.#refused(error));
    hear("disconnect", (why) => this.#fail({ code: "network", message: `The connection was lost: ${why}.` }));
    hear(EVENTS.SERVER_STATE, (told) => this.#serverState(told));
    for (const event of Object.values(EVENTS))
      if (event !== EVENTS.SERVER_STATE) hear(event, (payload) => this.#hooks.event(event, payload));
  }

  /** @param {Error} error */
  #refused(error) {
    const reason = reasonOf(error);
    if (!isFinal(reason.code)) return this.#fail(reason);
    if (isOfTicket(reason.code) && this.ticketIsFunction && !this.#ticketRenewed) {
      this.#ticketRenewed = true;
      return this.#begin();
    }
    this.#ticketRenewed = false;
    this.#stop("denied", reason);
  }

  /** @param {{state?: "live" | "stale" | "stopping", reconnect_within?: number} | undefined} told */
  #serverState(told) {
    if (told?.state === "stopping") return this.#backoff.within(told.reconnect_within);
    this.#storeAway = told?.state === "stale";
    // It cannot send the snapshot now, and knows that itself: trying again would not help.
    if (this.#storeAway) this.#endTry();
    this.#show();
  }

  /** Show what is known about a connection that is up. */
  #show() {
    if (this.#storeAway) this.#set("stale", STALE);
    else if (this.#synced) this.#set("live", null);
    else if (!this.#trying) this.#awaitSnapshot();
  }

  /** The store is back, and the first snapshot is still owed. */
  #awaitSnapshot() {
    this.#trying = true;
    this.#timer = this.#env.setTimeout(() => this.#runOut(), TRY_TIME);
  }

  /** A try took too long. */
  #runOut() {
    if (this.#cutUntil !== null) return this.#away(CUT, this.#cutUntil);
    // A proxy may swallow WebSockets without a word; long-polling first finds that out and still upgrades.
    if (this.#socket && !this.#socket.connected) this.#pollFirst = true;
    this.#fail({ code: "timeout", message: `The server did not answer within ${TRY_TIME / 1000} s.` });
  }

  /** @param {Reason} reason */
  #lost(reason) {
    if (this.#cutUntil === null && (this.#socket || this.#trying)) this.#fail(reason);
  }

  /** @param {Reason} reason */
  #fail(reason) {
    if (this.#synced && this.#env.now() - this.#liveSince >= STEADY_TIME) this.#backoff.reset();
    this.#retryIn(this.#backoff.next(), reason);
  }

  /**
   * @param {number} wait milliseconds
   * @param {Reason} reason
   */
  #retryIn(wait, reason) {
    this.#drop();
    this.#timer = this.#env.setTimeout(() => this.#begin(), wait);
    this.#set("offline", reason, this.#env.now() + wait);
  }

  /**
   * Something speaks for trying now.
   *
   * @param {boolean} afresh whether a try under way is a lost one: it began without a network
   */
  #hurry(afresh) {
    if (this.#cutUntil !== null || this.#synced || this.#storeAway) return;
    if (afresh) this.#backoff.reset();
    if (afresh || !this.#trying) this.#begin();
  }

  /**
   * @param {Reason} reason
   * @param {number | null} [retryAt]
   */
  #away(reason, retryAt = null) {
    this.#drop();
    this.#set("offline", reason, retryAt);
  }

  /**
   * @param {"denied" | "closed"} state
   * @param {Reason | null} reason
   */
  #stop(state, reason) {
    this.#env.clearTimeout(this.#cutTimer);
    this.#drop(() => new RealtimeError(reason?.message ?? "The client was closed.", reason?.code ?? "closed"));
    this.#set(state, reason);
  }

  /** @param {() => RealtimeError} [why] what becomes of requests under way */
  #drop(why = () => new RealtimeError("The connection was lost before the answer.", "offline")) {
    const socket = this.#socket;
    this.#try += 1;
    this.#socket = null;
    this.#synced = false;
    this.#storeAway = false;
    this.#endTry();
    socket?.disconnect();
    this.#requests.abandonAll(why);
  }

  #endTry() {
    this.#trying = false;
    this.#env.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #isOver() {
    return this.#state.state === "closed" || this.#state.state === "denied";
  }

  #unreachable() {
    const { state, reason } = this.#state;
    if (state === "closed") return new RealtimeError("The client was closed.", "closed");
    if (state === "denied" && reason) return new RealtimeError(reason.message, reason.code);
    return new RealtimeError("Not connected now.", "offline");
  }

  /**
   * @param {ConnectionState["state"]} state
   * @param {Reason | null} reason
   * @param {number | null} [retryAt]
   */
  #set(state, reason, retryAt = null) {
    const before = this.#state;
    if (before.state === state && before.reason === reason && before.retryAt === retryAt) return;
    const since = before.state === state ? before.since : this.#env.now();
    this.#state = Object.freeze({ state, reason: reason && Object.freeze(reason), since, retryAt });
    this.#hooks.state(this.#state);
  }
}
