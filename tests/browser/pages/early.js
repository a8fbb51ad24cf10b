// Properties are set on an element that is not one yet.
import { connect } from "/realtime/static/realtime.js";
import { fake } from "/realtime/static/socket.js";

fake("ada").putAll({ id: "a", name: "Ada's" }, { id: "b", name: "Ada's other" });
const card = document.createElement("realtime-task");
Object.assign(card, { taskId: "a", client: connect({ name: "ada", ticket: "ada" }) });
document.body.append(card);
await import("/realtime/static/elements.js");
