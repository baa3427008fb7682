/** The client: one connection at a time, its subscriptions and requests, and when to connect again. */

import { Backoff } from "./backoff.js";
import { systemClock } from "./clock.js";
import { CLOSED_ABNORMALLY, meaningOf, meansReconnect } from "./codes.js";
import { Connection } from "./connection.js";
import { NotConnectedError, RialtoError, TimeoutError } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";
import { Requests } from "./requests.js";
import { Subscription } from "./subscription.js";

const DEFAULT_PING_MS = 25_000;
/** A connection that lived this long was a good one: the next failure starts with short waits again. */
const PROVEN_AFTER_MS = 5_000;
const SUBSCRIBE_RETRY_MS = 2_000;

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
 * @typedef {{code: number | string | null, message: string, retryAfterMs: number}} Closing
 *
 * @typedef {object} Options
 * @property {number} [requestTimeoutMs] Longest wait for a reply; also for `welcome`. Default 10 000.
 * @property {number} [requestsMax] Most requests that may wait for a reply at once. Default 1000.
 * @property {{initialMs?: number, maxMs?: number, random?: () => number}} [backoff] Default 500 to 20 000.
 * @property {typeof WebSocket} [WebSocket] For hosts without a global one.
 * @property {EventTarget | null} [network] Where `online` events come from. Default `window`, if there is one.
 * @property {import("./clock.js").Clock} [clock] For tests.
 */

export class RialtoClient {
  #url;
  #options;
  #clock;
  #backoff;
  #requests;
  #heartbeat;
  #events = new EventTarget();
  /** @type {Map<string, Subscription>} */
  #subscriptions = new Map();
  /** @type {Status} */
  #status = { status: "closed" };
  /** @type {Connection | null} */
  #connection = null;
  /** @type {Closing | null} */
  #closing = null;
  #welcome = null;
  #welcomedAt = 0;
  #retryTimer = null;
  #retryNotBefore = 0;
  /** @type {{promise: Promise<void>, resolve: () => void, reject: (error: Error) => void} | null} */
  #connecting = null;

  /**
   * @param {string | URL} url `ws:`, `wss:`, `http:` or `https:`; relative to the page in a browser.
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    this.#url = webSocketUrl(url);
    this.#options = {
      requestTimeoutMs: 10_000,
      requestsMax: 1000,
      WebSocket: globalThis.WebSocket,
      network: globalThis.window ?? null,
      ...options,
    };
    this.#clock = options.clock ?? systemClock;
    this.#backoff = new Backoff(options.backoff);
    this.#requests = new Requests(this.#clock, this.#options.requestsMax);
    this.#heartbeat = new Heartbeat({
      clock: this.#clock,
      probe: () => void this.ping().catch(() => {}),
      onDead: () => this.#connection?.abandon("the connection went silent"),
    });
  }

  /** The latest `status` event. */
  get status() {
    return this.#status;
  }

  /** The broker's `welcome` on the current connection, or null. */
  get welcome() {
    return this.#welcome;
  }

  /**
   * Listens to `status` ({@link Status}), `closing` ({@link Closing}: the broker will close soon and says why) or
   * `error` (an Error that belongs to no request).
   *
   * @param {"status" | "closing" | "error"} type
   * @param {(detail: any) => void} listener
   * @returns {() => void} Stops listening.
   */
  on(type, listener) {
    const forward = (/** @type {any} */ event) => listener(event.detail);
    this.#events.addEventListener(type, forward);
    return () => this.#events.removeEventListener(type, forward);
  }

