// One timer for everything on the page that reads differently a second later.

/** @type {Set<() => void>} */
const ticking = new Set();
/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

/** Call `fn` each second. @param {() => void} fn @returns {() => void} The way to stop. */
export function everySecond(fn) {
  ticking.add(fn);
  timer ??= setInterval(() => {
    for (const tick of [...ticking]) tick();
  }, 1000);
  return () => {
    ticking.delete(fn);
    if (ticking.size) return;
    clearInterval(timer);
    timer = undefined;
  };
}
