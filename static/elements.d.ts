import type { Client, ConnectionState, Task } from "./realtime.js";

/**
 * `<realtime-task>`: one task as a card. When it is tried again, the card goes on with the newest attempt; `attempt="this"`
 * keeps it with the one that `task-id` names.
 */
export class RealtimeTask extends HTMLElement {
  /** The client in use, once there is one. Set it, or the name of one, to use another than the attribute `client` names. */
  get client(): Client | null;
  set client(value: Client | string | null);
  /** Attribute `task-id`. */
  taskId: string;
  /** Attribute `label`: the page's name for the task. */
  label: string;
  /** The newest snapshot, of the newest attempt; null until there is one, and for a task that is not there. */
  readonly task: Task | null;
  /** Put the keyboard's focus on the card's heading. */
  focusHeading(): void;
}

/**
 * `<realtime-tasks>`: the viewer's tasks, newest first. All attempts at a task are one card, in the place of the first; its
 * parts are under it, folded away. Parts that are folded away have no cards, and so no events.
 */
export class RealtimeTasks extends HTMLElement {
  get client(): Client | null;
  set client(value: Client | string | null);
  /** The newest attempts of what the list is made of, newest first, without parts; those it does not show yet among them. */
  readonly tasks: readonly Task[];
}

/**
 * `<realtime-output>`: what a task writes, as it writes it. When it is tried again, the log goes on with what the newest
 * attempt writes, below a line that says which it is; `attempt="this"` keeps it with the one that `task-id` names.
 */
export class RealtimeOutput extends HTMLElement {
  get client(): Client | null;
  set client(value: Client | string | null);
  /** Attribute `task-id`. */
  taskId: string;
  /** Attribute `stream`: which of the task's streams. Default: `output`. */
  stream: string;
}

/** `<realtime-connection>`: whether the page hears of anything. */
export class RealtimeConnection extends HTMLElement {
  get client(): Client | null;
  set client(value: Client | string | null);
}

/** A sentence with `{places}`, or one for each plural form of `{count}` (`one`, `other`, …, by `Intl.PluralRules`). */
export type Text = string | Readonly<Record<string, string>>;

/**
 * Add or change sentences of a language; the elements repaint. The keys, with the English, stand in `strings.js`;
 * a key that is left out is said in English.
 */
export function setStrings(lang: string, table: Readonly<Record<string, Text>>): void;

export interface TaskEventDetail {
  readonly task: Task;
}

export interface TaskNewsDetail extends TaskEventDetail {
  /** It is the first that this element sees of the task: how things stand, rather than what has just happened. */
  readonly first: boolean;
}

declare global {
  interface HTMLElementTagNameMap {
    "realtime-task": RealtimeTask;
    "realtime-tasks": RealtimeTasks;
    "realtime-output": RealtimeOutput;
    "realtime-connection": RealtimeConnection;
  }

  /** All of them bubble, also out of shadow roots. */
  interface HTMLElementEventMap {
    /** A newer snapshot is here. */
    "realtime-change": CustomEvent<TaskNewsDetail>;
    "realtime-completed": CustomEvent<TaskNewsDetail>;
    "realtime-failed": CustomEvent<TaskNewsDetail>;
    "realtime-cancelled": CustomEvent<TaskNewsDetail>;
    /** Cancel was pressed; preventDefault() keeps the job going. */
    "realtime-cancel-request": CustomEvent<TaskEventDetail>;
    /** Dismiss was pressed; preventDefault() keeps the task. */
    "realtime-dismiss": CustomEvent<TaskEventDetail>;
    /** The connection is in another state. */
    "realtime-state": CustomEvent<{ readonly state: ConnectionState }>;
  }
}
