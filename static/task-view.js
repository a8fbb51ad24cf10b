// What a card shows: a pure function of a snapshot, the connection and the time. The element only paints it.
//
// The order of the questions is the design: an end is an end whatever the connection does; while this page is cut
// off it cannot know anything newer; then what was asked of the job, then its silence, then its progress.
import * as format from "./format.js";
import { Words } from "./strings.js";
import { isFinished } from "./task-store.js";

/** @typedef {import("./realtime.js").Task} Task */

/**
 * @typedef {"loading" | "pending" | "processing" | "quiet" | "stalled" | "lost" | "cancelling" | "completed" | "failed"
 *   | "cancelled" | "unknown"} CardState
 */

/**
 * @typedef {object} Situation
 * @property {Words} words
 * @property {string} taskId
 * @property {string | null} [label] The page's name for the task; goes before the task's own.
 * @property {boolean} answered Whether the server has answered. Without a task: it has none, or not for this viewer.
 * @property {string} connection The client's state: `live`, `stale`, `offline`, …
 * @property {number} since Milliseconds since 1970, this page's clock: when that state began.
 * @property {number} now Milliseconds since 1970, this page's clock.
 * @property {number} [skew] Milliseconds that the server's clock is ahead of this page's.
 * @property {string | null} viewer Who watches. Cancelling is for the owner.
 * @property {number} [quietAfter] Seconds without progress until a running task counts as quiet; 0 = never.
 * @property {string} [base] The page's address, for relative links.
 */

/**
 * @typedef {object} TaskView
 * @property {CardState} state
 * @property {string} name
 * @property {boolean} busy Running and heard of: a screen reader is told "In progress."
 * @property {{text: string, word: boolean}} figure `word` = it says something that the bar does not.
 * @property {{strong: string, text: string} | null} words
 * @property {{text: string, url: string, label: string} | null} result
 * @property {{text: string, details: Array<[string, string]>} | null} error
 * @property {{value: number | null, silent: boolean} | null} bar `value` 0–100, null = no total; `silent` = hidden from assistive technology.
 * @property {string[]} meta
 * @property {{text: string, datetime: string, title: string} | null} time
 * @property {"cancel" | "dismiss" | null} action
 * @property {boolean} disabled The action cannot be taken now.
 * @property {boolean} unanswered It was asked to stop a while ago, and has not even said that it heard.
 * @property {boolean} ticking The text changes as time passes.
 */

/** Seconds: a job that has not answered by then may never do. */
const ANSWER_WITHIN = 10;

/** @param {Task | null} task @param {Situation} at @returns {TaskView} */
export function taskView(task, at) {
  const { words } = at;
  const state = cardState(task, at);
  /** @type {TaskView} */
  const view = {
    state,
    name: taskName(task, at),
    busy: state === "processing",
    figure: { text: "", word: true },
    words: null,
    result: null,
    error: null,
    bar: null,
    meta: [],
    time: null,
    action: null,
    disabled: false,
    unanswered: false,
    ticking: false,
  };
  if (!task) return state === "unknown" ? unknown(view, words) : loading(view, at);

  // Once cut off, nothing that is counted here may go on: the clock of the job stops where the news stopped.
  const now = (state === "lost" ? at.since : at.now) + (at.skew ?? 0);
  const percent = task.progress.percent;
  view.bar = { value: percent === null ? null : format.wholePercent(percent), silent: false };
  if (isFinished(task)) ended(view, task, now, at);
  else running(view, task, now, at);
  view.meta.unshift(...lineage(task, words));
  return view;
}

/** @param {TaskView} view @param {Task} task @param {number} now @param {Situation} at */
function running(view, task, now, at) {
  const { words } = at;
  const { state } = view;
  view.ticking = true;
  view.action = task.cancellable && task.user !== null && task.user === at.viewer ? "cancel" : null;
  view.disabled = state === "lost" || state === "cancelling";
  view.figure = figure(task, state, now, words);
  view.unanswered = state === "cancelling" && isUnanswered(task, now);
  view.words = runningWords(task, state, now, at);
  if (view.bar) view.bar.silent = task.status === "pending";
  view.meta = runningMeta(task, state, now, words);
  view.time = runningTime(task, state, now, words);
}

/** @param {Task | null} task @param {Situation} at @returns {CardState} */
export function cardState(task, at) {
  if (!task) return at.answered ? "unknown" : "loading";
  if (isFinished(task)) return /** @type {CardState} */ (task.status);
  if (at.connection !== "live") return "lost";
  if (task.cancel_requested_at) return "cancelling";
  if (task.stalled_since) return "stalled";
  if (task.status === "pending") return "pending";
  const quietAfter = at.quietAfter ?? 60;
  return quietAfter > 0 && since(task.updated_at, at.now + (at.skew ?? 0)) >= quietAfter ? "quiet" : "processing";
}

/** @param {Task | null} task @param {{label?: string | null, taskId: string, words: Words}} at */
export function taskName(task, at) {
  const id = at.taskId.length <= 24 ? at.taskId : `${at.taskId.slice(0, 8)}…`;
  return at.label || task?.name || at.words.say("job", { id });
}

