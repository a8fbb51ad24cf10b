/** How a task stands. The last three are ends: nothing follows them. */
export type TaskStatus = "pending" | "processing" | "completed" | "failed" | "cancelled";

export interface Progress {
  readonly current: number | null;
  /** null: nobody knows how much there is to do. */
  readonly total: number | null;
  readonly unit: string | null;
  /** 0 to 100; null where it cannot be told: without a total, unless the job gives the percent itself. */
  readonly percent: number | null;
  /** What is being done now; null until the job says it. */
  readonly message: string | null;
  /** Units a second; null until it can be told. */
  readonly rate: number | null;
  /** Seconds; null until it can be told. */
  readonly eta: number | null;
}

/** Why a task failed. `message` is safe to show. */
export interface TaskError {
  readonly type: string | null;
  readonly message: string;
  readonly code: string | null;
  readonly retryable: boolean | null;
  readonly details: Readonly<Record<string, unknown>> | null;
}

/**
 * The parts of a task; a part and its retries count once. `total` are those that there are or that were announced,
 * whichever is more.
 */
export interface Children {
  readonly total: number;
  readonly pending: number;
  readonly processing: number;
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
}

/** One version of one task, whole. Times are RFC 3339 in UTC. */
export interface Task {
  readonly task_id: string;
  readonly user: string | null;
  readonly groups: readonly string[];
  readonly name: string | null;
  readonly status: TaskStatus;
  readonly version: number;
  readonly epoch: string;
  readonly progress: Progress;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly updated_at: string;
  readonly completed_at: string | null;
  readonly result: any;
  /** The result is too large to be pushed: `done()` fetches it. */
  readonly result_omitted?: boolean;
  readonly error: TaskError | null;
  readonly cancellable: boolean;
  readonly cancel_requested_at: string | null;
  /** When the job was told of that request; null until then, and without one. */
  readonly cancel_acknowledged_at: string | null;
  readonly stalled_since: string | null;
  readonly attempt: number;
  readonly retry_of: string | null;
  readonly parent_id: string | null;
  /** The task that tries this one again; null while there is none. */
  readonly retried_by: string | null;
  /** How its parts stand; null if it never had any. */
  readonly children: Children | null;
  readonly output_size: number;
  readonly metadata: Readonly<Record<string, any>>;
}

/** `code` is a stable word, `message` a sentence. */
export interface Reason {
  readonly code: string;
  readonly message: string;
}

export interface ConnectionState {
  /**
   * - `connecting`: the first try is under way.
   * - `live`: what is shown is what is.
   * - `stale`: connected, but the server cannot reach its task store.
   * - `offline`: not connected, and trying again and again.
   * - `denied`: the server refused, and nothing more is tried; `reconnect()` starts anew.
   * - `closed`: by `close()`, for good.
   */
  readonly state: "connecting" | "live" | "stale" | "offline" | "denied" | "closed";
  /**
   * The server's code, or one of the client's own: `network`, `timeout`, `ticket` (the ticket function threw), `cut`,
   * `resync`, `reconnect`, `not_served`.
   */
  readonly reason: Reason | null;
  /** When `state` became what it is, in milliseconds since 1970 on this machine's clock. */
  readonly since: number;
  /** When the next try begins; null while one is under way and when there is none. */
  readonly retryAt: number | null;
}

/** A signed right to watch, or a function that gets one; it is called at every connect and reconnect. */
export type Ticket = string | null | (() => string | null | undefined | Promise<string | null | undefined>);

/** As much of a Socket.IO socket as is used. */
export interface Socket {
  readonly connected: boolean;
  on(event: string, listener: (payload: any) => void): unknown;
  emit(event: string, ...args: any[]): unknown;
  connect(): unknown;
  disconnect(): unknown;
}

/** socket.io-client's `io`. */
export type Connect = (uri: string, options: any) => Socket;

export interface ConnectOptions {
  /** The server's origin, with the prefix of an app that is mounted under one. Default: the page's own. */
  url?: string;
  /** Default: none; the page's cookies say who is watching. */
  ticket?: Ticket;
  /** What elements find the client by (their attribute `client`). Default: `default`. */
  name?: string;
  /** Default: the official client that comes with this package. */
  io?: Connect;
}

export interface TaskFacts {
  /** With null: true if the task was seen here and left, false if it is unknown or not this viewer's to see. */
  readonly known: boolean;
}

/** Called with the newest snapshot, or with null when there is none to be had. */
export type TaskListener = (task: Task | null, facts: TaskFacts) => void;

/** A part of what a task has written. Offsets count bytes of UTF-8 from the beginning of the stream. */
export interface OutputPiece {
  /** Empty if all that is to be told is `first` or `lost`. */
  readonly text: string;
  readonly offset: number;
  /** Where the piece ends and the next one begins. */
  readonly end: number;
  readonly stream: string;
  /** Bytes before the piece that are gone: the server keeps a tail only (`REALTIME_OUTPUT_TAIL`). 0: none. */
  readonly lost: number;
  /** Clear what you show: it is the first piece, or from now on another task has the id. */
  readonly first: boolean;
}

