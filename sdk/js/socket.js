/** One WebSocket from its opening to its end: frames, replies, liveness. Never connects again. */

import { CLOSED_ABNORMALLY, UNAUTHORIZED } from "./codes.js";
import { NotConnectedError, RialtoError } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";
import { Replies } from "./replies.js";

const SUBPROTOCOL = "rialto.v1.json";
const DEFAULT_PING_MS = 25_000;
const CLOSE_AFTER_ERROR_MS = 100;
/** What the `ws` package says of a handshake that was refused for its credentials. Browsers do not say. */
const REFUSED_HANDSHAKE = /^Unexpected server response: (401|403)$/;
/** A last bound: what an application may have under way is bounded where it asks for it. */
const REQUESTS_MAX = 20_000;
/** No text of so many UTF-16 units has more than three times as many bytes. */
const BYTES_PER_UNIT_MAX = 3;

/**
 * @typedef {{code: number, reason: string}} End
 * @typedef {{type: string, [field: string]: any}} Frame
 * @typedef {Frame & {session: string, user?: string | null, info?: any, ping_ms?: number, features?: string[],
 *   limits?: Limits}} Welcome
 * @typedef {{message_bytes?: number, subscriptions?: number, outbox_bytes?: number, rates?: Rates}} Limits
 * @typedef {{publishes?: number, bytes?: number, subscribes?: number, calls?: number}} Rates What the session may ask for
 *   in a second; absent where there is no limit.
 * @typedef {{type: string, [field: string]: unknown}} Fields A request without its id.
 * @typedef {import("./replies.js").Settle} Settle
 *
 * @typedef {object} WebSocketLike What the client needs of a browser's WebSocket; the `ws` package has it too.
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 * @property {(text: string) => void} send
 * @property {(code?: number) => void} close
 *
 * @typedef {new (url: string, protocols: string[]) => WebSocketLike} SocketClass
 */

