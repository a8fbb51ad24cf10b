// The demo's page. Two users look at it at once, so it opens two connections, each with a ticket and a name by which
// its elements find it. A page of one signed-in user needs none of that: {{ realtime_head() }} and the tags will do.
import "./elements.js";
import { connect } from "./realtime.js";

/** @typedef {import("./realtime.js").Client} Client */

/**
 * One user's side of the page.
 * @typedef {object} View
 * @property {string} user The id.
 * @property {string} name
 * @property {HTMLElement} section
 * @property {Client} client
 * @property {number} count How many jobs there are.
 */

const CUT_MS = 5000;
const COUNTS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/** Whether the problem that is told is that the server could not be reached. */
let outage = false;

const views = [...document.querySelectorAll(".view")].map(openView);
for (const view of views) {
  view.client.tasks((_tasks, { families }) => {
    view.count = families.length;
    for (const each of views) sayEmpty(each);
  });
  view.client.onState(({ state }) => {
    if (state === "live" && outage) say("problem", ""); // that is over
  });
  letCut(view);
  showOutput(view);
  showArrivals(view);
}
letChoose();
letStart();
letDrop();
letKill();

/** @param {Element} element @returns {View} */
function openView(element) {
  const section = /** @type {HTMLElement} */ (element);
  const { user = "", name = "" } = section.dataset;
  return { user, name, section, count: 0, client: connect({ name: user, ticket: () => fetchTicket(user) }) };
}

/** Called at every connect and reconnect, so a ticket that has expired is no matter. @param {string} user */
async function fetchTicket(user) {
  const response = await fetch(`tickets/${user}.json`);
  if (!response.ok) throw new Error(`The server gave no ticket: ${response.status}.`);
  const { ticket } = await response.json();
  return ticket;
}

/** The words of an empty list, which the element shows once it knows that the list is empty. @param {View} view */
function sayEmpty({ user, name, section }) {
  const other = views.find((view) => view.user !== user);
  const [strong, text] = other?.count
    ? [`${name} has no jobs.`, `${other.name}’s ${COUNTS[other.count] ?? other.count} ${other.count === 1 ? "is" : "are"} ${other.name}’s alone.`]
    : ["No jobs yet.", "Start one, and it appears here while it runs."];
  find("[slot=empty] b", section).textContent = strong;
  find("[slot=empty] span", section).textContent = text;
}

/** @param {View} view */
function letCut({ section, client }) {
  const button = find(".cut", section);
  const label = find("span", button);
  const words = label.textContent;
  button.addEventListener("click", () => {
    if (button.ariaDisabled === "true") return;
    const until = Date.now() + CUT_MS;
    const timer = setInterval(count, 200);
    client.cut(CUT_MS);
    count();

    function count() {
      const left = Math.ceil((until - Date.now()) / 1000);
      const isCut = left > 0;
      button.ariaDisabled = String(isCut); // not `disabled`: that would take the keyboard's focus away
      label.textContent = isCut ? `Cut: ${left} s left` : words;
      if (!isCut) clearInterval(timer);
    }
  });
}

/** What the newest job that writes has written, while somebody looks: a page is sent only what it shows. @param {View} view */
function showOutput({ section, client }) {
  const details = /** @type {HTMLDetailsElement} */ (find(".written", section));
  const output = find("realtime-output", details);
  let writer = "";
  const show = () => {
    if (details.open && writer) output.setAttribute("task-id", writer);
    else output.removeAttribute("task-id");
  };
  client.tasks((tasks) => {
    writer = tasks.find((task) => task.output_size > 0)?.task_id ?? "";
    details.hidden = !writer;
    show();
  });
  details.addEventListener("toggle", show);
}

/** What came over the wire last, while somebody looks. @param {View} view */
function showArrivals({ section, client }) {
  const details = /** @type {HTMLDetailsElement} */ (find(".wire", section));
  const shown = find("pre", details);
  /** @type {[string, any] | undefined} */
  let last;
  const paint = () => {
    if (last && details.open) shown.textContent = describe(...last);
  };
  client.onEvent((...arrived) => {
    last = arrived;
    paint();
  });
  details.addEventListener("toggle", paint);
}

/** @param {string} event @param {any} payload */
function describe(event, payload) {
  const bytes = new TextEncoder().encode(JSON.stringify(payload)).length.toLocaleString("en");
  const version = payload.version ? `  v${payload.version}` : "";
  return `${event}${version}  ${bytes} bytes\n${shorten(payload)}`;
}

/** The JSON with what is interesting in it, a line for each key. @param {any} payload */
function shorten({ task_id, epoch, user_id, user, status, progress, result, error, tasks }) {
  const { current, total, percent, message } = progress ?? {};
  const picked = progress
    ? { task_id, user, status, progress: { current, total, percent, message }, result: result ?? undefined, error: error ?? undefined }
    : { task_id, epoch, user_id, tasks: tasks?.map((/** @type {{task_id: string}} */ task) => task.task_id) };
  const lines = Object.entries(picked)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `"${key}": ${clip(JSON.stringify(value, null, 1).replace(/\n */g, " "))}`);
  return `{${lines.join(",\n ")}, …}`;
}

/** @param {string} text */
function clip(text) {
  return text.length > 240 ? `${text.slice(0, 240)}…` : text;
}

