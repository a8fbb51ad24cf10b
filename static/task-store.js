/**
 * What a client knows about tasks: a pure function from what it knew and what arrived.
 *
 * The rule, and all of it: for one task id versions only grow within an epoch. So a snapshot is applied if it is of
 * the store's epoch and its version is higher than what is held and than what was removed; else it is dropped. That
 * settles reordering, duplicates, reconnects and conflation. Only `tasks_snapshot` moves the store to another epoch
 * (or to another user), and then it replaces everything. A foreign frame asks for that by `resync`, except between
 * the start of a connection and its `tasks_snapshot`: there it may be of the epoch that is about to come, so it is
 * held back and applied after, for nothing may follow a terminal state that was dropped.
 *
 * States are never changed. Their maps are persistent (`persistent-map.js`), because a copy of thousands of tasks for
 * each event would cost more than all the rest.
 *
 * @module
 */

import { earlier, instant, link, listedIn, settle, unlink } from "./attempts.js";
import { PersistentMap } from "./persistent-map.js";

/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./task-store.js").State} State */
/** @typedef {import("./task-store.js").Action} Action */
/** @typedef {import("./task-store.js").Frame} Frame */
/** @typedef {import("./task-store.js").TasksSnapshot} TasksSnapshot */

/** The last 5,000 to 10,000 removed ids are remembered: a late frame is late by seconds, not by thousands of tasks. */
const REMEMBERED = 5_000;

/** @type {State} */
export const EMPTY = Object.freeze({
  epoch: null,
  userId: null,
  synced: false,
  resync: false,
  missing: null,
  tasks: new PersistentMap(),
  listed: new PersistentMap(),
  places: new PersistentMap(),
  retries: new PersistentMap(),
  priors: new PersistentMap(),
  hidden: new PersistentMap(),
  removed: new PersistentMap(),
  removedBefore: new PersistentMap(),
  held: new PersistentMap(),
});

/**
 * @param {State} state
 * @param {Action} action
 * @returns {State} the same object when nothing changed
 */
export function reduce(state, action) {
  switch (action.type) {
    case "disconnected":
      return { ...state, synced: false, resync: false, held: EMPTY.held };
    case "snapshot":
      return applySnapshot(state, action.snapshot, action.cursors ?? {});
    case "frame":
      return applyFrame(state, action.frame);
    case "tasks":
      return action.tasks.reduce((now, task) => applyFrame(now, { task, listed: action.listed }), state);
    case "page": {
      const now = action.tasks.reduce((before, task) => applyFrame(before, { task, listed: true }, true), state);
      return { ...now, missing: action.next === null ? null : { before: action.next } };
    }
    case "gone":
      return action.epoch === state.epoch ? drop(state, action.taskIds, action.cursors) : state;
    case "forget":
      return action.taskIds.reduce((now, id) => (now.listed.has(id) ? now : without(now, id)), state);
    case "hide": {
      const task = state.tasks.get(action.taskId);
      if (!task || !isFinished(task)) return state;
      const hidden = state.hidden.set(task.task_id, task.version);
      return unlisted({ ...state, hidden }, task.task_id);
    }
  }
}

/**
 * The tasks of the viewer's list, newest first, by creation and then by id. The order never changes: a task keeps its
 * creation, and a re-created id is a new task.
 *
 * @param {State} state
 * @returns {Task[]}
 */
export function listTasks(state) {
  return newestFirst(state).map((id) => /** @type {Task} */ (state.tasks.get(id)));
}

/**
 * The ids of the viewer's list in the order in which it is worth telling the server what is held: unfinished tasks,
 * then the others, newest first. `tasks_snapshot` is bounded in the same order.
 *
 * @param {State} state
 * @returns {string[]}
 */
export function idsToRecover(state) {
  const [running, finished] = [/** @type {string[]} */ ([]), /** @type {string[]} */ ([])];
  for (const task of listTasks(state)) (isFinished(task) ? finished : running).push(task.task_id);
  return running.concat(finished);
}

/**
 * @param {State} state
 * @param {readonly string[]} ids
 * @returns {Record<string, number>} the versions of those that are held
 */
export function cursors(state, ids) {
  /** @type {Record<string, number>} */
  const versions = Object.create(null); // an id may be "__proto__"
  for (const id of ids) {
    const task = state.tasks.get(id);
    if (task) versions[id] = task.version;
  }
  return versions;
}

/**
 * @param {Task} task
 * @returns {boolean} whether it has ended: nothing follows
 */
export function isFinished(task) {
  return task.status === "completed" || task.status === "failed" || task.status === "cancelled";
}

/**
 * @param {State} state
 * @param {TasksSnapshot} snapshot
 * @param {Readonly<Record<string, number>>} sent the cursors that it answers
 * @returns {State}
 */
