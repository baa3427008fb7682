/** A session by the browser's cookie: when it is renewed, and when another connection brings it. Reads none. */

import { ask } from "./callback.js";
import { CLOSED_ABNORMALLY, EXPIRED, UNAUTHORIZED } from "./codes.js";
import { REFRESH_MIN_MS, REFUSALS_MAX } from "./credentials.js";
import { RialtoError } from "./errors.js";

/**
 * After so long without a session a cookie is renewed because handshakes fail, and again each time so much has passed:
 * browsers do not say why they fail.
 */
const DOUBT_AFTER_MS = 60_000;

/**
 * @typedef {import("./socket.js").Socket} Socket
 * @typedef {import("./socket.js").Welcome} Welcome
 */

export class Cookie {
  #source;
  #clock;
  #timeoutMs;
  #onError;
  #replace;
  #refusals = 0;
  /** @type {number | null} The code by which the broker refused the cookie, until it takes one. */
  #refusedWith = null;
  /** Unix milliseconds; when the cookie of the last session ends, where the broker said so. */
  #expiresAt = Infinity;
  /** When it was last known to be good. */
  #goodAt = -Infinity;
  /** Whether the last handshake failed. */
  #hasFailed = false;
  /** @type {number | null} When the cookie ended that was renewed: the next one ends later. */
  #replacedEnd = null;
  /** How often in a row a renewed cookie was none. */
  #unchanged = 0;
  /** @type {any} */
  #timer = null;
  /** @type {Socket | null} The connection whose cookie is being renewed, or was. */
  #refreshed = null;
  /** @type {Promise<void> | null} */
  #renewal = null;

  /**
   * @param {object} options
   * @param {(() => unknown) | null} options.source Renews the cookie; null where the application does so by itself.
   * @param {import("./clock.js").Clock} options.clock
   * @param {number} options.timeoutMs Longest wait for the source.
   * @param {(error: unknown) => void} options.onError For what goes wrong while a connection goes on.
   * @param {(socket: Socket) => void} options.replace Begins a new connection in place of this one.
   */
  constructor({ source, clock, timeoutMs, onError, replace }) {
    this.#source = source;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#onError = onError;
    this.#replace = replace;
  }

  /**
   * Before a handshake: renews a cookie that is not good, or may not be.
   *
   * @returns {Promise<void> | null} Null: there is nothing to wait for. Rejects when it could not be renewed.
   */
  prepare() {
    return this.#source && this.#isDoubtful() ? this.#renew(this.#source) : null;
  }

  /**
   * Looks at what the broker made of the cookie.
   *
   * @param {Socket} socket
   * @param {Welcome} welcome
   * @returns {Promise<{user: string | null}>} Rejects when the broker found no cookie that it takes.
   */
  async present(socket, { user = null, expires_at }) {
    this.#stop();
    this.#hasFailed = false;
    if (user === null) throw new RialtoError("unauthorized", "the broker knows no user by the cookie");
    this.#refusedWith = null;
    this.#expiresAt = Number.isFinite(expires_at) ? Number(expires_at) : Infinity;
    const isUnchanged = this.#replacedEnd !== null && this.#expiresAt <= this.#replacedEnd;
    this.#replacedEnd = null;
    this.#unchanged = isUnchanged ? this.#unchanged + 1 : 0;
    if (isUnchanged) {
      this.#onError(new RialtoError("no_cookie", "the refresh callback brought no newer cookie"));
      this.#refreshLater(socket);
    }
    return { user };
  }

  /**
   * A connection has ended, or was none.
   *
   * @param {number} code
   * @param {boolean} wasGreeted Whether the broker's welcome came.
   * @returns {number} The code that counts: a handshake that fails with a cookie known to be no good was refused.
   */
  ended(code, wasGreeted) {
    this.#stop();
    this.#hasFailed = !wasGreeted;
    if (wasGreeted) this.#goodAt = this.#clock.now();
    if (wasGreeted || code !== CLOSED_ABNORMALLY) return code;
    return this.#refusedWith ?? (this.#source === null && this.#hasExpired() ? EXPIRED : code);
  }

  /**
   * Whether a connection that ended with this code is worth a try with another cookie.
   *
   * @param {number} code
   */
  isWorthAnother(code) {
    if (code !== UNAUTHORIZED && code !== EXPIRED) return false;
    this.#refusedWith = code;
    this.#refusals += 1;
    return this.#refusals < REFUSALS_MAX;
  }

  /** A connection has lasted: its cookie was good. */
  proven() {
    this.#refusals = 0;
  }

  /**
   * The broker says that the cookie will end, or is no longer good, on a connection that goes on.
   *
   * @param {Socket} socket
   */
  async refresh(socket) {
    // A cookie that has not become newer is renewed at a pace of its own, and then left to end.
    if (!this.#source || this.#refreshed === socket || this.#timer !== null || this.#unchanged >= REFUSALS_MAX) return;
    this.#refreshed = socket;
    const end = this.#expiresAt;
    try {
      await this.#renew(this.#source);
      if (!socket.isOpen) return;
      this.#replacedEnd = Number.isFinite(end) ? end : null;
      this.#replace(socket);
    } catch (error) {
      if (!socket.isOpen) return;
      this.#refreshed = null;
      this.#onError(error);
      this.#refreshLater(socket);
    }
  }

  /** @param {Socket} socket */
  #refreshLater(socket) {
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = null;
      void this.refresh(socket);
    }, REFRESH_MIN_MS);
  }

  #stop() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  #isDoubtful() {
    if (this.#refusedWith !== null || this.#hasExpired()) return true;
    return this.#hasFailed && this.#clock.now() - this.#goodAt >= DOUBT_AFTER_MS;
  }

  #hasExpired() {
    return this.#expiresAt <= this.#clock.unixMs();
  }

  /**
   * Has the cookie renewed, once at a time.
   *
   * @param {() => unknown} source
   * @returns {Promise<void>}
   */
  #renew(source) {
    const options = { source, name: "refresh", code: "no_cookie", clock: this.#clock, timeoutMs: this.#timeoutMs };
    this.#renewal ??= ask(options).then(() => {
      this.#expiresAt = Infinity;
      this.#goodAt = this.#clock.now();
    }).finally(() => (this.#renewal = null));
    return this.#renewal;
  }
}
