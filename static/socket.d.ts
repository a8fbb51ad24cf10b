import type { Connect } from "./realtime.js";

/** `io` of socket.io-client, as far as it is used here. */
export const io: Connect;
