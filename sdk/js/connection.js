/** One connection at a time, and when to make the next. Knows nothing of topics. */

import { Backoff } from "./backoff.js";
import { CLOSED_ABNORMALLY, meaningOf, meansReconnect } from "./codes.js";
import { Socket } from "./socket.js";
import { RialtoError } from "./errors.js";
import { Credentials } from "./credentials.js";

/** A connection that lived this long was a good one: the next failure starts with short waits again. */
const PROVEN_AFTER_MS = 5_000;

/**
 * @typedef {object} Status
 * @property {"connecting" | "connected" | "disconnected" | "closed"} status `disconnected` comes back by itself,
 *   `closed` does not: `close` was called, or the broker said not to return.
 * @property {string} [reason] For `disconnected` and `closed`: why, in words.
 * @property {number} [code] The WebSocket close code.
 * @property {number} [retryInMs] For `disconnected`: until the next attempt.
 * @property {number} [retryAt] The same moment in Unix milliseconds.
 * @property {number} [attempt] For `connecting` and `disconnected`: attempts since the last good connection.
 *
 * @typedef {{code: number | null, message: string, retryAfterMs: number}} Closing
 * @typedef {import("./socket.js").Frame} Frame
 * @typedef {import("./socket.js").Welcome} Welcome
 *
 * @typedef {object} ConnectionOptions
 * @property {string} url
 * @property {import("./socket.js").SocketClass} WebSocket
 * @property {import("./clock.js").Clock} clock
 * @property {number} timeoutMs
 * @property {EventTarget | null} network
 * @property {import("./backoff.js").BackoffOptions} [backoff]
 * @property {import("./signin.js").MakeSignIn} signIn
 * @property {import("./events.js").Events} events Gets `status`, `connected`, `disconnected` and `closing`.
 * @property {(socket: Socket) => Promise<void>} onOpen Requests may be sent; resolves when the session is as
 *   it was before.
 * @property {(frame: Frame) => void} onFrame
 * @property {() => void} onHold Requests wait from now on: this connection ends when those under way are answered.
 * @property {() => void} onLost
 * @property {() => void} onClosed It will not come back.
 */

export class Connection {
  #options;
  #clock;
  #events;
  #backoff;
  #signIn;
  /** @type {Status} */
  #status = { status: "closed" };
  /** @type {Socket | null} */
  #socket = null;
  /** @type {Closing | null} */
  #closing = null;
  /** @type {Welcome | null} */
  #welcome = null;
  #isAuthorized = false;
  #welcomedAt = 0;
  #connections = 0;
  /** Whether the connection that ends now is replaced at once. */
  #isReplacing = false;
  /** @type {any} */
  #retryTimer = null;
  #retryNotBefore = 0;
  /** @type {{promise: Promise<void>, resolve: () => void, reject: (error: Error) => void} | null} */
  #connecting = null;

  /** @param {ConnectionOptions} options */
  constructor(options) {
    const { clock, events } = options;
    this.#options = options;
    this.#clock = clock;
    this.#events = events;
    this.#backoff = new Backoff(options.backoff);
    this.#signIn = this.#makeSignIn();
  }

  get status() {
    return this.#status;
  }

  /** The broker's `welcome` on the current connection, or null. */
  get welcome() {
    return this.#welcome;
  }

  /** The connection that takes requests, or null. */
  get socket() {
    return this.#isAuthorized ? this.#socket : null;
  }

  /** @returns {Promise<void>} Resolves when connected; rejects when closed before. */
  connect() {
    const { status } = this.#status;
    if (status === "connected") return Promise.resolve();
    const { promise } = (this.#connecting ??= promiseWithResolvers());
    if (status === "closed") this.#options.network?.addEventListener("online", this.#onOnline);
    if (status !== "connecting") this.#open();
    return promise;
  }

  close() {
    this.#stop({ code: 1000, reason: "closed by the application" });
  }

  #onOnline = () => {
    const { status } = this.#status;
    if (status === "disconnected") {
      const waitMs = this.#retryNotBefore - this.#clock.now();
      if (waitMs <= 0) this.#open();
      else this.#retryIn(waitMs);
    } else if (status === "connected") {
      // Another network, perhaps: the old connection may be dead without knowing.
      this.#socket?.ping(this.#options.timeoutMs).catch(() => {});
    }
  };

