// What a listener is told of a task: few moments, each once. Pure.
import { isFinished } from "./task-store.js";

/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {"started" | "half" | "unanswered" | "completed" | "failed" | "cancelled"} Milestone */

const SHORT_SECONDS = 10;

/**
 * What happened between two snapshots of one task that deserves a sentence; the greatest of it only.
 * A first snapshot (no `before`) is how things are, not what happened: nothing.
 * @param {Task | null} before @param {Task} after
 * @returns {Milestone | null}
 */
export function milestone(before, after) {
  if (!before || before.task_id !== after.task_id || isFinished(before)) return null;
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
 * The tasks that ended between two states of a list, as somebody who watches it would say: those that ran before,
 * and those that came and went between. Older ones that a further page brings are not news.
 * @param {ReadonlyMap<string, Task>} before @param {readonly Task[]} after
 * @returns {Task[]}
 */
export function newEnds(before, after) {
  let newest = "";
  for (const task of before.values()) if (task.created_at > newest) newest = task.created_at;
  return after.filter((task) => {
    if (!isFinished(task)) return false;
    const known = before.get(task.task_id);
    return known ? !isFinished(known) : task.created_at > newest;
  });
}
