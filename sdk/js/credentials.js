/** What `connect` proves by who the client is, a token or a password: when it is fetched and sent. Logs none. */

import { ask } from "./callback.js";
import { EXPIRED, UNAUTHORIZED } from "./codes.js";
import { RialtoError, TimeoutError } from "./errors.js";
import { CLIENT_NAME } from "./key.js";

/** Refusals in a row after which another token is not worth a try. */
export const REFUSALS_MAX = 3;
/** How soon a refresh may follow another; also for a clock that believes a fresh token to have expired. */
export const REFRESH_MIN_MS = 5_000;
/** A new token is asked for this long before the old one expires, or when a tenth of its time is left. */
const REFRESH_BEFORE_MS = 60_000;
const REFRESH_SHARE = 0.1;
/** The longest that timers can wait. */
const TIMER_MAX_MS = 2 ** 31 - 1;

const isText = (/** @type {unknown} */ value) => typeof value === "string" && value !== "";

/**
 * What a source returns, and the fields of `connect` that it becomes; null for an answer that is none.
 *
 * @type {{[kind: string]: {code: string, wanted: string, fieldsOf: (answer: any) => {[field: string]: string} | null}}}
 */
const KINDS = {
  token: { code: "no_token", wanted: "text", fieldsOf: (token) => (isText(token) ? { token } : null) },
  login: {
    code: "no_login",
    wanted: "user and password",
    fieldsOf: (login) =>
      isText(login?.user) && isText(login.password) ? { user: login.user, password: login.password } : null,
  },
};

/** @typedef {import("./socket.js").Socket} Socket */

export class Credentials {
  #kind;
  #source;
  #isFixed;
  #clock;
  #timeoutMs;
  #onError;
  #refusals = 0;
  /** Whether the broker has accepted what this connection sent. */
  #isAccepted = false;
  /** @type {any} */
  #timer = null;
  #isRefreshing = false;

  /**
   * @param {object} options
   * @param {"token" | "login"} options.kind
   * @param {() => unknown} options.source
   * @param {boolean} [options.isFixed] The source always returns the same.
   * @param {import("./clock.js").Clock} options.clock
   * @param {number} options.timeoutMs Longest wait for the source, and for the broker.
   * @param {(error: unknown) => void} options.onError For what goes wrong while a connection goes on.
   */
  constructor({ kind, source, isFixed = false, clock, timeoutMs, onError }) {
    this.#kind = kind;
    this.#source = source;
    this.#isFixed = isFixed;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#onError = onError;
  }

  /**
   * Before a handshake, which carries none of it.
   *
   * @returns {null} There is nothing to wait for.
   */
  prepare() {
    this.#isAccepted = false;
    return null;
  }

  /**
   * Shows a token to the broker, and a newer one before it expires, as long as the connection lasts.
   *
   * @param {Socket} socket
   * @returns {Promise<import("./signin.js").SignedIn>} Rejects when there is no token, or when it is refused.
   */
  async present(socket) {
    this.#stop();
    const fields = await this.#ask();
    const reply = await socket.request({ type: "connect", ...fields, client: CLIENT_NAME }, this.#timeoutMs);
    this.#isAccepted = true;
    if (Number.isFinite(reply.expires_at)) this.#refreshBefore(reply.expires_at, socket);
    return { user: reply.user ?? null, rates: reply.rates ?? null };
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
    // The same would be refused again.
    if (this.#isFixed && !this.#isAccepted) return false;
    return this.#refusals < REFUSALS_MAX;
  }

  /** A connection has lasted: its token was good. */
  proven() {
    this.#refusals = 0;
  }

  /** The broker says that the token is no longer good, on a connection that goes on. */
  async refresh(/** @type {Socket} */ socket) {
    if (this.#isRefreshing || !this.#isAccepted) return;
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

  /**
   * A connection has ended: no more refreshing.
   *
   * @param {number} code
   * @returns {number} The code that counts.
   */
  ended(code) {
    this.#stop();
    return code;
  }

  #stop() {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #ask() {
    const { code, wanted, fieldsOf } = KINDS[this.#kind];
    const [source, name, clock, timeoutMs] = [this.#source, this.#kind, this.#clock, this.#timeoutMs];
    const fields = fieldsOf(await ask({ source, name, code, clock, timeoutMs }));
    if (fields === null) throw new RialtoError(code, `the ${name} callback returned no ${wanted}`);
    return fields;
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
