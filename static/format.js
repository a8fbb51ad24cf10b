// Numbers, amounts and times as people read them. Pure; everything goes through Intl in the words' locale.
import { Words } from "./strings.js";

const BYTES = Object.freeze(["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"]);
const BYTE_UNITS = new Set(["B", "byte", "bytes"]);
const SECOND_UNITS = new Set(["s", "sec", "second", "seconds"]);

/** @type {Map<string, Intl.NumberFormat | Intl.DateTimeFormat>} */
const cache = new Map();

/**
 * @param {Words} words @param {Intl.NumberFormatOptions} options
 * @returns {Intl.NumberFormat}
 */
function numberFormat(words, options) {
  const key = `n ${words.locale} ${JSON.stringify(options)}`;
  let found = cache.get(key);
  if (!found) cache.set(key, (found = new Intl.NumberFormat(words.locale, options)));
  return /** @type {Intl.NumberFormat} */ (found);
}

/**
 * @param {Words} words @param {Intl.DateTimeFormatOptions} options
 * @returns {Intl.DateTimeFormat}
 */
function dateFormat(words, options) {
  const key = `d ${words.locale} ${JSON.stringify(options)}`;
  let found = cache.get(key);
  if (!found) cache.set(key, (found = new Intl.DateTimeFormat(words.locale, options)));
  return /** @type {Intl.DateTimeFormat} */ (found);
}

/** @param {Words} words @param {number} n @param {number} [digits] At most so many decimals. */
export function number(words, n, digits = 0) {
  return numberFormat(words, { maximumFractionDigits: digits }).format(n);
}

/**
 * A whole percent: nothing reads 100% before it is.
 * @param {Words} words @param {number} value 0–100
 */
export function percent(words, value) {
  return numberFormat(words, { style: "percent", maximumFractionDigits: 0 }).format(wholePercent(value) / 100);
}

/** @param {number} value @returns {number} An integer 0–100. */
export function wholePercent(value) {
  return value >= 100 ? 100 : Math.min(99, Math.round(Math.max(0, value)));
}

/** `1.3 GB`, `512 bytes`: decimal units, one decimal below ten. @param {Words} words @param {number} n */
export function bytes(words, n) {
  let at = 0;
  let value = n;
  while (Math.abs(value) >= 999.5 && at < BYTES.length - 1) {
    value /= 1000;
    at += 1;
  }
  const digits = at > 0 && Math.abs(value) < 9.95 ? 1 : 0;
  const unitDisplay = at > 0 ? "short" : "long";
  return numberFormat(words, { style: "unit", unit: BYTES[at], unitDisplay, maximumFractionDigits: digits }).format(value);
}

/** A running clock: `0:42`, `1:02:33`. @param {Words} words @param {number} seconds */
export function clock(words, seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = numberFormat(words, { minimumIntegerDigits: 2, useGrouping: false });
  const plain = numberFormat(words, { useGrouping: false });
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  const tail = `${hours ? two.format(minutes) : plain.format(minutes)}:${two.format(whole % 60)}`;
  return hours ? `${plain.format(hours)}:${tail}` : tail;
}

/**
 * One unit is enough for a time that is still passing: `3 s`, `2 min`, `5 h`, `4 d`. Never under a second.
 * @param {Words} words @param {number} seconds
 */
export function span(words, seconds) {
  if (seconds < 60) return words.say("unit.s", { n: Math.max(1, Math.floor(seconds)) });
  if (seconds < 3600) return words.say("unit.min", { n: Math.floor(seconds / 60) });
  if (seconds < 172_800) return words.say("unit.h", { n: Math.floor(seconds / 3600) });
  return words.say("unit.d", { n: Math.floor(seconds / 86_400) });
}

/** A guess at what is still to come, rounded rather than cut. @param {Words} words @param {number} seconds */
export function left(words, seconds) {
  const rounded = seconds < 60 ? Math.ceil(seconds) : seconds < 3600 ? Math.round(seconds / 60) * 60 : Math.round(seconds / 3600) * 3600;
  return words.say("meta.left", { time: span(words, rounded) });
}

/** A time that has passed: `9.1 s`, `16 s`, `4 min 10 s`, `2 h 5 min`. @param {Words} words @param {number} seconds */
export function lasted(words, seconds) {
  if (seconds < 9.95) return words.say("unit.s", { n: number(words, Math.max(0, seconds), 1) });
  const whole = Math.round(seconds);
  if (whole < 60) return words.say("unit.s", { n: whole });
  const [big, small, size] = whole < 3600 ? ["unit.min", "unit.s", 60] : ["unit.h", "unit.min", 3600];
  const rest = Math.floor((whole % size) / (size / 60));
  const first = words.say(big, { n: Math.floor(whole / size) });
  return rest ? `${first} ${words.say(small, { n: rest })}` : first;
}

/**
 * How far it is: `1,004 of 1,570 files`, `1.3 GB of 2 GB`, `0:41 of 1:48`, `3,112 messages`, `1.3 GB so far`.
 * @param {Words} words @param {number} current @param {number | null} total @param {string | null} unit
 */
export function count(words, current, total, unit) {
  const kind = unitKind(unit);
  const show = kind === "bytes" ? bytes : kind === "seconds" ? clock : amount;
  if (total !== null) {
    const values = { current: show(words, current), total: show(words, total), unit: unit ?? "" };
    return words.say(kind === "other" ? "meta.of.unit" : "meta.of", values);
  }
  if (kind === "other") return words.say("meta.count.unit", { current: show(words, current), unit: unit ?? "" });
  return kind === "none" ? show(words, current) : words.say("meta.so_far", { amount: show(words, current) });
}

/**
 * How fast: `212 files/s`, `132 MB/s`, `3 pages/min` for the slow; nothing for seconds per second.
 * @param {Words} words @param {number} perSecond @param {string | null} unit
 * @returns {string | null}
 */
export function rate(words, perSecond, unit) {
  const kind = unitKind(unit);
  if (!(perSecond > 0) || kind === "seconds") return null;
  const slow = perSecond < (kind === "bytes" ? 1 : 0.1);
  const value = slow ? perSecond * 60 : perSecond;
  if (value < 0.05) return null;
  const plain = kind === "bytes" ? bytes(words, value) : amount(words, value);
  const shown = kind === "other" ? words.say("meta.count.unit", { current: plain, unit: unit ?? "" }) : plain;
  return words.say(slow ? "meta.rate.minute" : "meta.rate", { amount: shown });
}

/** `14:03`, with the date in front when that was another day. @param {Words} words @param {number} at @param {number} now */
export function timeOfDay(words, at, now) {
  const sameDay = new Date(at).toDateString() === new Date(now).toDateString();
  /** @type {Intl.DateTimeFormatOptions} */
  const day = sameDay ? {} : { day: "numeric", month: "short" };
  return dateFormat(words, { ...day, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(at);
}

/** The whole of it, for a title. @param {Words} words @param {number} at */
export function wholeTime(words, at) {
  return dateFormat(words, { dateStyle: "full", timeStyle: "medium" }).format(at);
}

/** @param {Words} words @param {number} n */
function amount(words, n) {
  return number(words, n, Math.abs(n) < 9.95 ? 1 : 0);
}

/** @param {string | null} unit @returns {"none" | "bytes" | "seconds" | "other"} */
function unitKind(unit) {
  if (!unit) return "none";
  return BYTE_UNITS.has(unit) ? "bytes" : SECOND_UNITS.has(unit) ? "seconds" : "other";
}