export class Socket {
  #webSocket;
  #clock;
  #onEnd;
  #welcomeTimer;
  /** @type {any} */
  #errorTimer = null;
  #replies;
  #heartbeat;
  #ended = false;
  /** @type {Welcome | null} */
  #welcome = null;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {SocketClass} options.WebSocket
   * @param {import("./clock.js").Clock} options.clock
   * @param {number} options.timeoutMs From opening the socket to the broker's `welcome`, and for pings.
   * @param {(welcome: Welcome) => void} options.onWelcome
   * @param {(frame: Frame) => void} options.onFrame Every frame that is neither `welcome` nor an awaited reply.
   * @param {(end: End) => void} options.onEnd Once, whichever side ended it, and never inside this constructor.
   */
  constructor({ url, WebSocket, clock, timeoutMs, onWelcome, onFrame, onEnd }) {
    this.#clock = clock;
    this.#onEnd = onEnd;
    this.#replies = new Replies(clock, REQUESTS_MAX);
    this.#heartbeat = new Heartbeat({
      clock,
      probe: () => void this.ping(timeoutMs).catch(() => {}),
      onDead: () => this.abandon("the connection went silent"),
    });
    this.#webSocket = new WebSocket(url, [SUBPROTOCOL]);
    this.#welcomeTimer = clock.setTimeout(() => this.abandon("no welcome in time"), timeoutMs);
    // `close` follows and says all there is to know, except from Node 20's own sockets that cannot connect.
    this.#webSocket.onerror = (event) => {
      const status = REFUSED_HANDSHAKE.exec(event?.message)?.[1];
      if (status) return this.end({ code: UNAUTHORIZED, reason: `the handshake was refused with status ${status}` });
      this.#errorTimer ??= clock.setTimeout(() => this.abandon("the connection failed"), CLOSE_AFTER_ERROR_MS);
    };
    this.#webSocket.onclose = ({ code, reason }) => this.end({ code, reason });
    this.#webSocket.onmessage = ({ data }) => {
      const frame = decode(data);
      if (frame === null) return this.abandon("the broker sent something that is not a frame");
      if (this.#welcome) return this.#receive(frame, onFrame);
      if (frame.type !== "welcome") return onFrame(frame);
      this.#begin(/** @type {Welcome} */ (frame));
      onWelcome(/** @type {Welcome} */ (frame));
    };
  }

  /** Whether requests may be sent. */
  get isOpen() {
    return this.#welcome !== null && !this.#ended;
  }

  /** @param {string} feature One of those that the broker may offer. */
  offers(feature) {
    return this.#welcome?.features?.includes(feature) === true;
  }

  /** The largest frame that the broker takes. */
  get frameBytesMax() {
    return this.#welcome?.limits?.message_bytes ?? Infinity;
  }

  /**
   * Sends a request. What cannot be sent throws, and was not sent.
   *
   * @param {Fields} fields
   * @param {number | null} timeoutMs
   * @param {Settle} settle
   * @returns {() => void} Forgets it: a reply will be ignored.
   */
  send(fields, timeoutMs, settle) {
    if (!this.isOpen) throw new NotConnectedError(fields.type);
    // Encoded before it is numbered: what cannot be encoded must not wait for a reply. The id goes in front.
    const encoded = JSON.stringify(fields).slice(1);
    const id = this.#replies.open(fields.type, timeoutMs, settle);
    const text = `{"id":${id},${encoded}`;
    // The broker would end the session for it.
    if (isLonger(text, this.frameBytesMax)) {
      this.#replies.forget(id);
      throw new RialtoError("too_large", `${fields.type}: larger than ${this.frameBytesMax} bytes`);
    }
    this.#webSocket.send(text);
    return () => this.#replies.forget(id);
  }

  /**
   * As `send`, for a caller that need not act before the next frame is read.
   *
   * @param {Fields} fields
   * @param {number | null} timeoutMs
   * @returns {Promise<any>}
   */
  request(fields, timeoutMs) {
    return new Promise((resolve, reject) => {
      this.send(fields, timeoutMs, (error, reply) => (error ? reject(error) : resolve(reply)));
    });
  }

  /** Asks for a sign of life: without one this connection ends. */
  async ping(/** @type {number} */ timeoutMs) {
    const sentAt = this.#clock.now();
    const pong = this.request({ type: "ping" }, timeoutMs);
    if (this.isOpen) this.#heartbeat.probed();
    await pong;
    return this.#clock.now() - sentAt;
  }

  /**
   * Waits until no request waits for a reply any more.
   *
   * @param {number} timeoutMs Longest wait.
   * @returns {Promise<void>}
   */
  idle(timeoutMs) {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimeout(resolve, timeoutMs);
      this.#replies.idle().then(() => {
        this.#clock.clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Ends it at once, as if the network had failed: a dead peer would not answer a close frame. */
  abandon(/** @type {string} */ reason) {
    this.end({ code: CLOSED_ABNORMALLY, reason });
  }

  /** Ends it in good order. */
  close() {
    this.end({ code: 1000, reason: "" });
  }

  /** @param {End} end What `onEnd` gets. */
  end(end) {
    if (this.#ended) return;
    this.#ended = true;
    this.#clock.clearTimeout(this.#welcomeTimer);
    this.#clock.clearTimeout(this.#errorTimer);
    this.#heartbeat.stop();
    this.#webSocket.onmessage = null;
    this.#webSocket.onclose = null;
    this.#webSocket.close(1000);
    this.#replies.loseConnection();
    this.#onEnd(end);
  }

  /** @param {Welcome} welcome */
  #begin(welcome) {
    this.#welcome = welcome;
    this.#clock.clearTimeout(this.#welcomeTimer);
    this.#heartbeat.start(welcome.ping_ms ?? DEFAULT_PING_MS);
  }

  /**
   * @param {Frame} frame
   * @param {(frame: Frame) => void} onFrame
   */
  #receive(frame, onFrame) {
    this.#heartbeat.received();
    const isReply = frame.type === "ok" || frame.type === "pong" || frame.type === "error";
    if (!isReply || (!this.#replies.settle(frame) && frame.type === "error")) onFrame(frame);
  }
}

/**
 * @param {string} text
 * @param {number} bytesMax
 */
export function isLonger(text, bytesMax) {
  if (text.length * BYTES_PER_UNIT_MAX <= bytesMax) return false;
  return new TextEncoder().encode(text).length > bytesMax;
}

/**
 * @param {unknown} data
 * @returns {Frame | null} Null for anything that is not one map with a `type`.
 */
function decode(data) {
  if (typeof data !== "string") return null;
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
