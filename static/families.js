/**
 * What a list shows as one: the attempts at a thing as the newest of them, with the parts of it under it; those of the
 * attempts before it only while they run, since the newest does not count them.
 *
 * Who belongs to whom depends on who is listed, not on how they are; so that is worked out once per change of the list.
 *
 * @module
 */

import { placeOf } from "./attempts.js";

/** @typedef {import("./realtime.js").Family} Family */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./task-store.js").State} State */
/** @typedef {{key: string, made: string, ids: string[], parts: Shape[], of: string | null, parent: Shape | undefined, orphan: boolean}} Shape */

/** The server allows eight levels; deeper than this is no tree. */
const DEEPEST = 32;
/** Characters of a place that are the time of creation. */
const INSTANT = 29;

/** @type {WeakMap<State["listed"], {places: State["places"], shapes: Shape[]}>} */
const known = new WeakMap();

/**
 * @param {State} state
 * @param {boolean} [loading] The rest of the list is on its way, and with it perhaps what finished parts are parts of.
 * @returns {Family[]} newest first, each in the place of its first attempt; parts in the order of their creation
 */
export function listFamilies(state, loading = false) {
  const shapes = shapesOf(state);
  const shown = loading ? shapes.filter(({ orphan, ids }) => !orphan || !state.tasks.get(ids.at(-1) ?? "")?.completed_at) : shapes;
  return shown.map((shape) => familyOf(state, shape));
}

/**
 * Those of the families that match, and in the place of one that does not, the parts of it that do.
 *
 * @param {readonly Family[]} families
 * @param {(task: Task) => boolean} matches
 * @returns {Family[]}
 */
export function matching(families, matches) {
  return families.flatMap((family) => (matches(family.task) ? [family] : matching(family.parts, matches).reverse()));
}

/**
 * What goes when a finished task goes: its parts and the attempts before it, as far as they have ended.
 *
 * @param {State} state
 * @param {string} id
 * @param {(task: Task) => boolean} isFinished
 * @returns {string[]} without the task itself; parts first, so that nobody sees them without what they are parts of
 */
export function relatives(state, id, isFinished) {
  const shape = find(shapesOf(state), id);
  if (!shape) return [];
  const at = shape.ids.indexOf(id);
  const parts = at === shape.ids.length - 1 ? shape.parts.flatMap(everyId) : [];
  return [...parts, ...shape.ids.slice(0, at)].filter((each) => {
    const task = state.tasks.get(each);
    return task !== undefined && isFinished(task);
  });
}

/**
 * @param {State} state
 * @param {Shape} shape
 * @returns {Family}
 */
function familyOf(state, { key, ids, parts }) {
  const attempts = ids.map((id) => /** @type {Task} */ (state.tasks.get(id)));
  const task = /** @type {Task} */ (attempts.at(-1));
  const shown = parts.filter((part) => part.of === task.task_id || isUnfinished(state, part));
  return { key, task, attempts, parts: shown.map((part) => familyOf(state, part)) };
}

/**
 * @param {State} state
 * @param {Shape} shape
 * @returns {boolean} whether it, or one of its own parts, has not ended
 */
function isUnfinished(state, { ids, parts }) {
  return !state.tasks.get(ids.at(-1) ?? "")?.completed_at || parts.some((part) => isUnfinished(state, part));
}

/** @param {State} state */
function shapesOf(state) {
  const before = known.get(state.listed);
  if (before?.places === state.places) return before.shapes;
  const shapes = arrange(state);
  known.set(state.listed, { places: state.places, shapes });
  return shapes;
}

/**
 * @param {State} state
 * @returns {Shape[]}
 */
function arrange(state) {
  /** @type {Map<string, Shape>} */
  const byPlace = new Map();
  /** @type {Map<string, Shape>} */
  const byId = new Map();
  /** @type {Shape[]} */
  const order = [];
  const shared = state.places.size > 0; // few lists have attempts; the others need not be searched for them
  for (const [id, created] of state.listed.entries()) {
    const key = shared ? placeOf(state, id) : `${created} ${id}`;
    let shape = shared ? byPlace.get(key) : undefined;
    if (!shape) {
      order.push((shape = { key, made: key.slice(0, INSTANT), ids: [], parts: [], of: null, parent: undefined, orphan: false }));
      if (shared) byPlace.set(key, shape);
    }
    shape.ids.push(id);
    byId.set(id, shape);
  }
  order.sort(newerFirst);
  const attempt = (/** @type {string} */ id) => state.tasks.get(id)?.attempt ?? 1;
  for (const shape of order) {
    if (shape.ids.length > 1) shape.ids.sort((a, b) => attempt(a) - attempt(b));
    const parent = state.tasks.get(shape.ids.at(-1) ?? "")?.parent_id;
    if (!parent) continue;
    shape.of = parent;
    shape.parent = byId.get(parent);
    shape.orphan = !shape.parent;
  }
  const tops = order.filter(isTop);
  for (const shape of order.reverse()) if (!isTop(shape)) shape.parent?.parts.push(shape);
  return tops;
}

/**
 * By creation, and then by id, as the list of tasks.
 *
 * @param {Shape} a
 * @param {Shape} b
 */
function newerFirst(a, b) {
  return a.made === b.made ? (a.key < b.key ? -1 : 1) : a.made < b.made ? 1 : -1;
}

/** @param {Shape} shape */
function isTop(shape) {
  if (!shape.parent) return true;
  let depth = 0;
  for (let at = shape.parent; at.parent; at = at.parent) {
    depth += 1;
    if (depth > DEEPEST) return true; // they are in a ring: better each by itself than none at all
  }
  return false;
}

/**
 * @param {readonly Shape[]} shapes
 * @param {string} id
 * @returns {Shape | undefined}
 */
function find(shapes, id) {
  for (const shape of shapes) {
    const found = shape.ids.includes(id) ? shape : find(shape.parts, id);
    if (found) return found;
  }
  return undefined;
}

/**
 * @param {Shape} shape
 * @returns {string[]}
 */
function everyId({ ids, parts }) {
  return [...parts.flatMap(everyId), ...ids];
}
