/**
 * Who on this page reads what tasks write, and what has arrived of it.
 *
 * A client declines output at CONNECT and asks for each stream that somebody here listens to, once its task is known:
 * from the byte that it has come to, again in each connection, when a task that had gone is back, and when leaving a
 * task's room has ended its output too. Asking twice does no harm: what has been told already is not told again.
 *
 * Offsets count bytes of UTF-8 from the beginning of a stream.
 *
 * @module
 */

import { Backoff } from "./backoff.js";
import { Listeners } from "./listeners.js";
import { COMMANDS } from "./protocol.js";
import { isPassing } from "./requests.js";

/** @typedef {import("./environment.js").Environment} Environment */
/** @typedef {import("./realtime.js").OutputListener} OutputListener */
/** @typedef {import("./realtime.js").OutputPiece} OutputPiece */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./realtime.js").TaskListener} TaskListener */
/** @typedef {import("./task-store.js").State} State */

/** @typedef {{task_id: string, stream: string, epoch: string, offset: number, end: number, text: string}} TaskOutput */
/** @typedef {{text: string, offset: number, end: number, lost: number}} Fresh */

/** Bytes that are kept of a stream for those who begin to listen later. */
const KEPT = 256 * 1024;
/** Streams that a task may have, and that the server lets a viewer ask for. */
const STREAMS = 8;

/** One stream of one task, of which somebody hears. */
class Output {
  /** @type {Listeners<[Fresh | null]>} */
  listeners;
  /** Whether this connection has asked for it, since the last that could have ended that. */
  asked = false;
  /** Whether it is being given up at the server. Till then it stays: what still comes is of the same following. */
  leaving = false;
  /** The byte to go on from. */
  next = 0;
  #stream;
  /** How often it has begun anew; a listener that heard of an earlier life is told to clear. */
  #life = 0;
  /** @type {Fresh[]} without a gap between them */
  #kept = [];

  /**
   * @param {string} stream
   * @param {(error: unknown) => void} report
   */
  constructor(stream, report) {
    this.#stream = stream;
    this.listeners = new Listeners(report);
  }

