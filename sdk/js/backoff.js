/** How long to wait before the next connection attempt. Pure: knows neither timers nor sockets. */

/** @typedef {{initialMs?: number, maxMs?: number, random?: () => number}} BackoffOptions */

/** Exponential back-off with full jitter: uniform between nothing and a ceiling that doubles with every attempt. */
export class Backoff {
  #initialMs;
  #maxMs;
  #random;
  #attempts = 0;

  /** @param {BackoffOptions} [options] */
  constructor({ initialMs = 500, maxMs = 20_000, random = Math.random } = {}) {
    this.#initialMs = initialMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** Attempts since the last reset. */
  get attempts() {
    return this.#attempts;
  }

  /**
   * The next wait in milliseconds. What the broker asked for is a lower bound; the jitter comes on top, so that the
   * sessions of a draining broker do not all return in the same instant.
   *
   * @param {number} [retryAfterMs]
   */
  next(retryAfterMs = 0) {
    const ceilingMs = Math.min(this.#maxMs, this.#initialMs * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.max(0, retryAfterMs) + Math.floor(this.#random() * ceilingMs);
  }

  /** To be called once a connection has proved itself. */
  reset() {
    this.#attempts = 0;
  }
}
