/**
 * Which tasks are attempts at the same thing: a retry is a task with its own id, and says whose retry it is.
 *
 * Attempts may arrive in any order, and older ones are cleared away first. So a link is kept as long as one of its two
 * tasks is held: an attempt that is missing in the middle does not part those on its sides. And a listed attempt keeps the place in the list that it was given: that of the first one which was
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
  const { task_id: id, retry_of: prior, retried_by: next } = task;
  const says = before?.retry_of === prior && before?.retried_by === next;
  const now = before && !says ? unlink(state, before) : state;
  let { retries, priors } = now;
  // What a task says of what it tries again goes before what others say of it.
  if (prior) [retries, priors] = [retries.set(prior, id), priors.set(id, prior)];
  if (next && !retries.has(id)) retries = retries.set(id, next);
  if (next && !priors.has(next)) priors = priors.set(next, id);
  return retries === now.retries && priors === now.priors ? now : { ...now, retries, priors };
}

/**
 * @param {State} state which holds the task no longer
 * @param {Task} task
 * @returns {State} without the links of which neither end is held
 */
export function unlink(state, task) {
  const { task_id: id, retry_of: prior, retried_by: next } = task;
  const links = [[prior, id], [state.priors.get(id), id], [id, next], [id, state.retries.get(id)]];
  let { retries, priors } = state;
  for (const [from, to] of links) {
    if (!from || !to || state.tasks.get(from)?.retried_by === to || state.tasks.get(to)?.retry_of === from) continue;
    if (retries.get(from) === to) retries = retries.delete(from);
    if (priors.get(to) === from) priors = priors.delete(to);
  }
  return retries === state.retries && priors === state.priors ? state : { ...state, retries, priors };
}

/**
 * @param {State} state
 * @param {string} id
 * @returns {Generator<string>} the ids of the attempts after it, in order; not all of them need be held
 */
export function later(state, id) {
  return along(state, id, state.retries, follows);
}

/**
 * @param {State} state
 * @param {string} id
 * @returns {Generator<string>} the ids of the attempts before it, the last first; not all of them need be held
 */
export function earlier(state, id) {
  return along(state, id, state.priors, (task, from) => follows(from, task));
}

/**
 * @param {State} state
 * @param {string} id
 * @param {State["retries"]} links
 * @param {(task: Task, from: Task) => boolean} isNext whether it can be the next one on this way
 * @returns {Generator<string>}
 */
function* along(state, id, links, isNext) {
  const seen = new Set([id]); // of tasks that are not held nobody knows whether they go round
  let from = state.tasks.get(id);
  for (let next = links.get(id); next !== undefined && !seen.has(next); next = links.get(next)) {
    const task = state.tasks.get(next);
    if (from && task && !isNext(task, from)) return;
    from = task ?? from;
    seen.add(next);
    yield next;
  }
}

/**
 * An id that was made anew is another task: what tried the old one again has nothing to do with it.
 *
 * @param {Task} task
 * @param {Task} from
 */
function follows(task, from) {
  return task.attempt > from.attempt && instant(task.created_at) >= instant(from.created_at);
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
  const { task_id: id } = task;
  if (!state.priors.has(id) && !state.retries.has(id)) return state;
  const own = placeOf(state, id);
  const [prior, next] = [listedIn(state, earlier(state, id)), listedIn(state, later(state, id))];
  const place = prior !== undefined ? older(own, placeOf(state, prior)) : isOlder && next !== undefined ? placeOf(state, next) : own;
  let { places } = state;
  if (place !== own) places = places.set(id, place);
  if (next !== undefined && place < placeOf(state, next)) {
    for (const each of later(state, id)) if (state.listed.has(each)) places = places.set(each, place);
  } // else they are in that place already
  return places === state.places ? state : { ...state, places };
}

/**
 * @param {State} state
 * @param {Iterable<string>} ids
 * @returns {string | undefined} the first of them that is listed; those between may be gone
 */
export function listedIn(state, ids) {
  for (const id of ids) if (state.listed.has(id)) return id;
  return undefined;
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