  #open() {
    this.#clock.clearTimeout(this.#retryTimer);
    this.#closing = null;
    this.#setStatus({ status: "connecting", attempt: this.#backoff.attempts });
    // A listener may have closed.
    if (this.#status.status !== "connecting" || this.#socket) return;
    const prepared = this.#signIn?.prepare() ?? null;
    if (prepared === null) this.#openSocket();
    else void this.#openAfter(prepared);
  }

  /** @param {Promise<void>} prepared When the handshake may begin. */
  async #openAfter(prepared) {
    const signIn = this.#signIn;
    try {
      await prepared;
      // It may have closed meanwhile, and begun anew.
      if (this.#signIn === signIn) this.#openSocket();
    } catch (error) {
      if (this.#signIn !== signIn) return;
      this.#retryIn(this.#backoff.next(), { code: CLOSED_ABNORMALLY, reason: /** @type {Error} */ (error).message });
      this.#events.emit("error", error);
    }
  }

  #openSocket() {
    const { url, WebSocket, timeoutMs } = this.#options;
    try {
      const socket = new Socket({
        url,
        WebSocket,
        clock: this.#clock,
        timeoutMs,
        onWelcome: (welcome) => void this.#onWelcome(socket, welcome),
        onFrame: (frame) => this.#onFrame(frame, socket),
        onEnd: (end) => this.#onEnd(end),
      });
      this.#socket = socket;
    } catch (error) {
      // Refused before any network was touched (an insecure address on a secure page): no retry will help.
      this.#stop({ code: CLOSED_ABNORMALLY, reason: /** @type {Error} */ (error).message });
    }
  }

  /**
   * @param {Socket} socket
   * @param {Welcome} welcome
   */
  async #onWelcome(socket, welcome) {
    this.#welcome = welcome;
    this.#welcomedAt = this.#clock.now();
    if (this.#signIn && !(await this.#authorize(this.#signIn, socket, welcome))) return;
    this.#isAuthorized = true;
    await this.#options.onOpen(socket);
    if (this.#socket !== socket) return;
    this.#setStatus({ status: "connected" });
    this.#connecting?.resolve();
    this.#connecting = null;
    this.#connections += 1;
    const { session, user = null } = this.#welcome;
    this.#events.emit("connected", { session, user, isReturn: this.#connections > 1 });
  }

  /**
   * @param {import("./signin.js").SignIn} signIn
   * @param {Socket} socket
   * @param {Welcome} welcome
   * @returns {Promise<boolean>} Whether this connection goes on.
   */
  async #authorize(signIn, socket, welcome) {
    try {
      const { user, rates = welcome.limits?.rates } = await signIn.present(socket, welcome);
      if (this.#socket !== socket || !this.#welcome) return false;
      this.#welcome = { ...this.#welcome, user, limits: { ...welcome.limits, rates: rates ?? undefined } };
      return true;
    } catch (error) {
      if (this.#socket !== socket) return false;
      const verdict = Credentials.verdict(error);
      if (verdict === null) {
        this.#announce(error);
        this.#events.emit("error", error);
      }
      socket.end(verdict ?? { code: CLOSED_ABNORMALLY, reason: /** @type {Error} */ (error).message });
      return false;
    }
  }

  /** A refusal may say when to return, as a `closing` frame does. @param {any} error */
  #announce({ retryAfterMs, message }) {
    if (retryAfterMs) this.#closing = { code: null, message, retryAfterMs };
  }

  /**
   * @param {Frame} frame
   * @param {Socket} socket
   */
  #onFrame(frame, socket) {
    if (frame.type === "closing") {
      const { code = null, message = "", retry_after_ms } = frame;
      this.#closing = { code, message, retryAfterMs: Number(retry_after_ms) || 0 };
      this.#events.emit("closing", this.#closing);
    } else if (frame.type === "token_expiring") {
      void this.#signIn?.refresh(socket);
    } else if (frame.type === "error") {
      const error = RialtoError.fromFrame(frame);
      const isAboutToken = error.code === "unauthorized" || error.code === "expired";
      if (isAboutToken) void this.#signIn?.refresh(socket);
      this.#events.emit("error", error);
    } else {
      this.#options.onFrame(frame);
    }
  }

