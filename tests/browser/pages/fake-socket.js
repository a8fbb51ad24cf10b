// In the place of /realtime/static/socket.js: a server that stands in the page and does what a test tells it.
// Everything above the socket, the client and the elements, is the real thing.
//
// `fake("name")` is the server of the clients that connect with the ticket "name"; without a ticket, of "default".

class Server {
  mode = "up"; // "silent": no snapshot; "down": no connection; anything else: refused with that code
  user = "ada";
  epoch = "e1";
  version = 1;
  /** What viewers asked: [command, message]. */
  asked = [];
  /** Answers to come, by command: {ok: false, error} instead of the usual. */
  refusals = {};
  tasks = new Map(); // the newest snapshots by id
  pages = []; // ids of older tasks that come by list_tasks, page after page
  hidden = new Set(); // tasks that come only to who subscribes to them
  sockets = new Set();
  outputs = new Map(); // what tasks have written, by id and stream: the first byte that is kept, and the text from there

  /** A new version of a task, in the short form of `snapshot`; whoever is connected hears of it. */
  put({ id, ...patch }) {
    const before = this.tasks.get(id);
    const task = snapshot(patch, before ?? { task_id: id, user: this.user }, { epoch: this.epoch, version: ++this.version });
    this.tasks.set(id, task);
    const ends = ["completed", "failed", "cancelled"].includes(task.status);
    this.#tell(ends ? `task_${task.status}` : before ? "task_progress" : "task_created", task);
  }

  /** Several at once, as one flush brings them. */
  putAll(...patches) {
    for (const patch of patches) this.put(patch);
  }

  remove(id) {
    this.tasks.delete(id);
    this.#tell("task_removed", { task_id: id, epoch: this.epoch, version: ++this.version });
  }

  /** Let a task write. `gone`: so many bytes before it were written, too, and are not kept. */
  write(id, text, { stream = "output", gone = 0 } = {}) {
    const key = `${id} ${stream}`;
    const before = this.outputs.get(key) ?? { start: 0, text: "" };
    const end = before.start + bytes(before.text);
    this.outputs.set(key, gone ? { start: end + gone, text } : { ...before, text: before.text + text });
    for (const socket of this.sockets) if (socket.follows.has(key)) socket.hear("task_output", this.#piece(key, end));
  }

  /** What a stream has from a byte on, or from the first after it that is kept. */
  #piece(key, from) {
    const [task_id, stream] = key.split(" ");
    const { start, text } = this.outputs.get(key);
    const offset = Math.max(start, from);
    const kept = new TextDecoder().decode(new TextEncoder().encode(text).slice(offset - start));
    return { task_id, stream, epoch: this.epoch, offset, end: offset + bytes(kept), text: kept };
  }