/**
 * The words that a result has for people: the text itself, or `message`, `url`, `label` of an object.
 * @param {Task} task @param {string} [base] The page's address.
 * @returns {{text: string, url: string, label: string}} Empty texts where it has none.
 */
export function resultWords(task, base) {
  const { result } = task;
  if (typeof result === "string" || typeof result === "number") return { text: String(result), url: "", label: "" };
  const { message, url, label } = /** @type {Record<string, unknown>} */ (isObject(result) ? result : {});
  return { text: text(message), url: safeUrl(url, base), label: text(label) };
}

/** @param {Task} task @param {Words} words @returns {string} */
export function errorWords(task, words) {
  // The server's own words for this are in English; ours can be translated.
  if (task.error?.code === "worker_lost") return words.say("words.worker_lost");
  return task.error?.message || words.say("words.failed");
}

/**
 * A link that is safe to follow: http, https or relative to the page; else nothing.
 * @param {unknown} url @param {string} [base]
 * @returns {string} The link as it was given, or "".
 */
export function safeUrl(url, base = "http://localhost/") {
  if (typeof url !== "string" || !url) return "";
  try {
    return ["http:", "https:"].includes(new URL(url, base).protocol) ? url : "";
  } catch {
    return "";
  }
}

/** @param {TaskView} view @param {Words} words */
function unknown(view, words) {
  view.figure.text = words.say("figure.unknown");
  view.words = { strong: "", text: words.say("words.unknown") };
  return view;
}

/** @param {TaskView} view @param {Situation} at */
function loading(view, at) {
  const key = { offline: "banner.offline", denied: "banner.denied", closed: "banner.closed" }[at.connection] ?? "connection.connecting";
  view.words = { strong: "", text: at.words.say(key) };
  view.bar = { value: 0, silent: true };
  return view;
}

/** @param {TaskView} view @param {Task} task @param {number} now @param {Situation} at */
function ended(view, task, now, at) {
  const { words } = at;
  const { percent } = task.progress;
  const start = task.started_at ?? task.created_at;
  const took = Math.max(0, (Date.parse(task.completed_at ?? task.updated_at) - Date.parse(start)) / 1000);
  view.figure.text = words.say(`figure.${task.status}`);
  view.action = "dismiss";
  view.bar = { value: format.wholePercent(percent ?? 0), silent: true };
  const done = countOf(task, words);
  if (task.status === "completed") {
    const result = resultWords(task, at.base);
    view.bar.value = 100;
    view.result = { ...result, label: result.label || words.say("result.open") };
    view.meta = [format.lasted(words, took), averageRate(task, took, words)].filter(isText);
  } else if (task.status === "failed") {
    view.error = { text: errorWords(task, words), details: details(task) };
    view.meta = [done ?? (percent === null || countsParts(task) ? null : words.say("meta.stopped", { percent: format.percent(words, percent) }))].filter(isText);
  } else {
    view.words = { strong: "", text: cancelledWords(task, took, words) };
    view.meta = [done].filter(isText);
  }
  const end = task.completed_at ?? task.updated_at;
  const time = format.timeOfDay(words, Date.parse(end), now);
  const shown = task.status === "failed" ? words.say("time.after", { clock: time, time: format.lasted(words, took) }) : time;
  view.time = stamp(shown, end, words);
}

/**
 * What it is to other tasks: which attempt, and how its parts stand.
 * @param {Task} task @param {Words} words @returns {string[]}
 */
function lineage(task, words) {
  const shown = [];
  if (task.attempt > 1) shown.push(words.say("meta.attempt", { n: task.attempt }));
  const { children } = task;
  if (children && children.total > 0) {
    const { total, completed, failed, cancelled } = children;
    const parts = [words.say("parts.completed", { count: total, done: completed })];
    if (failed) parts.push(words.say("parts.failed", { count: failed }));
    if (cancelled) parts.push(words.say("parts.cancelled", { count: cancelled }));
    shown.push(parts.join(", "));
  }
  return shown;
}

/** Whether its count is only that of its parts, by the server; that is told in other words. @param {Task} task */
function countsParts({ children, progress }) {
  if (!children || progress.unit !== "tasks") return false;
  return progress.total === children.total && progress.current === children.completed + children.failed + children.cancelled;
}

/**
 * A task with parts may have no job of its own that could answer: it stops when they have.
 * @param {Task} task @param {number} now
 */
function isUnanswered(task, now) {
  const asked = task.cancel_requested_at;
  return asked !== null && !task.cancel_acknowledged_at && !task.stalled_since && !task.children && since(asked, now) >= ANSWER_WITHIN;
}

/** @param {Task} task @param {CardState} state @param {number} now @param {Words} words */
function figure(task, state, now, words) {
  const word = task.status === "pending" ? "pending" : state === "cancelling" ? "cancelling" : null;
  if (word) return { text: words.say(`figure.${word}`), word: true };
  const { percent } = task.progress;
  const shown = percent === null ? format.clock(words, since(task.started_at ?? task.created_at, now)) : format.percent(words, percent);
  return { text: shown, word: false };
}

