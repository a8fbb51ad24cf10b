/** What the promises of a client are rejected with. Each has a stable `code`. @module */

/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./realtime.js").TaskError} TaskError */
/** @typedef {import("./realtime.js").Reason} Reason */

/** The root. `code` is the server's, or `offline`, `timeout`, `closed` of the client's own. */
export class RealtimeError extends Error {
  /**
   * @param {string} message
   * @param {string} code
   */
  constructor(message, code) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The task ended `failed`. */
export class TaskFailed extends RealtimeError {
  /** @param {Task} task */
  constructor(task) {
    super(task.error?.message || "The task failed.", task.error?.code ?? "failed");
    this.task = task;
    /** @type {TaskError | null} */
    this.error = task.error;
  }
}

/** The task ended `cancelled`. */
export class TaskCancelled extends RealtimeError {
  /** @param {Task} task */
  constructor(task) {
    super("The task was cancelled.", "cancelled");
    this.task = task;
  }
}

/** The task was there and left, and nobody can tell any more how it ended. */
export class TaskRemoved extends RealtimeError {
  /**
   * @param {string} taskId
   * @param {Task | null} task what was known of it last
   */
  constructor(taskId, task) {
    super(`The task "${taskId}" was removed.`, "removed");
    this.taskId = taskId;
    this.task = task;
  }
}

/** There is no such task, or it is not for this viewer to see: the two look alike. */
export class NotFound extends RealtimeError {
  /** @param {string} taskId */
  constructor(taskId) {
    super(`No task "${taskId}" is known, or you may not watch it.`, "not_found");
    this.taskId = taskId;
  }
}

/** The server refused this client, and it has stopped. */
export class Denied extends RealtimeError {
  /** @param {Reason} reason */
  constructor(reason) {
    super(reason.message, reason.code);
    this.reason = reason;
  }
}