  /**
   * Connects, and keeps connecting until `close`. While a retry is pending it is made now. May be called at any time.
   *
   * @returns {Promise<void>} Resolves when connected and all subscriptions are placed; rejects when closed before.
   */
  connect() {
    const { status } = this.#status;
    if (status === "connected") return Promise.resolve();
    const { promise } = (this.#connecting ??= promiseWithResolvers());
    if (status === "closed") this.#options.network?.addEventListener("online", this.#onOnline);
    if (status !== "connecting") this.#open();
    return promise;
  }

  /** Closes for good. Subscriptions stay known and return with the next `connect`. */
  close() {
    this.#stop({ code: 1000, reason: "closed by the application" });
  }

  /**
   * Subscribes to a topic now and after every reconnect. One subscription per topic: a second call returns the same
   * one with the new handlers.
   *
   * @param {string} topic
   * @param {import("./subscription.js").Handlers} handlers
   * @returns {Subscription} `await subscription.ready` for the broker's reply.
   */
  subscribe(topic, handlers) {
    const known = this.#subscriptions.get(topic);
    if (known) {
      known.update(handlers);
      return known;
    }
    const subscription = new Subscription(topic, handlers, (left) => this.#unsubscribe(left));
    this.#subscriptions.set(topic, subscription);
    if (this.#connection?.isWelcomed) void this.#place(subscription, this.#connection);
    return subscription;
  }

  /**
   * Publishes `data` (any JSON value).
   *
   * @param {string} topic
   * @param {unknown} data
   * @returns {Promise<{position: import("./subscription.js").Position}>} Resolves once the broker has kept it.
   */
  async publish(topic, data) {
    const { position } = await this.#request({ type: "publish", topic, data: data ?? null });
    return { position };
  }

  /**
   * Calls a method of the topic's plugin.
   *
   * @param {string} topic
   * @param {string} method
   * @param {unknown} [data]
   * @returns {Promise<any>} The plugin's answer.
   */
  async call(topic, method, data) {
    const reply = await this.#request({ type: "call", topic, method, data: data ?? null });
    return reply.data;
  }

  /** @returns {Promise<number>} Milliseconds to the broker and back. */
  async ping() {
    const sentAt = this.#clock.now();
    const pong = this.#request({ type: "ping" });
    if (this.#connection?.isWelcomed) this.#heartbeat.probed();
    await pong;
    return this.#clock.now() - sentAt;
  }

  #onOnline = () => {
    const { status } = this.#status;
    if (status === "disconnected") {
      const waitMs = this.#retryNotBefore - this.#clock.now();
      if (waitMs <= 0) this.#open();
      else this.#retryIn(waitMs);
    } else if (status === "connected") {
      // Another network, perhaps: the old connection may be dead without knowing.
      this.ping().catch(() => {});
    }
  };

  #open() {
    this.#clock.clearTimeout(this.#retryTimer);
    this.#closing = null;
    this.#setStatus({ status: "connecting", attempt: this.#backoff.attempts });
    try {
      const connection = new Connection({
        url: this.#url,
        WebSocket: this.#options.WebSocket,
        clock: this.#clock,
        welcomeTimeoutMs: this.#options.requestTimeoutMs,
        onWelcome: (welcome) => void this.#onWelcome(connection, welcome),
        onFrame: (frame) => this.#onFrame(frame),
        onEnd: (end) => this.#onEnd(end),
      });
      this.#connection = connection;
    } catch (error) {
      // Refused before any network was touched (an insecure address on a secure page): no retry will help.
      this.#stop({ code: CLOSED_ABNORMALLY, reason: error.message });
    }
  }

  async #onWelcome(connection, welcome) {
    this.#welcome = welcome;
    this.#welcomedAt = this.#clock.now();
    this.#heartbeat.start(welcome.ping_ms ?? DEFAULT_PING_MS);
    await Promise.all([...this.#subscriptions.values()].map((each) => this.#place(each, connection)));
    if (this.#connection !== connection) return;
    this.#setStatus({ status: "connected" });
    this.#connecting?.resolve();
    this.#connecting = null;
  }

  #onFrame(frame) {
    this.#heartbeat.heard();
    switch (frame.type) {
      case "message":
        return this.#hand(() => this.#subscriptions.get(frame.topic)?.deliver(frame));
      case "ok":
      case "pong":
        return void this.#requests.settle(frame);
      case "error":
        if (!this.#requests.settle(frame)) this.#emit("error", RialtoError.fromFrame(frame));
        return;
      case "gap":
        return this.#hand(() => this.#subscriptions.get(frame.topic)?.skip(frame));
      case "unsubscribed":
        return this.#onUnsubscribed(frame);
      case "closing":
        this.#closing = {
          code: frame.code ?? null,
          message: frame.message ?? "",
          retryAfterMs: Number(frame.retry_after_ms) || 0,
        };
        return this.#emit("closing", this.#closing);
      default: // A newer broker may send what this client does not know.
    }
  }

  /** @param {import("./connection.js").End} end */
  #onEnd(end) {
    this.#heartbeat.stop();
    this.#connection = null;
    this.#welcome = null;
    this.#requests.loseConnection();
    if (this.#status.status === "closed") return;
    // The close frame may be lost after `closing` was read: then the announced code is the better one.
    const announced = this.#closing?.code;
    const code = end.code === CLOSED_ABNORMALLY && typeof announced === "number" ? announced : end.code;
    const reason = this.#closing?.message || end.reason || meaningOf(code);
    if (!meansReconnect(code)) return this.#stop({ code, reason });
    if (this.#welcomedAt && this.#clock.now() - this.#welcomedAt >= PROVEN_AFTER_MS) this.#backoff.reset();
    this.#welcomedAt = 0;
    const hintMs = this.#closing?.retryAfterMs ?? 0;
    this.#retryNotBefore = this.#clock.now() + hintMs;
    this.#retryIn(this.#backoff.next(hintMs), { code, reason });
  }

  /** @param {number} retryInMs */
  #retryIn(retryInMs, { code = this.#status.code, reason = this.#status.reason } = {}) {
    this.#clock.clearTimeout(this.#retryTimer);
    this.#retryTimer = this.#clock.setTimeout(() => this.#open(), retryInMs);
    const attempt = this.#backoff.attempts;
    this.#setStatus({ status: "disconnected", code, reason, retryInMs, retryAt: Date.now() + retryInMs, attempt });
  }

  /** @param {import("./connection.js").End} end */
  #stop({ code, reason }) {
    this.#clock.clearTimeout(this.#retryTimer);
    this.#options.network?.removeEventListener("online", this.#onOnline);
    this.#backoff.reset();
    this.#status = { status: "closed", code, reason };
    this.#connection?.close();
    this.#connecting?.reject(new RialtoError("closed", reason));
    this.#connecting = null;
    // Last, because a listener may call `connect`.
    this.#emit("status", this.#status);
  }

  /** Places a subscription on this connection; the next connection does it again if this one ends first. */
  async #place(subscription, connection) {
    let failure = null;
    try {
      const reply = await this.#request({ type: "subscribe", topic: subscription.topic });
      if (this.#isCurrent(subscription, connection)) this.#hand(() => subscription.accepted(reply));
    } catch (error) {
      failure = error;
    }
    if (failure === null || !this.#isCurrent(subscription, connection)) return;
    if (failure instanceof TimeoutError) failure.retryAfterMs = SUBSCRIBE_RETRY_MS;
    this.#refuse(subscription, connection, failure);
  }

  #onUnsubscribed(frame) {
    const subscription = this.#subscriptions.get(frame.topic);
    if (subscription) this.#refuse(subscription, this.#connection, RialtoError.fromFrame(frame));
  }

  /** With a hint the subscription is tried again; without, it is over. */
  #refuse(subscription, connection, error) {
    if (error.retryAfterMs === null) this.#subscriptions.delete(subscription.topic);
    else {
      this.#clock.setTimeout(() => {
        if (this.#isCurrent(subscription, connection)) void this.#place(subscription, connection);
      }, error.retryAfterMs);
    }
    this.#hand(() => subscription.refused(error));
  }

