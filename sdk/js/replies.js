/** Which requests of one connection wait for a reply, and which reply belongs to which. No sockets. */

import { ConnectionLostError, RialtoError, TimeoutError } from "./errors.js";

/**
 * @typedef {(error: RialtoError | null, reply: any) => void} Settle Called once, at once: several frames may be read
 *   before a promise settles, and what follows a reply must find the reply done.
 * @typedef {{type: string, settle: Settle, timer: any}} Waiting
 */

export class Replies {
  #clock;
  #waitingMax;
  #nextId = 1;
  /** @type {Map<unknown, Waiting>} */
  #waiting = new Map();
  /** @type {(() => void)[]} Those who wait until nothing waits for a reply. */
  #onIdle = [];

  /**
   * @param {import("./clock.js").Clock} clock
   * @param {number} [waitingMax] More than this many at once are refused.
   */
  constructor(clock, waitingMax = 1000) {
    this.#clock = clock;
    this.#waitingMax = waitingMax;
  }

  /** How many wait for a reply. */
  get size() {
    return this.#waiting.size;
  }

  /**
   * Numbers a request and waits for its reply. Ids are never used twice, so a reply that comes too late can only be
   * ignored, never taken for another.
   *
   * @param {string} type
   * @param {number | null} timeoutMs Null: the caller watches the time, and forgets the request.
   * @param {Settle} settle
   * @returns {number} Its id.
   */
  open(type, timeoutMs, settle) {
    if (this.#waiting.size >= this.#waitingMax) {
      throw new RialtoError("too_many", `${type}: ${this.#waitingMax} requests already wait for a reply`);
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const expire = () => {
      this.#take(id);
      settle(new TimeoutError(type, timeoutMs ?? 0), null);
    };
    const timer = timeoutMs === null ? null : this.#clock.setTimeout(expire, timeoutMs);
    this.#waiting.set(id, { type, settle, timer });
    return id;
  }

  /**
   * Hands a reply (`ok`, `pong`, `error`) to the request it answers.
   *
   * @param {{type: string, [field: string]: unknown}} frame
   * @returns {boolean} False when no request waits for it.
   */
  settle(frame) {
    const waiting = this.#take(frame.id);
    if (!waiting) return false;
    if (frame.type === "error") waiting.settle(RialtoError.fromFrame(frame), null);
    else waiting.settle(null, frame);
    return true;
  }

  /**
   * The caller no longer waits for this one.
   *
   * @param {number} id
   */
  forget(id) {
    this.#take(id);
  }

  /** The connection is gone: every waiting request fails, oldest first. */
  loseConnection() {
    for (const id of [...this.#waiting.keys()]) {
      const waiting = this.#take(id);
      waiting?.settle(new ConnectionLostError(waiting.type), null);
    }
  }

  /** @returns {Promise<void>} When no request waits for a reply. */
  idle() {
    if (this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** @param {unknown} id */
  #take(id) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return undefined;
    this.#waiting.delete(id);
    this.#clock.clearTimeout(waiting.timer);
    if (this.#waiting.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    return waiting;
  }
}
