/** Asks a callback of the application, for as long as it may take. Keeps nothing of what it returns. */

import { RialtoError } from "./errors.js";

/**
 * @param {object} options
 * @param {() => unknown} options.source It may throw, reject, or never settle.
 * @param {string} options.name What errors call it.
 * @param {string} options.code That of the errors.
 * @param {import("./clock.js").Clock} options.clock
 * @param {number} options.timeoutMs
 * @returns {Promise<unknown>} Rejects with a RialtoError.
 */
export function ask({ source, name, code, clock, timeoutMs }) {
  return new Promise((resolve, reject) => {
    const fail = (/** @type {string} */ reason, /** @type {unknown} */ cause) =>
      reject(new RialtoError(code, `the ${name} callback ${reason}`, { cause }));
    const timer = clock.setTimeout(() => fail("took too long", undefined), timeoutMs);
    // Started in a promise, so that it may throw as well as reject.
    new Promise((start) => start(source())).then(resolve, (error) => fail("failed", error)).finally(() =>
      clock.clearTimeout(timer));
  });
}
