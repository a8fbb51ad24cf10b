/**
 * The custom elements of `realtime`: load this module once, and write the tags.
 *
 *     <realtime-tasks></realtime-tasks>
 *     <realtime-task task-id="7f3a91"></realtime-task>
 *     <realtime-output task-id="7f3a91"></realtime-output>
 *     <realtime-connection></realtime-connection>
 *
 * Works under `Content-Security-Policy: default-src 'self'`. Every text that comes from a task is set as text.
 *
 * @module
 */
import { documentAnnouncer } from "./announcer.js";
import { RealtimeConnection } from "./element-connection.js";
import { RealtimeOutput } from "./element-output.js";
import { RealtimeTask } from "./element-task.js";
import { RealtimeTasks } from "./element-tasks.js";

export { setStrings } from "./strings.js";
export { RealtimeConnection, RealtimeOutput, RealtimeTask, RealtimeTasks };

documentAnnouncer(); // a live region has to stand in the page before something is said in it
for (const [name, element] of /** @type {const} */ ([
  ["realtime-connection", RealtimeConnection],
  ["realtime-output", RealtimeOutput],
  ["realtime-task", RealtimeTask],
  ["realtime-tasks", RealtimeTasks], // makes the others
])) {
  if (!customElements.get(name)) customElements.define(name, element);
}
