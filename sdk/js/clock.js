/** Time as the client sees it. Injected, so that tests decide how it passes. */

/**
 * @typedef {object} Clock
 * @property {() => number} now Milliseconds from an arbitrary start; never goes back.
 * @property {() => number} unixMs Wall clock, for what the broker says in Unix milliseconds.
 * @property {(callback: () => void, delayMs: number) => any} setTimeout
 * @property {(handle: any) => void} clearTimeout
 */

/** @type {Clock} */
export const systemClock = {
  now: () => performance.now(),
  unixMs: () => Date.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  clearTimeout: (handle) => clearTimeout(handle),
};
