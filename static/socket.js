/** The one door to the official client, which the build puts beside this file. Its types are in `socket.d.ts`. */
export { io } from "./vendor/socket.io.esm.min.js";
