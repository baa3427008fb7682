/** What an application holds for one topic. Sends nothing itself: the client does. */

import { RialtoError } from "./errors.js";

/**
 * @typedef {{epoch: string, offset: number}} Position
 * @typedef {{topic: string, offset: number, time: number, data: any}} Message
 * @typedef {{topic: string, from: number, to: number, reason: string}} Gap
 *
 * @typedef {object} Subscribed
 * @property {Position} position Where the topic stood when the broker replied.
 * @property {boolean} recovered True only when nothing was missed since `previous`.
 * @property {Position | null} previous The last position seen before; null the first time.
 *
 * @typedef {object} Handlers
 * @property {(message: Message) => void} [onMessage]
 * @property {(gap: Gap) => void} [onGap] Some messages will not come.
 * @property {(subscribed: Subscribed) => void} [onSubscribed] After the first reply and after every reconnect.
 * @property {(error: RialtoError) => void} [onRefused] The broker refused or ended the subscription. When
 *   `error.retryAfterMs` is set the client tries again by itself.
 */

export class Subscription {
  #leave;
  /** @type {Handlers} */
  #handlers;
  /** @type {Position | null} */
  #position = null;
  #settleReady;

  /**
   * Made by `RialtoClient.subscribe`.
   *
   * @param {string} topic
   * @param {Handlers} handlers
   * @param {(subscription: Subscription) => Promise<void>} leave
   */
  constructor(topic, handlers, leave) {
    /** @readonly */
    this.topic = topic;
    /**
     * Resolves with the broker's first acceptance, however many connections that takes; rejects when it is refused
     * or given up before.
     *
     * @type {Promise<Subscribed>}
     * @readonly
     */
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    // Whoever does not ask must not get an unhandled rejection.
    this.ready.catch(() => {});
    this.#handlers = handlers;
    this.#leave = leave;
  }

  /** The newest position seen; null before the first reply. */
  get position() {
    return this.#position;
  }

  /** Ends the subscription. Resolves when the broker confirmed, or at once when there is no connection. */
  unsubscribe() {
    this.#settleReady.reject(new RialtoError("unsubscribed", `topic ${JSON.stringify(this.topic)}: unsubscribed`));
    return this.#leave(this);
  }

  /** @internal @param {Handlers} handlers */
  update(handlers) {
    this.#handlers = handlers;
  }

  /** @internal @param {any} reply */
  accepted(reply) {
    const previous = this.#position;
    this.#position = reply.position ? { ...reply.position } : null;
    const subscribed = { position: reply.position ?? null, recovered: reply.recovered === true, previous };
    this.#settleReady.resolve(subscribed);
    this.#handlers.onSubscribed?.(subscribed);
  }

  /** @internal @param {RialtoError} error */
  refused(error) {
    if (error.retryAfterMs === null) this.#settleReady.reject(error);
    this.#handlers.onRefused?.(error);
  }

  /** @internal @param {any} frame A `message` frame. */
  deliver({ topic, offset, time, data }) {
    if (this.#position) this.#position.offset = offset;
    this.#handlers.onMessage?.({ topic, offset, time, data });
  }

  /** @internal @param {any} frame A `gap` frame. */
  skip({ topic, from, to, reason }) {
    this.#handlers.onGap?.({ topic, from, to, reason });
  }
}
