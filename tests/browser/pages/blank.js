// A page with the elements and a fake server; what stands in it, the test writes.
import { setStrings } from "/realtime/static/elements.js";
import { connect } from "/realtime/static/realtime.js";
import "/realtime/static/socket.js";
import * as probe from "./probes.js";

Object.assign(globalThis, { probe, connect, setStrings, events: [], refused: [] });
const types = ["change", "completed", "failed", "cancelled", "cancel-request", "dismiss", "state"];
for (const type of types) {
  addEventListener(`realtime-${type}`, (event) => {
    const { task, first, state } = event.detail;
    globalThis.events.push({ type, target: event.target.localName, id: task?.task_id, first, state: state?.state, cancelable: event.cancelable });
    if (globalThis.refused.includes(type)) event.preventDefault();
  });
}
