// What the elements of one client say together: milestones, ends, and the connection's going and coming.
import { documentAnnouncer } from "./announcer.js";
import { words } from "./strings.js";
import { isFinished } from "./task-store.js";
import { errorWords, resultWords, taskName } from "./task-view.js";

/** @typedef {import("./realtime.js").Client} Client */
/** @typedef {import("./realtime.js").Task} Task */
/** @typedef {import("./milestones.js").Milestone} Milestone */
/** @typedef {"offline" | "stale" | "denied"} Silence */

const LOST_AFTER_MS = 3000;

/** @type {WeakMap<Client, Voice>} */
const voices = new WeakMap();

/**
 * The client's voice. Hold it while an element that may speak is on the page, and release it after.
 * @param {Client} client @param {string} lang
 * @returns {Voice}
 */
export function holdVoice(client, lang) {
  const announcer = documentAnnouncer();
  let voice = voices.get(client);
  if (!voice) voices.set(client, (voice = new Voice(client, announcer)));
  voice.hold(lang);
  return voice;
}

export class Voice {
  #client;
  #announcer;
  #lang = "";
  #holders = 0;
  #stop = () => {};
  #state = "";
  /** The silence that was spoken of. Until its end is spoken of too, ends of jobs are counted. @type {Silence | null} */
  #said = null;
  /** Jobs that ended then: by id, whose retry they are. @type {Map<string, string | null>} */
  #meanwhile = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Client} client @param {import("./announcer.js").Announcer} announcer */
  constructor(client, announcer) {
    this.#client = client;
    this.#announcer = announcer;
  }

  /** @param {string} lang */
  hold(lang) {
    this.#lang = lang;
    this.#holders += 1;
    if (this.#holders === 1) this.#stop = this.#client.onState(() => this.#hear());
  }

  release() {
    this.#holders -= 1;
    if (this.#holders > 0) return;
    this.#stop();
    clearTimeout(this.#timer);
    this.#state = "";
    this.#said = null;
    this.#meanwhile.clear();
  }

  /** @param {Milestone} what @param {Task} task @param {string | null} [label] The page's name for the task. */
  tell(what, task, label) {
    if (isFinished(task) && this.#said) {
      this.#meanwhile.set(task.task_id, task.retry_of);
      return;
    }
    const say = words(this.#lang);
    const name = taskName(task, { label, taskId: task.task_id, words: say });
    const sentence = say.say(`say.${what}`, { name, n: task.attempt });
    const key = `${task.epoch} ${task.task_id}`;
    if (what === "started" || what === "half" || what === "unanswered") {
      this.#announcer.say(() => (this.#announcer.tells(key) ? "" : sentence), this.#lang);
      return;
    }
    const before = task.retry_of ? `${task.epoch} ${task.retry_of}` : undefined;
    if (what === "attempt") {
      if (task.retry_of) this.#meanwhile.delete(task.retry_of);
      this.#announcer.end(key, { kind: what, text: sentence }, this.#lang, before);
      return;
    }
    const message = what === "completed" ? resultWords(task).text : what === "failed" ? errorWords(task, say) : "";
    this.#announcer.end(key, { kind: what, text: message ? `${sentence} ${message}` : sentence }, this.#lang, before);
  }

  #hear() {
    const { state } = this.#client.state;
    if (state === this.#state) return; // a new date for the next try
    this.#state = state;
    clearTimeout(this.#timer);
    if (state === "live") {
      if (this.#said) this.#announcer.say(() => this.#back(), this.#lang);
    } else if (state === "offline" || state === "stale") {
      this.#timer = setTimeout(() => this.#announcer.say(() => this.#lost(state), this.#lang), LOST_AFTER_MS);
    } else if (state === "denied") {
      this.#announcer.say(() => this.#lost(state), this.#lang);
    }
  }

  /** @param {Silence} silence @returns {string} "" when it is over by now, or told already. */
  #lost(silence) {
    if (this.#state !== silence || this.#said === silence) return "";
    this.#said = silence;
    const say = words(this.#lang);
    return silence === "stale" ? say.say("banner.stale") : `${say.say(`banner.${silence}`)} ${say.say(`banner.${silence}.more`)}`;
  }

  /** @returns {import("./announcer.js").Said} "" when it is gone again by now. */
  #back() {
    if (this.#state !== "live" || !this.#said) return "";
    const say = words(this.#lang);
    const back = say.say(this.#said === "stale" ? "say.current" : "banner.back");
    const retried = new Set(this.#meanwhile.values());
    const count = [...this.#meanwhile.keys()].filter((id) => !retried.has(id)).length; // of a job and its retries, the last
    this.#said = null;
    this.#meanwhile.clear();
    return { text: back, meanwhile: count };
  }
}
