/** The application's token: when it is fetched and sent to the broker. Stores and logs none. */

import { RialtoError, TimeoutError } from "./errors.js";
import { CLIENT_NAME } from "./key.js";

const UNAUTHORIZED = 4001;
const EXPIRED = 4002;
/** Refusals in a row after which another token is not worth a try. */
const REFUSALS_MAX = 3;
/** A new token is asked for this long before the old one expires, or when a tenth of its time is left. */
const REFRESH_BEFORE_MS = 60_000;
const REFRESH_SHARE = 0.1;
/** Also for a clock that believes a fresh token to have expired. */
const REFRESH_MIN_MS = 5_000;
/** The longest that timers can wait. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/**
 * @typedef {() => string | Promise<string>} TokenSource
 * @typedef {import("./socket.js").Socket} Socket
 */

export class Credentials {
  #source;
  #clock;
  #timeoutMs;
  #onError;
  #refusals = 0;
  /** @type {any} */
  #timer = null;
  #isRefreshing = false;

  /**
   * @param {object} options
   * @param {TokenSource} options.source
   * @param {import("./clock.js").Clock} options.clock
   * @param {number} options.timeoutMs Longest wait for the source, and for the broker.
   * @param {(error: unknown) => void} options.onError For what goes wrong while a connection goes on.
   */
  constructor({ source, clock, timeoutMs, onError }) {
    this.#source = source;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#onError = onError;
  }

  /**
   * Shows a token to the broker, and a newer one before it expires, as long as the connection lasts.
   *
   * @param {Socket} socket
   * @returns {Promise<{user: string | null}>} Rejects when there is no token, or when it is refused.
   */
  async present(socket) {
    this.stop();
    const token = await this.#ask();
    const reply = await socket.request({ type: "connect", token, client: CLIENT_NAME }, this.#timeoutMs);
    if (Number.isFinite(reply.expires_at)) this.#refreshBefore(reply.expires_at, socket);
    return { user: reply.user ?? null };
  }

  /**
   * How a connection ends whose token was not accepted.
   *
   * @param {unknown} error Of `present`.
   * @returns {{code: number, reason: string} | null} Null: as if the network had failed, so that it is tried again.
   */
  static verdict(error) {
    if (!(error instanceof RialtoError) || error instanceof TimeoutError) return null;
    if (error.code === "unauthorized") return { code: UNAUTHORIZED, reason: error.message };
    if (error.code === "expired") return { code: EXPIRED, reason: error.message };
    const isOver = error.code === "forbidden" || error.code === "bad_request";
    return isOver ? { code: 1008, reason: error.message } : null;
  }

  /**
   * Whether a connection that ended with this code is worth a try with another token.
   *
   * @param {number} code
   */
  isWorthAnother(code) {
    if (code !== UNAUTHORIZED && code !== EXPIRED) return false;
    this.#refusals += 1;
    return this.#refusals < REFUSALS_MAX;
  }

  /** A connection has lasted: its token was good. */
  proven() {
    this.#refusals = 0;
  }

  /** The broker says that the token is no longer good, on a connection that goes on. */
  async refresh(/** @type {Socket} */ socket) {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    try {
      await this.present(socket);
    } catch (error) {
      if (!socket.isOpen) return;
      this.#onError(error);
      this.#timer = this.#clock.setTimeout(() => void this.refresh(socket), REFRESH_MIN_MS);
    } finally {
      this.#isRefreshing = false;
    }
  }

  /** No more refreshing: the connection is gone. */
  stop() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** @returns {Promise<string>} */
  #ask() {
    return new Promise((resolve, reject) => {
      const fail = (/** @type {string} */ reason, /** @type {unknown} */ cause) =>
        reject(new RialtoError("no_token", `the token callback ${reason}`, { cause }));
      const timer = this.#clock.setTimeout(() => fail("took too long", undefined), this.#timeoutMs);
      // Started in a promise, so that it may throw as well as reject.
      new Promise((start) => start(this.#source())).then(
        (token) => (typeof token === "string" && token !== "" ? resolve(token) : fail("returned no text", undefined)),
        (error) => fail("failed", error),
      ).finally(() => this.#clock.clearTimeout(timer));
    });
  }

  /**
   * @param {number} expiresAt
   * @param {Socket} socket
   */
  #refreshBefore(expiresAt, socket) {
    const leftMs = expiresAt - this.#clock.unixMs();
    const waitMs = leftMs - Math.min(REFRESH_BEFORE_MS, leftMs * REFRESH_SHARE);
    const delayMs = Math.min(TIMER_MAX_MS, Math.max(REFRESH_MIN_MS, waitMs));
    this.#timer = this.#clock.setTimeout(() => void this.refresh(socket), delayMs);
  }
}