  #follow(socket, outputs) {
    for (const [id, streams] of Object.entries(outputs)) {
      for (const [stream, from] of Object.entries(streams)) {
        const key = `${id} ${stream}`;
        socket.follows.add(key);
        if (this.outputs.has(key)) queueMicrotask(() => socket.hear("task_output", this.#piece(key, from)));
      }
    }
  }

  storeIs(state) {
    this.#tell("server_state", { state });
  }

  /** Close the connections; later tries go by `mode`. */
  drop(mode = "down") {
    this.mode = mode;
    for (const socket of [...this.sockets]) socket.lose();
  }

  /** The first snapshot that a silent server owes. */
  speak() {
    this.mode = "up";
    for (const socket of this.sockets) this.greet(socket);
  }

  greet(socket) {
    const later = new Set([...this.hidden, ...this.pages.flat()]);
    const tasks = [...this.tasks.values()].filter((task) => !later.has(task.task_id));
    const removed = [...Object.keys(socket.auth.cursors ?? {})].filter((id) => !this.tasks.has(id));
    socket.hear("tasks_snapshot", { epoch: this.epoch, user_id: this.user, tasks, removed, ...this.#rest(), server_time: new Date(now()).toISOString() });
  }

  answer(command, message, socket) {
    this.asked.push([command, message]);
    if (this.refusals[command]) return { ok: false, error: this.refusals[command] };
    const known = (id) => this.tasks.get(id);
    if (command === "subscribe") {
      this.#follow(socket, message.outputs ?? {});
      return { ok: true, tasks: message.task_ids.map(known).filter(Boolean), denied: message.task_ids.filter((id) => !known(id)) };
    }
    if (command === "cancel_task") {
      this.put({ id: message.task_id, cancelled: 0 });
      return { ok: true, task: known(message.task_id) };
    }
    if (command === "remove_task") this.remove(message.task_id);
    if (command === "list_tasks") {
      const tasks = (this.pages.shift() ?? []).map(known);
      return { ok: true, tasks, ...this.#rest() };
    }
    return { ok: true };
  }

  #rest() {
    return { has_more: this.pages.length > 0, next: this.pages.length ? String(this.pages.length) : null };
  }

  #tell(event, payload) {
    for (const socket of this.sockets) socket.hear(event, payload);
  }
}

const bytes = (text) => new TextEncoder().encode(text).length;

class FakeSocket {
  connected = false;
  follows = new Set(); // streams: `id stream`
  #listeners = new Map();
  #options;
  #server = null;

  constructor(options) {
    this.#options = options;
  }

  on(event, listener) {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  hear(event, payload) {
    for (const listener of this.#listeners.get(event) ?? []) listener(structuredClone(payload));
  }

  connect() {
    this.#options.auth((auth) => {
      this.auth = auth;
      const server = (this.#server = fake(auth.ticket ?? "default"));
      queueMicrotask(() => {
        if (server.mode === "down") return this.hear("connect_error", { message: "xhr poll error" });
        if (server.mode !== "up" && server.mode !== "silent") {
          return this.hear("connect_error", { message: server.mode, data: { code: server.mode, message: `The server says: ${server.mode}.` } });
        }
        this.connected = true;
        server.sockets.add(this);
        if (server.mode === "up") server.greet(this);
      });
    });
  }

  emit(event, message, acknowledge) {
    const answer = this.#server.answer(event, structuredClone(message), this);
    queueMicrotask(() => acknowledge?.(structuredClone(answer)));
  }

  lose() {
    this.connected = false;
    this.#server.sockets.delete(this);
    this.hear("disconnect", "transport close");
  }

  disconnect() {
    this.connected = false;
    this.#server?.sockets.delete(this);
  }
}

/** Milliseconds by which the server's clock is ahead. */
globalThis.serverAhead = 0;
const now = () => Date.now() + globalThis.serverAhead;

const PROGRESS = ["current", "total", "unit", "percent", "message", "rate", "eta"];
const BLANK = {
  groups: [], name: null, status: "processing", result: null, error: null, cancellable: true, attempt: 1, retry_of: null, parent_id: null, retried_by: null, children: null, output_size: 0, metadata: {},
  completed_at: null, cancel_requested_at: null, cancel_acknowledged_at: null, stalled_since: null,
  progress: { current: null, total: null, unit: null, percent: null, message: "", rate: null, eta: null },
};

/**
 * The next snapshot of a task from a short form: times are seconds ago (`created`, `started`, `updated`, `ended`,
 * `cancelled`, `stalled`), progress stands on the top level. What is left out stays as it was.
 */
function snapshot(patch, before, stamp) {
  const { created, started, updated = 0, ended, cancelled, stalled, ...rest } = patch;
  const progress = { ...(before.progress ?? BLANK.progress) };
  for (const name of PROGRESS) {
    if (name in rest) progress[name] = rest[name];
    delete rest[name];
  }
  if (!("percent" in patch) && progress.total) progress.percent = (100 * progress.current) / progress.total;
  const task = { ...BLANK, ...before, ...rest, ...stamp, progress };
  const at = (seconds, otherwise) => (seconds === undefined ? otherwise : new Date(now() - seconds * 1000).toISOString());
  task.created_at = at(created ?? (before.created_at ? undefined : (started ?? 10)), before.created_at);
  task.started_at = at(started, before.started_at ?? (task.status === "pending" ? null : task.created_at));
  task.updated_at = at(updated);
  task.cancel_requested_at = at(cancelled, task.cancel_requested_at);
  task.stalled_since = at(stalled, null);
  if (["completed", "failed", "cancelled"].includes(task.status)) task.completed_at = at(ended ?? 0);
  return task;
}

const servers = new Map();

export function fake(name = "default") {
  if (!servers.has(name)) servers.set(name, new Server());
  return servers.get(name);
}
globalThis.fake = fake;

Math.random = () => 0.5; // the backoff's jitter

export const io = (_uri, options) => new FakeSocket(options);
