// The elements' words. English is built in; setStrings() adds a language or changes single sentences.
//
// A text may hold {places}. A text that depends on a count is an object of plural forms
// ({one: "…", other: "…"}, by Intl.PluralRules), chosen by the value named `count`.

/** @typedef {string | Readonly<Record<string, string>>} Text */

/** @type {Readonly<Record<string, Text>>} */
const ENGLISH = Object.freeze({
  "job": "Job {id}",
  "figure.pending": "Waiting",
  "figure.cancelling": "Cancelling",
  "figure.completed": "Done",
  "figure.failed": "Failed",
  "figure.cancelled": "Cancelled",
  "figure.unknown": "Not found",

  "words.pending": "Waiting for a free worker.",
  "words.processing": "In progress.",
  "words.quiet": "Still working.",
  "words.quiet.more": "No progress for {time}.",
  "words.stalled": "No word from the job for {time}.",
  "words.stalled.more": "It fails if it stays silent.",
  "words.lost": "Last known, {time} ago.",
  "words.cancelling": "Asked the job to stop. It stops at its next step.",
  "words.cancelling.stalled": "Asked the job to stop.",
  "words.cancelling.acknowledged": "The job is stopping.",
  "words.cancelling.unanswered": "Asked to stop {time} ago; the job has not answered.",
  "words.cancelled.at": "Stopped at {percent}.",
  "words.cancelled.after": "Stopped after {time}.",
  "words.cancelled.before": "Stopped before it started.",
  "words.failed": "The job failed and gave no reason.",
  "words.worker_lost": "The job’s worker went away and did not come back. Start it again.",
  "words.unknown": "It may have ended and been cleared, or you may not watch it.",
  "words.refused": "It could not be cancelled.",
  "result.open": "Open the result",
  "details": "Technical details",

  "meta.attempt": "Attempt {n}",
  "meta.unstarted": "not started",
  "meta.stopped": "stopped at {percent}",
  "meta.of": "{current} of {total}",
  "meta.of.unit": "{current} of {total} {unit}",
  "meta.count.unit": "{current} {unit}",
  "meta.so_far": "{amount} so far",
  "meta.rate": "{amount}/s",
  "meta.rate.minute": "{amount}/min",
  "meta.left": "about {time} left",
  "time.asked": "asked {time} ago",
  "time.started": "started {time} ago",
  "time.after": "{clock}, after {time}",
  "parts.completed": { one: "{done} of {count} part done", other: "{done} of {count} parts done" },
  "parts.show": "Show parts",
  "parts.hide": "Hide parts",
  "parts.of": "Parts of {name}",
  "parts.failed": { one: "{count} failed", other: "{count} failed" },
  "parts.cancelled": { one: "{count} cancelled", other: "{count} cancelled" },
  "unit.kib": "{n} KiB",
  "unit.s": "{n} s",
  "unit.min": "{n} min",
  "unit.h": "{n} h",
  "unit.d": "{n} d",

  "cancel": "Cancel",
  "dismiss": "Dismiss {name}",

  "list.empty": "No jobs yet.",
  "list.empty.more": "Start one, and it appears here while it runs.",
  "list.empty.running": "Nothing is running.",
  "list.empty.finished": "Nothing has finished yet.",
  "list.running": "{count} running",
  "list.finished": "{count} finished",
  "list.both": "{running}, {finished}",
  "list.clear": "Clear finished",
  "list.more": "Show more",

  "output.of": "Output of {name}",
  "output.of.stream": "Output “{stream}” of {name}",
  "output.none": "No output.",
  "output.none.yet": "No output yet.",
  "output.gone": "Earlier output is gone ({size} kept).",
  "output.missing": "{size} of output is missing here.",
  "output.new": { one: "{count} new line", other: "{count} new lines" },
  "output.new.text": "New text",
  "output.announce": "Announce new lines",

  "connection.connecting": "Connecting…",
  "connection.live": "Live",
  "connection.stale": "Delayed",
  "connection.offline": "Not connected",
  "connection.denied": "Not signed in",
  "connection.closed": "Closed",
  "connection.refused": "Refused",
  "banner.offline": "Connection lost.",
  "banner.offline.more": "Showing what was known.",
  "banner.next": "Next try in {time}.",
  "banner.trying": "Trying now…",
  "banner.back": "Connected again.",
  "banner.stale": "News is delayed.",
  "banner.stale.more": "The server cannot reach its task store. This page catches up by itself.",
  "banner.denied": "Not signed in.",
  "banner.denied.more": "Sign in again to see your jobs.",
  "banner.refused": "Not allowed here.",
  "banner.closed": "Connection closed.",
  "banner.closed.more": "Showing what was known.",
  "banner.retry": "Try now",
  "banner.sign_in": "Sign in",

  "say.started": "{name}: started",
  "say.half": "{name}: half done",
  "say.attempt": "{name}: attempt {n}",
  "say.unanswered": "{name}: asked to stop; the job has not answered.",
  "say.completed": "{name}: done.",
  "say.failed": "{name}: failed.",
  "say.cancelled": "{name}: cancelled",
  "say.many.completed": { one: "{count} job done", other: "{count} jobs done" },
  "say.many.failed": { one: "{count} failed", other: "{count} failed" },
  "say.many.attempt": { one: "{count} tried again", other: "{count} tried again" },
  "say.many.cancelled": { one: "{count} cancelled", other: "{count} cancelled" },
  "say.current": "News is no longer delayed.",
  "say.meanwhile": { one: "{count} job finished meanwhile.", other: "{count} jobs finished meanwhile." },
});