  #isCurrent(subscription, connection) {
    return this.#connection === connection && this.#subscriptions.get(subscription.topic) === subscription;
  }

  /** @param {Subscription} subscription */
  async #unsubscribe(subscription) {
    const { topic } = subscription;
    if (this.#subscriptions.get(topic) !== subscription) return;
    this.#subscriptions.delete(topic);
    // Without a connection there is nothing left to unsubscribe from.
    await this.#request({ type: "unsubscribe", topic }).catch(() => {});
  }

  /** @param {{type: string}} fields A request without its id. */
  async #request(fields) {
    const connection = this.#connection;
    if (!connection?.isWelcomed) throw new NotConnectedError(fields.type);
    // Encoded before it is numbered: what cannot be encoded must not wait for a reply. The id goes in front.
    const encoded = JSON.stringify(fields);
    const { id, reply } = this.#requests.open(fields.type, this.#options.requestTimeoutMs);
    connection.send(`{"id":${id},${encoded.slice(1)}`);
    return reply;
  }

  /** Runs an application's handler: its mistakes are reported, and disturb nothing here. */
  #hand(handler) {
    try {
      handler();
    } catch (error) {
      this.#emit("error", error);
    }
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.#status = status;
    this.#emit("status", status);
  }

  #emit(type, detail) {
    this.#events.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function webSocketUrl(/** @type {string | URL} */ url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  absolute.hash = "";
  return absolute.href;
}

function promiseWithResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  // `connect` may be called for its effect alone.
  parts.promise.catch(() => {});
  return parts;
}
