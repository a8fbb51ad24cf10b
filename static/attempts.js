/**
 * Which tasks are attempts at the same thing: a retry is a task with its own id, and says whose retry it is.
 *
 * Attempts may arrive in any order, and older ones are cleared away first. So a link is kept as long as one of its two
 * tasks is held, and a listed attempt keeps the place in the list that it was given: that of the first one which was
 * known. It does not go elsewhere when the first one is cleared away.
 *
 * Pure functions over what the store knows; `task-store.js` calls them when a task comes and goes.
 *
 * @module
 */

/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./task-store.js").State} State */

/**
 * @param {State} state which holds the task by now
 * @param {Task} task
 * @param {Task | undefined} before what was held under its id
 * @returns {State}
 */
export function link(state, task, before) {
  const now = before && before.created_at !== task.created_at ? unlink(state, before) : state;
  let { retries } = now;
  if (task.retry_of) retries = retries.set(task.retry_of, task.task_id);
  if (task.retried_by && !retries.has(task.task_id)) retries = retries.set(task.task_id, task.retried_by);
  return retries === now.retries ? now : { ...now, retries };
}

/**
 * @param {State} state which holds the task no longer
 * @param {Task} task
 * @returns {State} without the links of which neither end is held
 */
export function unlink(state, task) {
  const { task_id: id, retry_of: prior } = task;
  let { retries } = state;
  if (prior && retries.get(prior) === id && state.tasks.get(prior)?.retried_by !== id) retries = retries.delete(prior);
  const next = retries.get(id);
  if (next !== undefined && state.tasks.get(next)?.retry_of !== id) retries = retries.delete(id);
  return retries === state.retries ? state : { ...state, retries };
}

/**
 * @param {State} state
 * @param {string} id
 * @returns {Generator<string>} the ids of the attempts after it, in order; not all of them need be held
 */
export function* later(state, id) {
  const seen = new Set([id]);
  let from = state.tasks.get(id);
  for (let next = state.retries.get(id); next !== undefined && !seen.has(next); next = state.retries.get(next)) {
    const task = state.tasks.get(next);
    // An id that was made anew is another task: what tried the old one again has nothing to do with it.
    if (from && task && instant(task.created_at) < instant(from.created_at)) return;
    from = task ?? from;
    seen.add(next);
    yield next;
  }
}

/**
 * Where the task stands in the list: texts compare as the times of creation do, and then by id. All attempts at one
 * thing have the same place.
 *
 * @param {State} state
 * @param {string} id one that is listed
 * @returns {string}
 */
export function placeOf(state, id) {
  return state.places.get(id) ?? `${state.listed.get(id)} ${id}`;
}

/**
 * Give a task that is listed by now its place, and those that tried it again the same.
 *
 * @param {State} state
 * @param {Task} task
 * @param {boolean} isOlder It comes with a page of older tasks: what is shown already stays where it is.
 * @returns {State}
 */
export function settle(state, task, isOlder) {
  const { task_id: id, retry_of: prior } = task;
  if (!prior && !state.retries.has(id)) return state;
  const after = [...later(state, id)].filter((each) => state.listed.has(each));
  const own = placeOf(state, id);
  const [next] = after;
  const place = prior && state.listed.has(prior) ? older(own, placeOf(state, prior)) : isOlder && next !== undefined ? placeOf(state, next) : own;
  let { places } = state;
  if (place !== own) places = places.set(id, place);
  for (const each of after) if (older(place, placeOf(state, each)) === place) places = places.set(each, place);
  return places === state.places ? state : { ...state, places };
}

/**
 * @param {string} text RFC 3339 in UTC, with or without a fraction
 * @returns {string} the same, so that texts compare as the times do
 */
export function instant(text) {
  const fraction = text.slice(20, -1);
  return `${text.slice(0, 19)}.${fraction.padEnd(9, "0")}`;
}

/** @param {string} a @param {string} b */
function older(a, b) {
  return a < b ? a : b;
}