/** @type {Map<string, Readonly<Record<string, Text>>>} */
const tables = new Map([["en", ENGLISH]]);
/** @type {Map<string, Words>} */
const known = new Map();
/** @type {Set<() => void>} */
const listeners = new Set();

/** The sentences of one language, and the locale by which numbers are written beside them. */
export class Words {
  /** @param {string} locale @param {Readonly<Record<string, Text>>} table */
  constructor(locale, table) {
    this.locale = locale;
    this.table = table;
    this.plural = new Intl.PluralRules(locale);
    this.integer = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  }

  /**
   * A sentence with its places filled. A text that the language lacks is said in English.
   * @param {string} key @param {Record<string, string | number>} [values] `count` also chooses the plural form.
   * @returns {string}
   */
  say(key, values = {}) {
    const text = this.table[key] ?? ENGLISH[key] ?? key;
    const count = values.count;
    const form = typeof text === "string" ? text : text[typeof count === "number" ? this.plural.select(count) : "other"] ?? text.other ?? "";
    // One pass: a value that itself looks like a {place} is left as it is.
    return form.replace(/\{(\w+)\}/g, (place, name) => {
      const value = values[name];
      return value === undefined ? place : typeof value === "number" ? this.integer.format(value) : value;
    });
  }
}

/**
 * The words for a language tag: its own table, its base language's, else English. Numbers follow the words,
 * so that no line mixes two languages.
 * @param {string} [lang] A BCP 47 tag such as `de-AT`; anything else is English.
 * @returns {Words}
 */
export function words(lang = "en") {
  const tag = lang.toLowerCase();
  let found = known.get(tag);
  if (!found) {
    const base = tag.split("-", 1)[0] ?? "en";
    const table = tables.get(tag) ?? tables.get(base);
    try {
      found = new Words(table ? tag : "en", table ?? ENGLISH);
    } catch {
      found = new Words("en", ENGLISH); // not a language tag
    }
    known.set(tag, found);
  }
  return found;
}

/**
 * Add or change sentences of a language; elements on the page repaint. Several calls add up.
 * @param {string} lang A BCP 47 tag: `de`, `pt-BR`.
 * @param {Readonly<Record<string, Text>>} table Sentences by key; keys that are left out stay as they are.
 */
export function setStrings(lang, table) {
  const tag = lang.toLowerCase();
  const base = tables.get(tag) ?? tables.get(tag.split("-", 1)[0] ?? "en") ?? ENGLISH;
  tables.set(tag, Object.freeze({ ...base, ...table }));
  known.clear();
  for (const listener of [...listeners]) listener();
}

/** Call `listener` after each setStrings. @param {() => void} listener @returns {() => void} The way to stop. */
export function onStrings(listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
