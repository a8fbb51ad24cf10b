// Every state of every element, each from a snapshot as the server would send it.
import "/realtime/static/elements.js";
import { connect } from "/realtime/static/realtime.js";
import { fake } from "/realtime/static/socket.js";
import * as probe from "./probes.js";

globalThis.probe = probe;

const sheet = document.querySelector("main");

/** @param {string} caption @param {string} tag @param {Record<string, string>} attributes */
function show(caption, tag, attributes, children = []) {
  const figure = document.createElement("figure");
  const line = document.createElement("figcaption");
  line.textContent = caption;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  figure.append(line, element);
  sheet.append(figure);
}

const live = fake("live");
const tasks = {
  "pending": { name: "Export 2026 invoices", status: "pending", created: 8 },
  "processing, total known": { name: "Export 2026 invoices", current: 12800, total: 20000, unit: "rows", message: "Reading rows", rate: 1240, eta: 5.8, started: 10 },
  "processing, no total": { name: "Fetch the mailbox", current: 3112, unit: "messages", message: "Folder “Archive”", rate: 46, started: 68 },
  "quiet": { name: "Train the model", current: 10, total: 14, unit: "epochs", started: 1320, updated: 130 },
  "stalled": { name: "Transcode holiday.mov", current: 41, total: 108, unit: "s", started: 190, updated: 41, stalled: 40 },
  "cancelling": { name: "Survey the standard library", current: 1004, total: 1570, unit: "files", started: 6, cancelled: 2 },
  "cancelling, heard": { name: "Survey the standard library", current: 1004, total: 1570, unit: "files", started: 26, cancelled: 22, cancel_acknowledged_at: new Date(Date.now() - 21_000).toISOString() },
  "cancelling, unanswered": { name: "Survey the standard library", current: 1004, total: 1570, unit: "files", started: 26, cancelled: 14 },
  "attempt": { name: "Fetch the mailbox", current: 3112, unit: "messages", message: "Folder “Archive”", rate: 46, started: 68, attempt: 2, retry_of: "first" },
  "parts": { name: "Import the archive", current: 3, total: 5, unit: "tasks", message: "2019 to 2023", eta: 40, started: 68, children: { total: 5, pending: 1, processing: 1, completed: 2, failed: 1, cancelled: 0 } },
  "parts, partly": { name: "Import the archive", status: "failed", percent: 97, current: 3, total: 3, unit: "tasks", started: 68, ended: 20, children: { total: 3, pending: 0, processing: 0, completed: 2, failed: 1, cancelled: 0 }, attempt: 2, retry_of: "first",
    error: { type: null, code: "partly_completed", message: "2 of 3 completed; 1 failed.", retryable: null, details: null } },
  "completed": { name: "Export 2026 invoices", status: "completed", current: 20000, total: 20000, unit: "rows", started: 36, ended: 20, result: { message: "20,000 rows, no errors.", url: "/invoices.csv", label: "Download invoices.csv" } },
  "completed, bytes": { name: "Check holiday.mov", status: "completed", current: 1.2e9, total: 1.2e9, unit: "bytes", started: 69.1, ended: 60, result: "1.2 GB, gzip saves 3%.\nSHA-256 9f2c41…e41a" },
  "failed": { name: "Import customers-broken.csv", status: "failed", current: 211, total: 500, unit: "rows", started: 23, ended: 20,
    error: { type: "CsvRowError", code: "bad_row", message: "Row 212, column “email”: ada(at)example.org is not an address. Nothing was imported.", retryable: false, details: { row: 212 } } },
  "failed, worker lost": { name: "Transcode holiday.mov", status: "failed", percent: 38, started: 260, ended: 20, error: { type: null, code: "worker_lost", message: "lost", retryable: true, details: null } },
  "cancelled": { name: "Survey the standard library", status: "cancelled", current: 1004, total: 1570, unit: "files", started: 30, ended: 20 },
};
for (const [id, patch] of Object.entries(tasks)) live.put({ id: id.replaceAll(/[^a-z]+/g, "-"), ...patch });

const rt = connect({ name: "live", ticket: "live" });
for (const id of Object.keys(tasks)) show(id, "realtime-task", { client: "live", "task-id": id.replaceAll(/[^a-z]+/g, "-") });
show("unknown", "realtime-task", { client: "live", "task-id": "7f3a91" });

const lost = fake("lost");
lost.put({ id: "lost", name: "Import customers.csv", current: 190, total: 500, unit: "rows", started: 20, created: 20 });
lost.put({ id: "lost-no-total", name: "Fetch the mailbox", current: 3112, unit: "messages", started: 20, created: 19 });
connect({ name: "lost", ticket: "lost" });
show("lost", "realtime-task", { client: "lost", "task-id": "lost" });
show("lost, no total", "realtime-task", { client: "lost", "task-id": "lost-no-total" });

fake("silent").mode = "silent";
connect({ name: "silent", ticket: "silent" });
show("loading", "realtime-task", { client: "silent", "task-id": "loading" });

