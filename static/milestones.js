// What a listener is told of a task: few moments, each once. Pure.
import { isFinished } from "./task-store.js";

/** @typedef {import("./realtime.js").Family} Family */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {"started" | "half" | "unanswered" | "attempt" | "completed" | "failed" | "cancelled"} Milestone */

const SHORT_SECONDS = 10;

/**
 * What happened between two snapshots of one task that deserves a sentence; the greatest of it only.
 * A first snapshot (no `before`) is how things are, not what happened: nothing. Another attempt at the task is news.
 * @param {Task | null} before @param {Task} after
 * @returns {Milestone | null}
 */
export function milestone(before, after) {
  if (!before) return null;
  const isRetry = before.task_id !== after.task_id;
  if (isRetry ? after.attempt <= before.attempt : isFinished(before)) return null;
  if (isRetry && !isFinished(after)) return "attempt";
  if (isFinished(after)) return /** @type {Milestone} */ (after.status);
  if (before.status === "pending" && after.status === "processing") return "started";
  const percent = after.progress.percent ?? 0;
  return (before.progress.percent ?? 0) < 50 && percent >= 50 && wholeRun(after) >= SHORT_SECONDS ? "half" : null;
}

/** How long the task will have run, by what is known of it now. Seconds. @param {Task} task */
function wholeRun(task) {
  const ran = (Date.parse(task.updated_at) - Date.parse(task.started_at ?? task.created_at)) / 1000;
  return ran + (task.progress.eta ?? ran);
}

/**
 * What happened between two states of a list, as somebody who watches it would say: ends and further attempts of what
 * was there, and ends of what came and went between. Older ones that a further page brings are not news, and parts are
 * told by what they are parts of.
 * @param {ReadonlyMap<string, Task>} before The newest attempts by family. @param {readonly Family[]} after
 * @returns {Array<[Milestone, Task]>}
 */
export function listNews(before, after) {
  let newest = "";
  for (const task of before.values()) if (task.created_at > newest) newest = task.created_at;
  /** @type {Array<[Milestone, Task]>} */
  const news = [];
  for (const { key, task } of after) {
    const known = before.get(key);
    if (!known) {
      if (isFinished(task) && task.created_at > newest) news.push([/** @type {Milestone} */ (task.status), task]);
      continue;
    }
    const happened = milestone(known, task);
    if (happened === "attempt" || (happened && isFinished(task))) news.push([happened, task]);
  }
  return news;
}

/** The newest attempts by family, parts too. @param {readonly Family[]} families @param {Map<string, Task>} [into] */
export function newestAttempts(families, into = new Map()) {
  for (const { key, task, parts } of families) newestAttempts(parts, into.set(key, task));
  return into;
}
