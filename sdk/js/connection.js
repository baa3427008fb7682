/** One WebSocket from its opening to its end. Decodes frames; does not know what they ask for, and never retries. */

import { CLOSED_ABNORMALLY } from "./codes.js";

const SUBPROTOCOL = "rialto.v1.json";

/** @typedef {{code: number, reason: string}} End */

export class Connection {
  #socket;
  #clock;
  #onEnd;
  #welcomeTimer;
  #welcomed = false;
  #ended = false;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {typeof WebSocket} options.WebSocket
   * @param {import("./clock.js").Clock} options.clock
   * @param {number} options.welcomeTimeoutMs From opening the socket to the broker's `welcome`.
   * @param {(welcome: any) => void} options.onWelcome
   * @param {(frame: any) => void} options.onFrame Every frame after `welcome`.
   * @param {(end: End) => void} options.onEnd Once, whoever ended it, and never inside this constructor.
   */
  constructor({ url, WebSocket, clock, welcomeTimeoutMs, onWelcome, onFrame, onEnd }) {
    this.#clock = clock;
    this.#onEnd = onEnd;
    this.#socket = new WebSocket(url, [SUBPROTOCOL]);
    this.#welcomeTimer = clock.setTimeout(() => this.abandon("no welcome in time"), welcomeTimeoutMs);
    // `close` follows and says all there is to know; Node's sockets throw when no one listens.
    this.#socket.onerror = () => {};
    this.#socket.onclose = ({ code, reason }) => this.#end({ code, reason });
    this.#socket.onmessage = ({ data }) => {
      const frame = decode(data);
      if (frame === null) this.abandon("the broker sent something that is not a frame");
      else if (this.#welcomed) onFrame(frame);
      else if (frame.type === "welcome") this.#welcome(frame, onWelcome);
      else onFrame(frame);
    };
  }

  /** Whether requests may be sent. */
  get isWelcomed() {
    return this.#welcomed && !this.#ended;
  }

  /** @param {string} text One encoded frame. */
  send(text) {
    this.#socket.send(text);
  }

  /** Ends it at once, as if the network had failed: a dead peer would not answer a close frame. */
  abandon(/** @type {string} */ reason) {
    this.#end({ code: CLOSED_ABNORMALLY, reason });
  }

  /** Ends it in good order. */
  close() {
    this.#end({ code: 1000, reason: "" });
  }

  #welcome(frame, onWelcome) {
    this.#welcomed = true;
    this.#clock.clearTimeout(this.#welcomeTimer);
    onWelcome(frame);
  }

  /** @param {End} end */
  #end(end) {
    if (this.#ended) return;
    this.#ended = true;
    this.#clock.clearTimeout(this.#welcomeTimer);
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close(1000);
    this.#onEnd(end);
  }
}

/** @returns {any | null} Null for anything that is not one map with a `type`. */
function decode(data) {
  if (typeof data !== "string") return null;
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
