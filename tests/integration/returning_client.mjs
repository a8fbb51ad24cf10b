// The official client as it comes: prints, a JSON line each, what it was told and when it was connected and cut off.
// node returning_client.mjs URL SOCKET_IO_CLIENT TRANSPORT… — ends when a task of its user has completed.
import { createRequire } from "node:module";
const [, , url, library, ...transports] = process.argv;
const { io } = createRequire(import.meta.url)(library);

const say = (event, payload = null) => console.log(JSON.stringify({ event, payload }));
const socket = io(`${url}/tasks`, { query: { user: "ada" }, transports, reconnectionDelay: 50, reconnectionDelayMax: 100 });
socket.on("disconnect", (reason) => say("disconnect", reason));
for (const event of ["tasks_snapshot", "task_created", "task_progress", "task_failed"]) {
  socket.on(event, (payload) => say(event, payload));
}
socket.on("task_completed", (payload) => {
  say("task_completed", payload);
  socket.close();
});
