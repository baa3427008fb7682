/** Which requests wait for a reply, and which reply belongs to which. No sockets. */

import { ConnectionLostError, RialtoError, TimeoutError } from "./errors.js";

/** @typedef {{type: string, resolve: (reply: any) => void, reject: (error: Error) => void, timer: any}} Waiting */

export class Requests {
  #clock;
  #waitingMax;
  #nextId = 1;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();

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
   * @param {number} timeoutMs
   * @returns {{id: number, reply: Promise<any>}} `reply` rejects with a RialtoError.
   */
  open(type, timeoutMs) {
    if (this.#waiting.size >= this.#waitingMax) {
      throw new RialtoError("too_many", `${type}: ${this.#waitingMax} requests already wait for a reply`);
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const reply = new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => {
        this.#waiting.delete(id);
        reject(new TimeoutError(type, timeoutMs));
      }, timeoutMs);
      this.#waiting.set(id, { type, resolve, reject, timer });
    });
    return { id, reply };
  }

  /**
   * Hands a reply (`ok`, `pong`, `error`) to the request it answers.
   *
   * @param {{type: string, id?: unknown}} frame
   * @returns {boolean} False when nobody waits for it.
   */
  settle(frame) {
    const waiting = this.#take(frame.id);
    if (!waiting) return false;
    if (frame.type === "error") waiting.reject(RialtoError.fromFrame(frame));
    else waiting.resolve(frame);
    return true;
  }

  /** The connection is gone: every waiting request fails, oldest first. */
  loseConnection() {
    for (const id of [...this.#waiting.keys()]) {
      const waiting = this.#take(id);
      waiting?.reject(new ConnectionLostError(waiting.type));
    }
  }

  /** @param {unknown} id */
  #take(id) {
    const waiting = this.#waiting.get(/** @type {number} */ (id));
    if (!waiting) return undefined;
    this.#waiting.delete(/** @type {number} */ (id));
    this.#clock.clearTimeout(waiting.timer);
    return waiting;
  }
}
