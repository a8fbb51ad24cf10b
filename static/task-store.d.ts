import type { Task } from "./realtime.js";
import type { PersistentMap } from "./persistent-map.js";

/** What the client knows. Never changed: `reduce` gives a new one. */
export interface State {
  /** The registry's memory that all tasks here belong to; null until the first `tasks_snapshot`. */
  readonly epoch: string | null;
  /** Whose list this is; null before the first snapshot, and for a viewer with tickets for single tasks only. */
  readonly userId: string | null;
  /** Whether the `tasks_snapshot` of the present connection has arrived. */
  readonly synced: boolean;
  /** A frame of a foreign epoch was dropped: only a new `tasks_snapshot` makes this right. */
  readonly resync: boolean;
  /** What of the list is not here: what `list_tasks` gives from `before` on (null: from its start). null: nothing. */
  readonly missing: { readonly before: string | null } | null;
  readonly tasks: PersistentMap<string, Task>;
  /** The ids in the viewer's list, each with the time of creation; without single tasks that were subscribed to. */
  readonly listed: PersistentMap<string, string>;
  /** Where attempts stand in the list, if not where their own creation puts them: at that of the first one known. */
  readonly places: PersistentMap<string, string>;
  /** By id, the id of the task that tries it again; of each two at least one is held. */
  readonly retries: PersistentMap<string, string>;
  /** The other way: by id, the id of the task that it tries again. */
  readonly priors: PersistentMap<string, string>;
  /** Finished tasks that the user dismissed, each with its version. */
  readonly hidden: PersistentMap<string, number>;
  /** The versions of removed ids: what is not higher does not come back. */
  readonly removed: PersistentMap<string, number>;
  readonly removedBefore: PersistentMap<string, number>;
  /** Foreign frames that wait for the `tasks_snapshot` of a new connection. */
  readonly held: PersistentMap<string, Frame>;
}

/** `tasks_snapshot` as it arrives. */
export interface TasksSnapshot {
  readonly epoch: string;
  readonly user_id: string | null;
  readonly tasks: readonly Task[];
  readonly removed: readonly string[];
  readonly has_more: boolean;
  readonly next?: string | null;
  readonly server_time?: string;
}

/** One task's news. `listed`: it belongs to the viewer's list, whoever owns it. */
export type Frame =
  | { readonly task: Task; readonly listed: boolean }
  | { readonly removed: { readonly task_id: string; readonly epoch: string; readonly version: number } };

export type Action =
  /** There is no connection any more; the next one begins with a `tasks_snapshot`. */
  | { readonly type: "disconnected" }
  /** `cursors`: those that this connection sent. */
  | { readonly type: "snapshot"; readonly snapshot: TasksSnapshot; readonly cursors?: Readonly<Record<string, number>> }
  | { readonly type: "frame"; readonly frame: Frame }
  /** The answer to `subscribe` (`listed: false`) or to a command. */
  | { readonly type: "tasks"; readonly tasks: readonly Task[]; readonly listed: boolean }
  /** The answer to `list_tasks`. */
  | { readonly type: "page"; readonly tasks: readonly Task[]; readonly next: string | null }
  /** The server says that these are not there; `cursors` and `epoch`: what was sent with the question. */
  | {
      readonly type: "gone";
      readonly taskIds: readonly string[];
      readonly epoch: string | null;
      readonly cursors: Readonly<Record<string, number>>;
    }
  /** Single tasks that nobody watches any more. */
  | { readonly type: "forget"; readonly taskIds: readonly string[] }
  /** The user dismissed a finished task. */
  | { readonly type: "hide"; readonly taskId: string };

export const EMPTY: State;
export function reduce(state: State, action: Action): State;
export function listTasks(state: State): Task[];
export function idsToRecover(state: State): string[];
export function cursors(state: State, ids: readonly string[]): Record<string, number>;
export function isFinished(task: Task): boolean;
