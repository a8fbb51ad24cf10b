/** Everything that a client takes from its surroundings, in one place, so that a test can bring its own. @module */

/**
 * @typedef {object} Environment
 * @property {() => number} now milliseconds since 1970
 * @property {(fn: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random in [0, 1)
 * @property {(url: string, init: RequestInit) => Promise<Response>} fetch
 * @property {(error: unknown) => void} report where the exception of somebody's listener goes
 * @property {() => boolean} isHidden whether the page is not on the screen; false where there is no page
 * @property {(watcher: Watcher) => () => void} watch tells of the network and the page; returns the way to stop
 */

/**
 * @typedef {object} Watcher
 * @property {() => void} online the browser has a network again
 * @property {(why: string) => void} offline the browser has none, or none for this page
 * @property {() => void} visible the page is looked at again
 * @property {() => void} hidden the page is not on the screen any more
 */

/** @returns {Environment} */
export function browserEnvironment() {
  return {
    now: () => Date.now(),
    setTimeout: (fn, ms) => setTimeout(fn, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    random: () => Math.random(),
    fetch: (url, init) => fetch(url, init),
    report,
    isHidden: () => typeof document !== "undefined" && document.visibilityState === "hidden",
    watch,
  };
}

/** @param {unknown} error */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}

/** @param {Watcher} watcher */
function watch({ online, offline, visible, hidden }) {
  if (typeof window === "undefined" || typeof document === "undefined") return () => {};
  const shown = () => {
    if (document.visibilityState === "hidden") hidden();
    else visible();
  };
  // A browser may keep a page with its connection, dead by the time it is back, or not keep it for the sake of that.
  const putAway = (/** @type {any} */ { persisted }) => {
    if (persisted) offline("The page was put into the back/forward cache.");
  };
  /** @type {[EventTarget, string, (event: Event) => void][]} */
  const listeners = [
    [window, "online", online],
    [window, "offline", () => offline("The browser has no network.")],
    [window, "pagehide", putAway],
    [window, "pageshow", shown], // out of the back/forward cache
    [document, "visibilitychange", shown],
    [document, "resume", shown], // thawed: what the connection has come to meanwhile is not known
  ];
  for (const [target, event, fn] of listeners) target.addEventListener(event, fn);
  return () => {
    for (const [target, event, fn] of listeners) target.removeEventListener(event, fn);
  };
}