  /** @param {import("./socket.js").End} end */
  #onEnd(end) {
    const wasConnected = this.#status.status === "connected";
    const wasGreeted = this.#welcome !== null;
    this.#socket = null;
    this.#welcome = null;
    this.#isAuthorized = false;
    this.#options.onLost();
    // The close frame may be lost after `closing` was read: then the announced code is the better one.
    const announced = this.#closing?.code;
    const heard = end.code === CLOSED_ABNORMALLY && typeof announced === "number" ? announced : end.code;
    const code = this.#signIn?.ended(heard, wasGreeted) ?? heard;
    const reason = this.#closing?.message || end.reason || meaningOf(code);
    if (this.#status.status === "closed") return;
    if (this.#welcomedAt && this.#clock.now() - this.#welcomedAt >= PROVEN_AFTER_MS) {
      this.#backoff.reset();
      this.#signIn?.proven();
    }
    this.#welcomedAt = 0;
    if (this.#isReplacing) return this.#reopen({ code, reason }, wasConnected);
    if (!meansReconnect(code) && !this.#signIn?.isWorthAnother(code)) return this.#stop({ code, reason });
    const hintMs = this.#closing?.retryAfterMs ?? 0;
    this.#retryNotBefore = this.#clock.now() + hintMs;
    this.#retryIn(this.#backoff.next(hintMs), { code, reason });
    if (wasConnected) this.#events.emit("disconnected", { code, reason, willReturn: true });
  }

  /**
   * Ends a session that goes on in a new connection, once what was requested is answered.
   *
   * @param {Socket} socket
   */
  async #replace(socket) {
    if (this.#socket !== socket) return;
    this.#options.onHold();
    await socket.idle(this.#options.timeoutMs);
    // A broker that closes says itself when to come back.
    if (this.#socket !== socket || this.#closing) return;
    this.#isReplacing = true;
    socket.end({ code: 1000, reason: "another connection takes its place" });
  }

  /**
   * @param {import("./socket.js").End} end
   * @param {boolean} wasConnected
   */
  #reopen({ code, reason }, wasConnected) {
    this.#isReplacing = false;
    this.#open();
    if (wasConnected) this.#events.emit("disconnected", { code, reason, willReturn: true });
  }

  #makeSignIn() {
    const { signIn, clock, timeoutMs, events } = this.#options;
    const onError = (/** @type {unknown} */ error) => events.emit("error", error);
    return signIn({ clock, timeoutMs, onError, replace: (socket) => void this.#replace(socket) });
  }

  /** @param {number} retryInMs */
  #retryIn(retryInMs, { code = this.#status.code, reason = this.#status.reason } = {}) {
    this.#clock.clearTimeout(this.#retryTimer);
    this.#retryTimer = this.#clock.setTimeout(() => this.#open(), retryInMs);
    const attempt = this.#backoff.attempts;
    const retryAt = this.#clock.unixMs() + retryInMs;
    this.#setStatus({ status: "disconnected", code, reason, retryInMs, retryAt, attempt });
  }

  /** @param {import("./socket.js").End} end */
  #stop({ code, reason }) {
    const wasConnected = this.#status.status === "connected";
    this.#clock.clearTimeout(this.#retryTimer);
    this.#options.network?.removeEventListener("online", this.#onOnline);
    this.#backoff.reset();
    this.#status = { status: "closed", code, reason };
    this.#socket?.close();
    this.#signIn = this.#makeSignIn();
    this.#connecting?.reject(new RialtoError("closed", reason));
    this.#connecting = null;
    this.#options.onClosed();
    // Last, because a listener may call `connect`.
    if (wasConnected) this.#events.emit("disconnected", { code, reason, willReturn: false });
    this.#events.emit("status", this.#status);
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.#status = status;
    this.#events.emit("status", status);
  }
}

function promiseWithResolvers() {
  /** @type {any} */
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  // `connect` may be called for its effect alone.
  parts.promise.catch(() => {});
  return parts;
}
