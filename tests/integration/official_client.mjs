// The official client, as two users: prints what each was told, a JSON line each, until each has seen its task end.
// node official_client.mjs URL SOCKET_IO_CLIENT
import { createRequire } from "node:module";
const { io } = createRequire(import.meta.url)(process.argv[3]);

const EVENTS = ["task_created", "task_progress", "task_completed", "task_failed", "task_cancelled", "tasks_snapshot"];
const open = new Set(["ada", "grace"]);
for (const user of [...open]) {
  const socket = io(`${process.argv[2]}/tasks`, { query: { user }, forceNew: true });
  socket.on("connect_error", (error) => { console.error(error.message); process.exit(1); });
  for (const event of EVENTS) {
    socket.on(event, (payload) => {
      console.log(JSON.stringify({ user, event, payload }));
      if (event === "task_completed") {
        socket.close();
        open.delete(user);
      }
    });
  }
}
