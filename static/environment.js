/** Everything that a client takes from its surroundings, in one place, so that a test can bring its own. @module */

/**
 * @typedef {object} Environment
 * @property {() => number} now milliseconds since 1970
 * @property {(fn: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random in [0, 1)
 * @property {(url: string, init: RequestInit) => Promise<Response>} fetch
 * @property {(error: unknown) => void} report where the exception of somebody's listener goes
 * @property {(watcher: Watcher) => () => void} watch tells of the network and the page; returns the way to stop
 */

/**
 * @typedef {object} Watcher
 * @property {() => void} online the browser has a network again
 * @property {() => void} offline the browser has none
 * @property {() => void} visible the page is looked at again
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
    watch,
  };
}

/** @param {unknown} error */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}

/** @param {Watcher} watcher */
function watch({ online, offline, visible }) {
  if (typeof window === "undefined" || typeof document === "undefined") return () => {};
  const shown = () => {
    if (document.visibilityState === "visible") visible();
  };
  /** @type {[EventTarget, string, () => void][]} */
  const listeners = [
    [window, "online", online],
    [window, "offline", offline],
    [window, "pageshow", shown], // out of the back/forward cache, where its connections were closed
    [document, "visibilitychange", shown],
  ];
  for (const [target, event, fn] of listeners) target.addEventListener(event, fn);
  return () => {
    for (const [target, event, fn] of listeners) target.removeEventListener(event, fn);
  };
}