  /** @param {OutputListener} fn */
  listen(fn) {
    let heard = -1;
    return this.listeners.add(
      (fresh) => {
        const first = heard !== this.#life;
        heard = this.#life;
        if (first) fn(this.#joined());
        else if (fresh) fn({ ...fresh, stream: this.#stream, first });
      },
      this.#kept.length > 0 ? () => [null] : null,
    );
  }

  /** @param {TaskOutput} piece of this life */
  take(piece) {
    const fresh = freshOf(this.next, piece);
    if (!fresh) return;
    this.next = fresh.end;
    if (fresh.lost > 0) this.#kept = [];
    this.#kept.push(fresh);
    while (this.#kept.length > 1 && this.next - this.#kept[0].offset > KEPT) this.#kept.shift();
    this.listeners.emit(fresh);
  }

  /** What follows is another's: the task's id was given to a new one, or the server began anew. */
  restart() {
    const shown = this.next > 0;
    this.asked = false;
    this.next = 0;
    this.#kept = [];
    this.#life += 1;
    if (shown) this.listeners.emit(null);
  }

  /** @returns {OutputPiece} all that is kept */
  #joined() {
    const offset = this.#kept[0]?.offset ?? 0;
    const text = this.#kept.map((piece) => piece.text).join("");
    return { text, offset, end: this.next, stream: this.#stream, lost: offset, first: true };
  }
}

/**
 * @typedef {object} Follow a task whose output somebody hears of
 * @property {Map<string, Output>} outputs by stream
 * @property {string | null} life which task it is of those that have had the id; null before one was seen
 * @property {() => void} stop watching it
 */

export class Outputs {
  #env;
  #read;
  #request;
  #watch;
  #backoff;
  /** @type {Map<string, Follow>} */
  #follows = new Map();
  /** Which connection this is; 0: none that can be asked. */
  #session = 0;
  #sessions = 0;
  #scheduled = false;
  /** One question at a time: the server must not see the end of a following before its beginning. */
  #queue = Promise.resolve();

  /**
   * @param {object} options
   * @param {Environment} options.env
   * @param {() => State} options.read the store
   * @param {import("./connection.js").Request} options.request
   * @param {(id: string, fn: TaskListener) => () => void} options.watch
   */
  constructor({ env, read, request, watch }) {
    this.#env = env;
    this.#read = read;
    this.#request = request;
    this.#watch = watch;
    this.#backoff = new Backoff(env.random);
  }

  /**
   * @param {string} id
   * @param {string} stream
   * @param {OutputListener} fn
   * @returns {() => void}
   */
  listen(id, stream, fn) {
    if (typeof fn !== "function") throw new TypeError("output() needs a function");
    if (typeof stream !== "string" || stream === "") throw new TypeError("output(): a stream's name is a text");
    const streams = this.#follows.get(id)?.outputs ?? new Map();
    const others = [...streams].filter(([name, { listeners }]) => name !== stream && listeners.size > 0);
    if (others.length >= STREAMS) throw new RangeError(`output(): a task has at most ${STREAMS} streams`);
    const follow = this.#follows.get(id) ?? this.#follow(id);
    const output = follow.outputs.get(stream) ?? new Output(stream, this.#env.report);
    follow.outputs.set(stream, output);
    const stop = output.listen(fn);
    this.#schedule();
    return () => {
      stop();
      this.#schedule();
    };
  }

  /** @param {TaskOutput} piece */
  receive(piece) {
    const follow = this.#follows.get(piece.task_id);
    const output = follow?.outputs.get(piece.stream);
    // What was not asked for since the stream began anew may be of its former life.
    if (output?.asked && piece.epoch === this.#read().epoch) output.take(piece);
  }

  /** A snapshot has arrived: ask for all that somebody listens to. */
  begin() {
    if (this.#session === 0) {
      this.#session = ++this.#sessions;
      this.#backoff.reset();
    }
    this.left([...this.#follows.keys()]);
  }

  /** The connection is gone, and with it all that it had asked for. */
  end() {
    this.#session = 0;
    for (const { outputs } of this.#follows.values()) {
      for (const output of outputs.values()) output.asked = output.leaving = false;
    }
    this.#schedule(); // those that nobody hears need not be given up any more
  }

  clear() {
    this.end();
    for (const { outputs, stop } of this.#follows.values()) {
      stop();
      for (const { listeners } of outputs.values()) listeners.clear();
    }
    this.#follows.clear();
  }

  /**
   * The rooms of these tasks may have been left, which ends their output as well.
   *
   * @param {readonly string[]} ids
   */
  left(ids) {
    for (const id of ids) this.#unask(id);
    this.#schedule();
  }

  /** @param {string} id */
  #unask(id) {
    for (const output of this.#follows.get(id)?.outputs.values() ?? []) output.asked = false;
  }

  /**
   * @param {string} id
   * @returns {Follow}
   */
  #follow(id) {
    /** @type {Follow} */
    const follow = { outputs: new Map(), life: null, stop: () => {} };
    this.#follows.set(id, follow);
    follow.stop = this.#watch(id, (task) => {
      if (task) this.#recognise(follow, task);
      else this.#unask(id); // a task that goes ends its output
      this.#schedule();
    });
    return follow;
  }

  /**
   * @param {Follow} follow
   * @param {Task} task as it is now
   */
  #recognise(follow, task) {
    const life = `${task.epoch} ${task.created_at}`;
    if (follow.life === life) return;
    const isAnother = follow.life !== null;
    follow.life = life;
    if (isAnother) for (const output of follow.outputs.values()) output.restart();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Not now: an element that moves in the document stops and listens again.
    queueMicrotask(() => this.#flush());
  }

  #flush() {
    this.#scheduled = false;
    for (const [id, follow] of this.#follows) {
      this.#leaveUnheard(id, follow);
      const task = this.#read().tasks.get(id);
      if (this.#session === 0 || !task) continue;
      this.#recognise(follow, task);
      const ask = [...follow.outputs].filter(([, { asked, leaving }]) => !asked && !leaving).map(([stream]) => stream);
      if (ask.length > 0) this.#ask(id, ask);
    }
  }

  /**
   * @param {string} id
   * @param {Follow} follow
   */
  #leaveUnheard(id, follow) {
    const left = [];
    for (const [stream, output] of follow.outputs) {
      if (output.listeners.size > 0 || output.leaving) continue;
      output.leaving = output.asked;
      if (output.leaving) left.push(stream);
      else follow.outputs.delete(stream);
    }
    if (left.length > 0) this.#leave(id, left);
    if (follow.outputs.size > 0) return;
    this.#follows.delete(id);
    follow.stop();
  }

  /**
   * @param {string} id
   * @param {readonly string[]} streams
   */
  #ask(id, streams) {
    const session = this.#session;
    const outputs = this.#follows.get(id)?.outputs ?? new Map();
    for (const stream of streams) outputs.get(stream).asked = true;
    this.#inTurn(async () => {
      // Those that were left meanwhile, or are asked for anew by a later question, are not this one's any more.
      const wanted = streams.filter((stream) => this.#follows.get(id)?.outputs.get(stream)?.asked);
      if (session !== this.#session || wanted.length === 0) return;
      const from = wanted.map((stream) => [stream, this.#follows.get(id)?.outputs.get(stream)?.next]);
      const message = { task_ids: [], epoch: this.#read().epoch, outputs: { [id]: Object.fromEntries(from) } };
      try {
        await this.#request(COMMANDS.SUBSCRIBE, message);
        this.#backoff.reset();
      } catch (error) {
        if (session !== this.#session) return;
        if (!isPassing(error)) throw error;
        this.#again(session, () => this.left([id]));
      }
    });
  }

  /**
   * @param {string} id
   * @param {readonly string[]} streams
   */
  #leave(id, streams) {
    const session = this.#session;
    const outputs = this.#follows.get(id)?.outputs ?? new Map();
    const stay = (/** @type {string} */ stream) => outputs.get(stream).listeners.size > 0;
    this.#inTurn(async () => {
      if (session !== this.#session) return;
      const left = streams.filter((stream) => !stay(stream));
      for (const stream of streams.filter(stay)) outputs.get(stream).leaving = false;
      try {
        if (left.length > 0) await this.#request(COMMANDS.UNSUBSCRIBE, { task_ids: [], outputs: { [id]: left } });
      } catch (error) {
        if (session !== this.#session) return;
        if (isPassing(error)) return this.#again(session, () => this.#leave(id, left));
      }
      if (session !== this.#session) return;
      for (const stream of left) outputs.get(stream).asked = outputs.get(stream).leaving = false;
      this.#schedule();
    });
  }

  /**
   * @param {number} session
   * @param {() => void} fn
   */
  #again(session, fn) {
    this.#env.setTimeout(() => {
      if (session === this.#session) fn();
    }, this.#backoff.next());
  }

  /** @param {() => Promise<void>} question */
  #inTurn(question) {
    this.#queue = this.#queue.then(question).catch(this.#env.report);
  }
}

/**
 * @param {number} next the byte that is to come
 * @param {Pick<TaskOutput, "text" | "offset" | "end">} piece
 * @returns {Fresh | null} what of the piece is not here yet, and how many bytes before it will never be; null: nothing
 */
export function freshOf(next, { text, offset, end }) {
  if (end <= next) return null;
  const begin = Math.max(offset, next);
  return { text: after(text, begin - offset), offset: begin, end, lost: begin - next };
}

/**
 * @param {string} text
 * @param {number} bytes of UTF-8
 * @returns {string} what follows them; a character that they end in is left out
 */
function after(text, bytes) {
  let index = 0;
  for (let left = bytes; left > 0 && index < text.length; ) {
    const code = /** @type {number} */ (text.codePointAt(index));
    left -= code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    index += code > 0xffff ? 2 : 1;
  }
  return text.slice(index);
}