/** @param {Task} task @param {CardState} state @param {number} now @param {Situation} at */
function runningWords(task, state, now, at) {
  const { words } = at;
  const silence = () => format.span(words, since(task.stalled_since ?? task.updated_at, now));
  const stalled = () => words.say("words.stalled", { time: silence() });
  switch (state) {
    case "lost":
      // On this page's clock alone: how long it has been cut off.
      return { strong: "", text: words.say("words.lost", { time: format.span(words, (at.now - at.since) / 1000) }) };
    case "cancelling":
      return task.stalled_since
        ? { strong: words.say("words.cancelling.stalled"), text: stalled() }
        : { strong: "", text: cancellingWords(task, now, words) };
    case "stalled":
      return { strong: stalled(), text: words.say("words.stalled.more") };
    case "quiet":
      return { strong: words.say("words.quiet"), text: words.say("words.quiet.more", { time: silence() }) };
    case "pending":
      return { strong: "", text: words.say("words.pending") };
    default:
      return { strong: "", text: task.progress.message ?? "" };
  }
}

/** Asked, heard, or neither of it for too long. @param {Task} task @param {number} now @param {Words} words */
function cancellingWords(task, now, words) {
  if (task.cancel_acknowledged_at) return words.say("words.cancelling.acknowledged");
  if (!isUnanswered(task, now)) return words.say("words.cancelling");
  return words.say("words.cancelling.unanswered", { time: format.span(words, since(task.cancel_requested_at ?? "", now)) });
}

/** @param {Task} task @param {CardState} state @param {number} now @param {Words} words */
function runningMeta(task, state, now, words) {
  if (task.status === "pending") return [words.say("meta.unstarted")];
  const { rate, eta, unit } = task.progress;
  const counted = countOf(task, words);
  if (state !== "processing") return [counted].filter(isText); // a speed or a guess would be of another time
  const remaining = eta === null ? null : eta - since(task.updated_at, now);
  return [
    counted,
    rate === null || countsParts(task) ? null : format.rate(words, rate, unit),
    remaining !== null && remaining > 0 ? format.left(words, remaining) : null,
  ].filter(isText);
}

/** @param {Task} task @param {CardState} state @param {number} now @param {Words} words */
function runningTime(task, state, now, words) {
  const asked = state === "cancelling" ? task.cancel_requested_at : task.started_at ? null : task.created_at;
  const start = asked ?? task.started_at ?? task.created_at;
  return stamp(words.say(asked ? "time.asked" : "time.started", { time: format.span(words, since(start, now)) }), start, words);
}

/** @param {Task} task @param {number} took @param {Words} words */
function cancelledWords(task, took, words) {
  if (!task.started_at) return words.say("words.cancelled.before");
  const { percent } = task.progress;
  return percent === null
    ? words.say("words.cancelled.after", { time: format.lasted(words, took) })
    : words.say("words.cancelled.at", { percent: format.percent(words, percent) });
}

/** @param {Task} task @param {Words} words @returns {string | null} */
function countOf(task, words) {
  const { current, total, unit } = task.progress;
  if (current === null || (current === 0 && total === null) || countsParts(task)) return null;
  return format.count(words, current, total, unit);
}

/**
 * Over the whole run; a run of a moment has no speed worth telling.
 * @param {Task} task @param {number} took Seconds. @param {Words} words
 */
function averageRate(task, took, words) {
  const { current, unit } = task.progress;
  return current !== null && took >= 1 && !countsParts(task) ? format.rate(words, current / took, unit) : null;
}

/** @param {Task} task @returns {Array<[string, string]>} */
function details(task) {
  const { code, type, details: more } = task.error ?? {};
  const entries = isObject(more) && !Array.isArray(more) ? Object.entries(more) : isNothing(more) ? [] : [["details", more]];
  // "failed" is the code of an error that has none of its own, and "worker_lost" is said in words.
  const rows = [["code", code === "failed" || code === "worker_lost" ? null : code], ...entries, ["type", type]];
  return rows.filter(([, value]) => !isNothing(value)).map(([key, value]) => [String(key), typeof value === "string" ? value : JSON.stringify(value)]);
}

/** @param {string} shown @param {string} at @param {Words} words */
function stamp(shown, at, words) {
  return { text: shown, datetime: at, title: format.wholeTime(words, Date.parse(at)) };
}

/** Seconds, never below zero: two clocks may disagree by a little. @param {string} from @param {number} now */
function since(from, now) {
  return Math.max(0, (now - Date.parse(from)) / 1000);
}

/** @param {unknown} value @returns {string} */
function text(value) {
  return typeof value === "string" ? value : "";
}

/** @param {string | null | undefined} value @returns {value is string} */
function isText(value) {
  return Boolean(value);
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isObject(value) {
  return typeof value === "object" && value !== null;
}

/** @param {unknown} value */
function isNothing(value) {
  return value === null || value === undefined;
}
