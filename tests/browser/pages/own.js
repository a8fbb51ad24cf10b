// The elements' module has run before this one, as on a page with realtime_head().
import { connect } from "/realtime/static/realtime.js";

connect({ ticket: "mine" });
