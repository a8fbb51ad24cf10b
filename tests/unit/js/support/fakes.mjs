/** A clock, a network and a server that do what a test says, when it says so. */

import { Client } from "../../../../static/client.js";

/** Let everything that waits for nothing but its turn have its turn. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** The same numbers for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return {
    random,
    below: (bound) => Math.floor(random() * bound),
    pick: (items) => items[Math.floor(random() * items.length)],
    shuffle(items) {
      const shuffled = [...items];
      for (let i = shuffled.length - 1; i > 0; i -= 1) {
        const j = Math.floor(random() * (i + 1));
        [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
      }
      return shuffled;
    },
  };
}

export class FakeClock {
  now = 1_000_000;
  #timers = new Map();
  #last = 0;

  setTimeout = (fn, ms) => {
    this.#last += 1;
    this.#timers.set(this.#last, { fn, at: this.now + ms });
    return this.#last;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  get pending() {
    return this.#timers.size;
  }

  /** Pass time; each timer fires at its moment, with everything that follows from it. */
  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].fn();
    }
    this.now = end;
    await settle();
  }
}

/** The client's end of a Socket.IO socket, with the server's end in the test's hands. */
export class FakeSocket {
  connected = false;
  ended = false;
  /** What the client has emitted: `{command, message, answer}`, oldest first. */
  sent = [];
  #listeners = new Map();

  constructor(uri, options) {
    this.uri = uri;
    this.options = options;
  }

  on(event, fn) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), fn]);
    return this;
  }

  emit(command, message, answer) {
    if (!this.connected) throw new Error(`${command} was emitted on a socket that is not connected`);
    this.sent.push({ command, message: structuredClone(message), answer });
  }

  connect() {
    this.opened = true;
  }

  disconnect() {
    this.ended = true;
    this.connected = false;
  }

  /** The transport is open: read the CONNECT's auth. */
  open() {
    if (this.auth) return;
    this.options.auth((auth) => {
      this.auth = structuredClone(auth);
    });
  }

  accept() {
    this.open();
    this.connected = true;
    this.fire("connect");
  }

  refuse(code, message = code) {
    this.open();
    this.fire("connect_error", Object.assign(new Error(message), code && { data: { code, message } }));
  }

  fail(message = "websocket error") {
    this.fire("connect_error", new Error(message));
  }

  lose(why = "transport close") {
    this.connected = false;
    this.fire("disconnect", why);
  }

  fire(event, payload) {
    for (const fn of this.#listeners.get(event) ?? []) fn(payload);
  }

  /** Answer the oldest request of that name that has no answer yet. */
  async answer(command, reply) {
    const request = this.sent.find((each) => each.command === command && !each.answered);
    if (!request) throw new Error(`no ${command} waits for an answer: ${JSON.stringify(this.sent)}`);
    request.answered = true;
    request.answer(typeof reply === "function" ? reply(request.message) : reply);
    await settle();
    return request.message;
  }

  messages(command) {
    return this.sent.filter((each) => each.command === command).map((each) => each.message);
  }
}

export const EPOCH = "epoch-1";

/** A snapshot of a task as the server sends it. */
export function task(task_id, version = 1, more = {}) {
  return {
    task_id,
    user: "ada",
    groups: [],
    name: null,
    status: "processing",
    version,
    epoch: EPOCH,
    progress: { current: null, total: null, unit: null, percent: null, message: `v${version}`, rate: null, eta: null },
    created_at: "2026-11-24T14:00:00Z",
    started_at: null,
    updated_at: "2026-11-24T14:00:00Z",
    completed_at: null,
    result: null,
    error: null,
    cancellable: false,
    cancel_requested_at: null, cancel_acknowledged_at: null,
    stalled_since: null,
    attempt: 1,
    retry_of: null,
    parent_id: null,
    retried_by: null,
    children: null,
    output_size: 0,
    metadata: {},
    ...more,
  };
}

export function snapshot(tasks = [], more = {}) {
  return {
    epoch: EPOCH,
    user_id: "ada",
    tasks,
    removed: [],
    has_more: false,
    server_time: "2026-11-24T14:00:00Z",
    ...more,
  };
}

/** A client on fakes. `world.socket` is the socket of the latest try. */
export function makeWorld({ ticket, random = () => 0.5 } = {}) {
  const clock = new FakeClock();
  const world = {
    clock,
    sockets: [],
    states: [],
    reported: [],
    /** What `fetch` was called with, and what it gives: set `world.respond`. */
    fetched: [],
    respond: () => new Response("null", { status: 404 }),
    watchers: new Set(),
    hidden: false,
    /** The page goes out of sight, or comes back. */
    hide(hidden) {
      world.hidden = hidden;
      world.browser(hidden ? "hidden" : "visible");
    },
    get socket() {
      return world.sockets.at(-1);
    },
    /** The latest socket connects and is sent its snapshot. */
    async goLive(tasks, more) {
      await settle();
      world.socket.accept();
      world.socket.fire("tasks_snapshot", snapshot(tasks, more));
      await settle();
      return world.socket;
    },
    /** The connection is lost, time passes, and the next try is at the server's door. */
    async comeBack() {
      world.socket.lose();
      await world.nextTry();
      return world.socket;
    },
    /** Time passes until the client tries again. */
    nextTry: () => clock.pass(world.rt.state.retryAt - clock.now),
    browser: (event) => [...world.watchers].forEach((watcher) => watcher[event]()),
  };
  world.io = (uri, options) => {
    const socket = new FakeSocket(uri, options);
    world.sockets.push(socket);
    return socket;
  };
  const env = {
    now: () => clock.now,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    random,
    fetch: async (url, init) => {
      world.fetched.push({ url, init });
      return world.respond(url, init);
    },
    isHidden: () => world.hidden,
    report: (error) => world.reported.push(error),
    watch: (watcher) => {
      world.watchers.add(watcher);
      return () => world.watchers.delete(watcher);
    },
  };
  const address = { socket: "http://server/tasks", path: "/socket.io", api: "http://server/realtime/v1" };
  world.rt = new Client({ name: "default", address, ticket, io: world.io, env });
  world.rt.onState((state) => world.states.push(state));
  return world;
}