function applySnapshot(state, snapshot, sent) {
  const merges = snapshot.epoch === state.epoch && snapshot.user_id === state.userId;
  /** @type {State} */
  let now = {
    ...(merges ? state : EMPTY),
    epoch: snapshot.epoch,
    userId: snapshot.user_id,
    synced: true,
    resync: false,
    missing: snapshot.has_more ? { before: snapshot.next ?? null } : null,
    held: EMPTY.held,
  };
  if (merges) now = drop(now, snapshot.removed, sent);
  for (const task of snapshot.tasks) now = applyFrame(now, { task, listed: true });
  for (const frame of state.held.values()) now = applyFrame(now, frame);
  return now;
}

/**
 * @param {State} state
 * @param {Frame} frame
 * @param {boolean} [isOlder] from a page of tasks that are older than what is listed
 * @returns {State}
 */
function applyFrame(state, frame, isOlder = false) {
  const { task_id: id, epoch, version } = "task" in frame ? frame.task : frame.removed;
  if (epoch !== state.epoch) return state.synced ? resync(state) : hold(state, frame);
  const task = state.tasks.get(id);
  const isNews = version > (task?.version ?? 0) && version > removedVersion(state, id);
  if ("removed" in frame) return isNews ? remember(without(state, id), id, version) : state;
  const now = isNews ? link({ ...state, tasks: state.tasks.set(id, frame.task) }, frame.task, task) : state;
  const latest = now.tasks.get(id);
  if (!latest) return now;
  // A retry is for the same eyes as what it retries, also if this page has asked for it before it came by itself.
  const isRetry = listedIn(now, earlier(now, id)) !== undefined;
  const listed = frame.listed || isRetry || now.listed.has(id) || (now.userId !== null && latest.user === now.userId);
  return listed ? list(now, latest, isOlder) : now;
}

/**
 * @param {State} state
 * @param {Task} task one that is held
 * @param {boolean} isOlder
 * @returns {State}
 */
function list(state, task, isOlder) {
  const { task_id: id } = task;
  if ((state.hidden.get(id) ?? 0) >= task.version) return state;
  const listed = state.listed.set(id, instant(task.created_at));
  if (listed === state.listed) return settle(state, task, isOlder);
  return settle({ ...state, listed, places: state.places.delete(id) }, task, isOlder);
}

/**
 * @param {State} state
 * @param {string} id
 * @returns {State}
 */
function unlisted(state, id) {
  return { ...state, listed: state.listed.delete(id), places: state.places.delete(id) };
}

/**
 * @param {State} state
 * @param {Frame} frame
 * @returns {State} keeping the newest per id and epoch
 */
function hold(state, frame) {
  const { task_id: id, epoch, version } = "task" in frame ? frame.task : frame.removed;
  const key = `${epoch} ${id}`;
  const before = state.held.get(key);
  if (before && ("task" in before ? before.task : before.removed).version >= version) return state;
  return { ...state, held: state.held.set(key, frame) };
}

/**
 * @param {State} state
 * @returns {State}
 */
function resync(state) {
  return state.resync ? state : { ...state, resync: true };
}

/**
 * @param {State} state
 * @param {readonly string[]} ids which the server says are not there for this viewer
 * @param {Readonly<Record<string, number>>} sent what was held when it was asked; what has come since stays
 * @returns {State}
 */
function drop(state, ids, sent) {
  return ids.reduce((now, id) => {
    const task = now.tasks.get(id);
    return task && task.version <= (sent[id] ?? 0) ? without(now, id) : now;
  }, state);
}

/**
 * @param {State} state
 * @param {string} id
 * @returns {State}
 */
function without(state, id) {
  const task = state.tasks.get(id);
  return task ? unlink(unlisted({ ...state, tasks: state.tasks.delete(id) }, id), task) : state;
}

/**
 * @param {State} state
 * @param {string} id
 * @returns {number}
 */
function removedVersion(state, id) {
  return state.removed.get(id) ?? state.removedBefore.get(id) ?? 0;
}

/**
 * @param {State} state
 * @param {string} id
 * @param {number} version
 * @returns {State}
 */
function remember(state, id, version) {
  const removed = state.removed.set(id, version);
  if (removed.size < REMEMBERED) return { ...state, removed };
  return { ...state, removed: EMPTY.removed, removedBefore: removed };
}

/** @type {WeakMap<State["listed"], string[]>} The order depends on who is listed, not on how they are. */
const orders = new WeakMap();

/**
 * @param {State} state
 * @returns {string[]}
 */
function newestFirst({ listed }) {
  let order = orders.get(listed);
  if (!order) {
    order = listed
      .entries()
      .sort(([idA, a], [idB, b]) => (a === b ? (idA < idB ? -1 : 1) : a < b ? 1 : -1))
      .map(([id]) => id);
    orders.set(listed, order);
  }
  return order;
}