/** Called with each piece, in order and none twice. */
export type OutputListener = (piece: OutputPiece) => void;

export interface ListFacts {
  /** The list is not all here yet, and more is on its way. */
  readonly loading: boolean;
  /** The server has more than is here. */
  readonly hasMore: boolean;
  /** The same tasks as cards show them: attempts as one, parts under what they are parts of. Newest first. */
  readonly families: readonly Family[];
}

/** What a list shows as one. */
export interface Family {
  /** Stays the same as long as the family is in the list, whichever of its attempts come and go. */
  readonly key: string;
  /** The newest attempt. */
  readonly task: Task;
  /** All that are known, the newest last. */
  readonly attempts: readonly Task[];
  /** Those of its parts that are in the list, in the order of their creation; of former attempts only what still runs. */
  readonly parts: readonly Family[];
}

export interface TaskHandle {
  readonly id: string;
  /**
   * Hear of the task: the snapshot first, then each newer one. `fn` is never called before `subscribe` has returned,
   * and not before something is known. With `follow`, once there is another attempt at the task, its snapshots come
   * in the place of this one's; they have another `task_id`. Returns the way to stop.
   */
  subscribe(fn: TaskListener, options?: { follow?: boolean }): () => void;
  /**
   * Hear what the task writes: first what is kept of it as one piece, then what is new, also across outages. `fn` is
   * never called before `output` has returned. At most 8 streams of a task at once: a `RangeError` is thrown beyond.
   * Returns the way to stop.
   */
  output(fn: OutputListener, options?: { stream?: string }): () => void;
  /**
   * The result, when the task has completed; a large one is fetched by HTTP. Outages are waited for. Rejects with
   * `TaskFailed`, `TaskCancelled`, `TaskRemoved`, `NotFound`, `Denied`, the signal's reason, or a `RealtimeError` with
   * code `closed`.
   */
  done(options?: { signal?: AbortSignal }): Promise<any>;
  /**
   * Ask for the task to be stopped. Resolves with the snapshot that the server answered: its `cancel_requested_at` is
   * set, or it is `cancelled` already. Rejects with a `RealtimeError`: `not_found`, `forbidden`, `already_finished`,
   * `offline`, `timeout` (10 s), …
   */
  cancel(): Promise<Task>;
}

export interface Client {
  readonly name: string;
  readonly state: ConnectionState;
  /** Who the server says is watching; null before the first connect and for those who hold a ticket for one task. */
  readonly user: string | null;
  /** How far the server's clock is ahead of this one, in milliseconds, as its last snapshot showed; 0 before. */
  readonly skew: number;
  task(id: string | number): TaskHandle;
  /**
   * Hear of the viewer's list: newest first, first as it is known now, then after changes, at most once a frame. While
   * somebody listens, all of a long list is loaded. Tasks that this page only subscribed to are not in it.
   */
  tasks(fn: (tasks: readonly Task[], facts: ListFacts) => void): () => void;
  /** Hear of `state`: first as it is now, then each change. */
  onState(fn: (state: ConnectionState) => void): () => void;
  /**
   * Hear of each push as it arrives, applied or not: for looking at the wire. `task_output` comes only for the streams
   * that somebody on the page listens to: a client asks the server for no other.
   */
  onEvent(fn: (event: string, payload: any) => void): () => void;
  /**
   * Take a finished task out of the list, and out of the server if it is this user's own; what has ended of its parts
   * and of the attempts before it goes with it. Resolves with whether the server has removed it; false also for a task
   * that has not ended, which stays.
   */
  dismiss(id: string | number): Promise<boolean>;
  /** Try now, or start anew after `denied`. A live connection is made anew. */
  reconnect(): void;
  /** Behave for so many milliseconds as if the network were away. */
  cut(ms: number): void;
  /** Disconnect for good. Listeners hear `closed` and then nothing more. */
  close(): void;
}

/**
 * Connect. With the options of a client of that name that is open, that one is returned; with others an `Error` is
 * thrown. Throws a `TypeError` for an unusable url.
 */
export function connect(options?: ConnectOptions): Client;

/**
 * The open client of that name, or a promise of the first one that will be. In a page with `{{ realtime_head() }}` the
 * one named `default` is connected when the page's own modules have run and none of them did.
 */
export function client(name?: string): Client | Promise<Client>;

export class RealtimeError extends Error {
  constructor(message: string, code: string);
  code: string;
}

export class TaskFailed extends RealtimeError {
  constructor(task: Task);
  task: Task;
  error: TaskError | null;
}

export class TaskCancelled extends RealtimeError {
  constructor(task: Task);
  task: Task;
}

export class TaskRemoved extends RealtimeError {
  constructor(taskId: string, task: Task | null);
  taskId: string;
  /** What was known of it last. */
  task: Task | null;
}

export class NotFound extends RealtimeError {
  constructor(taskId: string);
  taskId: string;
}

export class Denied extends RealtimeError {
  constructor(reason: Reason);
  reason: Reason;
}