/** Who starts jobs; a narrow page shows only that one. The choice stands in the address, so that a reload keeps it. */
function letChoose() {
  find(".who").addEventListener("change", () => {
    for (const { user, section } of views) section.toggleAttribute("data-other", user !== chosen());
    history.replaceState(null, "", `?as=${chosen()}`);
  });
}

function chosen() {
  return /** @type {HTMLInputElement} */ (find(".who :checked")).value;
}

function letStart() {
  for (const button of document.querySelectorAll("[data-start]")) {
    button.addEventListener("click", () => void start(/** @type {HTMLElement} */ (button).dataset.start ?? ""));
  }
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("[data-send]"))) {
    input.addEventListener("change", async () => {
      await sendAll([...(input.files ?? [])], input);
      input.value = ""; // so that the same file can be chosen again
    });
  }
}

/** The worker of this visitor, whose task is in one of the lists: its two buttons, and what has become of it. */
function letKill() {
  const section = find(".apart");
  const [starter, killer] = /** @type {HTMLElement[]} */ ([...section.querySelectorAll("[data-order]")]);
  const fate = find(".fate", section);
  /** @type {Map<string, any>} */
  const found = new Map();
  for (const { user, client } of views) {
    client.tasks((tasks) => {
      const mine = tasks.filter((task) => task.task_id.startsWith(section.dataset.worker ?? "-"));
      found.set(user, mine.sort(newestFirst)[0]);
      paint();
    });
  }
  for (const button of [starter, killer]) {
    button.addEventListener("click", () => {
      if (button.ariaDisabled !== "true") void order(`${button.dataset.order}?as=${chosen()}`);
    });
  }

  function paint() {
    const [task] = [...found.values()].filter(Boolean).sort(newestFirst);
    const works = task?.status === "processing";
    starter.ariaDisabled = String(works || task?.status === "pending");
    killer.ariaDisabled = String(!works || isToBeKilled(task));
    const words = tell(task);
    if (fate.textContent !== words) fate.textContent = words;
  }
}

/** @param {{created_at: string}} a @param {{created_at: string}} b */
function newestFirst(a, b) {
  return a.created_at < b.created_at ? 1 : -1;
}

/** @param {any} task */
function isToBeKilled({ task_id, metadata }) {
  return metadata.kill === task_id;
}

/** @param {any} task @returns {string} */
function tell(task) {
  if (task?.error?.code === "worker_lost") return "The lease was over, and the server has failed the task.";
  if (task?.status !== "processing" || !isToBeKilled(task)) return "";
  return task.stalled_since
    ? "Killed. Half of the lease went by without a word."
    : "Killed, and nobody has told the server.";
}

/** A file may be dropped anywhere; on the row of the import it is imported, else it is checked. */
function letDrop() {
  /** @param {DragEvent} event */
  const place = (event) => /** @type {Element} */ (event.target).closest?.(".jobs li:has([data-send])") ?? find(".drop");
  const mark = (/** @type {Element | null} */ marked) => {
    for (const each of document.querySelectorAll(".drop, .jobs li")) each.classList.toggle("over", each === marked);
  };
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // otherwise the browser opens the file in the page's place
    mark(place(event));
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) mark(null);
  });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    mark(null);
    void sendAll([...event.dataTransfer.files], /** @type {HTMLInputElement} */ (find("[data-send]", place(event))));
  });
}

/** @param {string} kind */
function start(kind) {
  return order(`jobs/${kind}?as=${chosen()}`);
}

/** @param {string} url */
async function order(url) {
  say("problem", "");
  try {
    await post(url);
  } catch (error) {
    complain(error);
  }
}

/** @param {unknown} error */
function complain(error) {
  say("problem", error instanceof Error ? error.message : String(error));
  outage = error instanceof Unreachable;
}

/** Whether the order has come to the server nobody here knows. */
class Unreachable extends Error {}

/** One after another, for the one who is chosen now. @param {File[]} files @param {HTMLInputElement} input */
async function sendAll(files, input) {
  const { send = "", max } = input.dataset;
  const user = chosen();
  say("problem", "");
  try {
    for (const file of files) {
      if (file.size > Number(max)) throw new Error(`${file.name} is too large. This page takes up to ${Number(max) / 1e9} GB.`);
      const query = new URLSearchParams({ as: user, name: file.name });
      await post(`jobs/${send}?${query}`, file, (percent) => say("sending", `Sending ${file.name}: ${percent}%`));
    }
  } catch (error) {
    complain(error);
  } finally {
    say("sending", "");
  }
}

/**
 * By XMLHttpRequest, since fetch() does not tell how much of a body has been sent.
 * @param {string} url @param {File} [file] @param {(percent: number) => void} [onProgress]
 * @returns {Promise<void>}
 */
function post(url, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.responseType = "json";
    if (file) request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress?.(Math.floor((100 * loaded) / total)));
    request.addEventListener("load", () => {
      if (request.status < 400) resolve();
      else reject(new Error(request.response?.error?.message ?? `The server answered ${request.status}.`));
    });
    request.addEventListener("error", () => reject(new Unreachable("The server did not answer. Try again when it is back.")));
    request.send(file);
  });
}

/** @param {"problem" | "sending"} id @param {string} text "" takes it away. */
function say(id, text) {
  const place = find(`#${id}`);
  place.textContent = text;
  place.hidden = !text;
}

/** @param {string} selector @param {ParentNode} [within] */
function find(selector, within = document) {
  return /** @type {HTMLElement} */ (within.querySelector(selector));
}