fake("stale").put({ id: "delayed", name: "Import customers.csv", current: 190, total: 500, unit: "rows", started: 20, created: 20 });
connect({ name: "stale", ticket: "stale" });
show("delayed", "realtime-task", { client: "stale", "task-id": "delayed" });
fake("denied").mode = "unauthenticated";
connect({ name: "denied", ticket: "denied" });
fake("refused").mode = "origin_not_allowed";
connect({ name: "refused", ticket: "refused" });
fake("closed");
connect({ name: "closed", ticket: "closed" });
for (const name of ["live", "silent", "lost", "stale", "denied", "refused"]) show(`connection: ${name}`, "realtime-connection", { client: name, "sign-in-href": "/login" });

fake("list").user = "ada";
fake("list").putAll(
  { id: "d", name: "Check holiday.mov", status: "completed", current: 1.2e9, total: 1.2e9, unit: "bytes", created: 70, started: 69.1, ended: 60, result: "1.2 GB, gzip saves 3%." },
  { id: "c", name: "Import customers-broken.csv", status: "failed", current: 211, total: 500, unit: "rows", created: 60, ended: 50, error: { code: "bad_row", message: "Row 212 is bad.", type: "E", details: null } },
  { id: "b", name: "Weigh this Python", current: 1.3e9, unit: "bytes", message: "In lib/python3.12/site-packages", created: 42 },
  { id: "a", name: "Survey the standard library", current: 1004, total: 1570, unit: "files", message: "Reading asyncio/base_events.py", rate: 212, eta: 2.6, created: 5 },
);
connect({ name: "list", ticket: "list" });
show("list", "realtime-tasks", { client: "list" });

const some = { pending: 0, processing: 2, completed: 1000, failed: 100, cancelled: 98 };
fake("family").putAll(
  { id: "whole", name: "Import the archive", percent: 97, message: "2019 to 2023", created: 80, attempt: 3, retry_of: "second", children: { total: 1200, ...some } },
  { id: "year", name: "2019", percent: 40, current: 4, total: 12, unit: "months", created: 70, parent_id: "whole", cancelled: 14, children: { total: 12, ...some, completed: 4, failed: 0, cancelled: 0 } },
  { id: "month", name: "May 2019", percent: 38, current: 380, total: 1000, unit: "rows", created: 60, stalled: 40, parent_id: "year" },
  { id: "week", name: "The week of 20 May", status: "pending", created: 50, parent_id: "month" },
);
connect({ name: "family", ticket: "family" });
show("list, parts unfolded", "realtime-tasks", { client: "family", id: "unfolded" });
/** @param {number} levels */
function unfold(levels) {
  document.querySelector("#unfolded").shadowRoot.querySelector("[part=parts][aria-expanded=false]")?.click();
  if (levels > 1) setTimeout(() => unfold(levels - 1), 20);
}
setTimeout(() => unfold(3), 100);
fake("none");
connect({ name: "none", ticket: "none" });
show("empty", "realtime-tasks", { client: "none" });

const writer = fake("output");
writer.putAll(
  { id: "film", name: "Transcode holiday.mov", percent: 38 },
  { id: "silent", name: "Survey the standard library", percent: 5 },
  { id: "over", name: "Check holiday.mov", status: "completed" },
);
const frames = (from, to) => Array.from({ length: to - from }, (_, i) => `frame= ${937 + 24 * (from + i)} fps= 48 q=28.0 time=00:00:${39 + from + i}.04\n`).join("");
writer.write("film", frames(0, 1), { gone: 4096 });
writer.write("film", frames(1, 10));
connect({ name: "output", ticket: "output" });
show("output", "realtime-output", { client: "output", "task-id": "film" });
show("output, the reader scrolled up", "realtime-output", { client: "output", "task-id": "film", "id": "up" });
show("output, none yet", "realtime-output", { client: "output", "task-id": "silent" });
show("output, none", "realtime-output", { client: "output", "task-id": "over" });
show("output, unknown", "realtime-output", { client: "output", "task-id": "7f3a91", "stream": "errors" });
const again = fake("again");
again.put({ id: "first", name: "Transcode holiday.mov", status: "failed", created: 60, error: { message: "The disk is full.", code: "disk", type: null, details: null } });
again.write("first", "frame=  937 fps= 48 q=28.0\nNo space left on device\n");
connect({ name: "again", ticket: "again" });
show("output, tried again", "realtime-output", { client: "again", "task-id": "first" });
setTimeout(() => {
  again.put({ id: "second", name: "Transcode holiday.mov", created: 3, percent: 5, attempt: 2, retry_of: "first" });
  again.write("second", "frame=   24 fps= 50 q=28.0\n");
}, 100);
const cutOff = fake("cut off");
cutOff.put({ id: "away", name: "Import customers.csv", percent: 5 });
cutOff.write("away", "Row 1 is fine.\nRow 2 is");
connect({ name: "cut off", ticket: "cut off" });
show("output, lost", "realtime-output", { client: "cut off", "task-id": "away" });

const words = document.createElement("div");
words.slot = "empty";
words.append("Grace has no jobs. Ada’s two are Ada’s alone.");
show("empty, the page's words", "realtime-tasks", { client: "none" }, [words]);

rt.onState(({ state }) => {
  if (state !== "live") return;
  setTimeout(() => {
    lost.drop();
    cutOff.drop();
    const log = document.querySelector("#up").shadowRoot.querySelector("[role=log]");
    log.scrollTop = 0;
    log.addEventListener("scroll", () => writer.write("film", frames(12, 26), { gone: 3000 }), { once: true });
    fake("stale").storeIs("stale");
    document.documentElement.dataset.ready = "";
  }, 100);
});
