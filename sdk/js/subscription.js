/** A subscription to one topic or pattern, as the application holds it. Does no I/O: the client sends its requests. */

import { fromBase64 } from "./bytes.js";
import { RialtoError } from "./errors.js";
import { isPattern } from "./pattern.js";
import { Cursor } from "./cursor.js";

/** Messages requested when a position cannot be recovered: the default retention of a topic. */
const REPLAY_MESSAGES = 1000;
/** Most frames of a topic buffered before the reply to a bulk subscribe; with more, the topic is requested alone. */
const BUFFERED_MAX = 1000;

/**
 * @typedef {import("./cursor.js").Position} Position
 * @typedef {import("./socket.js").Frame} Frame
 *
 * @typedef {object} Message
 * @property {string} topic
 * @property {number} offset
 * @property {number} time Unix milliseconds.
 * @property {any} [data] The value that was published, unless it was bytes.
 * @property {Uint8Array} [bytes]
 * @property {Member} [from] Who published it, where the topic rule reveals that.
 *
 * @typedef {{session: string, user: string | null, info?: any}} Member In presence with the `info` of its token, if it has one.
 *
 * @typedef {object} Gap Messages that will not come.
 * @property {string} topic
 * @property {number} from The first offset.
 * @property {number} to The last one.
 * @property {"slow" | "conflated" | "expired" | "reset" | "removed" | "unknown"} reason `unknown`: the broker did not say,
 *   or gave a reason that this version does not know.
 *
 * @typedef {object} Removed The topic's plugin has removed a message.
 * @property {string} topic
 * @property {number} offset
 *
 * @typedef {object} Subscribed
 * @property {Position | null} position Where the topic stood when the broker replied; null for patterns.
 * @property {boolean} recovered True only when nothing was missed since `previous`: what was published meanwhile follows.
 * @property {Position | null} previous The position known before; null the first time.
 *
 * @typedef {object} Presence
 * @property {string} topic
 * @property {number} count
 * @property {Member[] | null} members Null in large topics.
 *
 * @typedef {object} Handlers
 * @property {(message: Message) => void} [onMessage]
 * @property {(gap: Gap) => void} [onGap] Some messages will not come.
 * @property {(removed: Removed) => void} [onRemoved] A message was removed: what was received of it is not to be shown any
 *   more.
 * @property {(subscribed: Subscribed) => void} [onSubscribed] After the first reply and after every reconnect.
 * @property {(member: Member, topic: string) => void} [onJoin]
 * @property {(member: Member, topic: string) => void} [onLeave]
 * @property {(presence: Presence) => void} [onPresence] Who is there: after every reply, and from time to
 *   time in large topics.
 * @property {(error: RialtoError) => void} [onRefused] The broker refused or ended the subscription. When
 *   `error.retryAfterMs` is set the client tries again by itself.
 *
 * @typedef {"queue" | "drop_oldest" | "latest" | {policy: "latest_by", field: string} |
 *   {policy: "sample", every_ms: number}} Delivery What to get when this session does not keep up (README.md).
 *
 * @typedef {object} SubscribeOptions
 * @property {number} [last] Begin with the last so many messages that are kept.
 * @property {Position} [since] Begin after this position, which the application has kept.
 * @property {"replay" | "live"} [onLost] When what was missed cannot be recovered, because it has expired or the
 *   broker lost it: get what it keeps, or only what comes from now on. Default `replay`.
 * @property {Delivery} [delivery] Default: that of the topic rule.
 * @property {boolean} [presence] Whether to receive the members, and each join and leave.
 */

/**
 * @typedef {"idle" | "requested" | "buffering" | "active"} SubscriptionPhase On this connection. `requested`: frames
 *   before the reply belong to other subscriptions; `buffering`: they may belong to this one, because the request was
 *   a bulk subscribe.
 */

export class Subscription {
  #leave;
  #events;
  /** @type {Handlers} */
  #handlers;
  /** @type {SubscribeOptions} */
  #options;
  #cursor;
  #last = 0;
  #wasActive = false;
  #isQuiet = false;
  /** @type {Frame[]} */
  #buffer = [];
  /** @type {SubscriptionPhase} */
  #phase = "idle";
  /** @type {(subscribed: Subscribed) => void} */
  #resolveReady = () => {};
  /** @type {(error: RialtoError) => void} */
  #rejectReady = () => {};

  /**
   * Made by `RialtoClient.subscribe`.
   *
   * @param {string} topic
   * @param {Handlers} handlers
   * @param {SubscribeOptions} options
   * @param {import("./events.js").Events} events
   * @param {(subscription: Subscription) => Promise<void>} leave
   */
  constructor(topic, handlers, options, events, leave) {
    /** @readonly A topic or a pattern. */
    this.topic = topic;
    /** @readonly */
    this.isPattern = isPattern(topic);
    /**
     * Resolves with the broker's first acceptance, however many connections that takes; rejects when it is refused
     * or given up before.
     *
     * @type {Promise<Subscribed>}
     * @readonly
     */
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    // An application that does not await `ready` must not get an unhandled rejection.
    this.ready.catch(() => {});
    this.#handlers = handlers;
    this.#options = options;
    this.#cursor = new Cursor(options.since ?? null);
    this.#events = events;
    this.#leave = leave;
  }

  /** Position of the newest message received or reported missing: store it for `since`. Null before the first reply. */
  get position() {
    return this.#cursor.position;
  }

  /** Ends the subscription. Resolves when the broker confirmed, or at once when there is no connection. */
  unsubscribe() {
    return this.#leave(this);
  }

  /** @internal @returns {SubscriptionPhase} */
  get phase() {
    return this.#phase;
  }

  /** @internal @param {SubscriptionPhase} phase */
  set phase(phase) {
    this.#phase = phase;
    this.#buffer = [];
  }

  /** @internal Whether the broker has accepted it before. */
  get wasActive() {
    return this.#wasActive;
  }

  /** @internal Whether gaps of the topic are reported to this subscription: at once, or after its reply. */
  get reportsGaps() {
    return this.#phase === "active" || this.#phase === "buffering";
  }

  /**
   * Replaces the handlers and options. The start position stays as first requested: no message is delivered again.
   *
   * @internal
   * @param {Handlers} handlers
   * @param {SubscribeOptions} options What is left out stays as it is.
   * @returns {boolean} Whether the change must be sent to the broker.
   */
  update(handlers, options) {
    this.#handlers = handlers;
    const before = JSON.stringify(this.changeRequest());
    for (const name of /** @type {const} */ (["delivery", "presence", "onLost"])) {
      if (options[name] !== undefined) this.#options = { ...this.#options, [name]: options[name] };
    }
    return JSON.stringify(this.changeRequest()) !== before;
  }

  /**
   * The fields of the subscribe request.
   *
   * @internal
   * @returns {{topic: string, since?: Position, last?: number, delivery?: Delivery, presence?: boolean}}
   */
  request() {
    const { last, delivery, presence, onLost = "replay" } = this.#options;
    const since = this.#cursor.position ?? undefined;
    if (since === undefined) this.#last = last ?? 0;
    else this.#last = onLost === "replay" ? Math.max(last ?? 0, REPLAY_MESSAGES) : 0;
    return { topic: this.topic, since, last: this.#last || undefined, delivery, presence };
  }

  /**
   * The fields of a subscribe request that changes only `delivery` or `presence`; messages continue.
   *
   * @internal
   */
  changeRequest() {
    const { delivery, presence } = this.#options;
    return { topic: this.topic, delivery, presence };
  }

  /** @internal Whether a message was published before the reply, and comes again for this subscription alone. */
  isRepeated(/** @type {number} */ offset) {
    return this.#phase === "active" && this.#cursor.isRepeated(offset);
  }

  /** @internal @param {Frame} reply */
  accepted(reply) {
    const previous = this.#cursor.position;
    const position = this.isPattern ? null : reply.position ?? null;
    const recovered = reply.recovered === true;
    this.#cursor.accept(position, recovered, this.#last);
    const buffered = this.#buffer;
    this.phase = "active";
    this.#wasActive = true;
    const subscribed = { position: position && { ...position }, recovered, previous };
    this.#resolveReady(subscribed);
    this.#events.hand(() => this.#handlers.onSubscribed?.(subscribed));
    if (recovered && previous) this.#events.emit("recovered", { topic: this.topic, position, previous });
    this.presence(reply);
    for (const frame of buffered) if (this.#phase === "active") this.#receiveEarly(frame);
  }

  /** @internal @param {RialtoError} error */
  refused(error) {
    this.phase = "idle";
    if (error.retryAfterMs === null) this.#rejectReady(error);
    this.#events.hand(() => this.#handlers.onRefused?.(error));
  }

  /** @internal The application unsubscribed. */
  left() {
    this.phase = "idle";
    this.#rejectReady(new RialtoError("unsubscribed", `topic ${JSON.stringify(this.topic)}: unsubscribed`));
  }

  /** @internal From now on this client publishes here without echo: holes are no news. */
  quiet() {
    this.#isQuiet = true;
  }

  /** @internal @param {Position} position Of a message that the application does not want back. */
  leaveOut(position) {
    this.#cursor.leaveOut(position);
  }

  /** @internal @param {Frame} reply Who is there, if it says so. */
  presence({ count, members = null }) {
    if (!Number.isInteger(count)) return;
    this.#events.hand(() => this.#handlers.onPresence?.({ topic: this.topic, count, members }));
  }

  /**
   * A push of this topic.
   *
   * @internal
   * @param {Frame} frame
   */
  receive(frame) {
    if (this.isPattern || this.#phase === "active") this.#dispatch(frame);
    else if (this.#phase === "buffering") this.#enqueue(frame);
    // Otherwise it belongs to a subscription that this one replaces, or to a pattern.
  }

  /**
   * A gap of this topic, as long as it `reportsGaps`.
   *
   * @internal
   * @param {Gap} gap
   * @returns {import("./cursor.js").Span | null} What of it is news to patterns that select the topic too.
   */
  gap(gap) {
    if (this.#phase === "buffering") {
      this.#enqueue({ type: "gap", ...gap });
      return gap;
    }
    const reported = this.#gap(gap);
    return reported && this.#cursor.livePart(reported);
  }

  /**
   * A frame from before the reply to a bulk subscribe. Messages and gaps up to the position in the reply belong to an
   * earlier subscription, or to a pattern.
   *
   * @param {Frame} frame
   */
  #receiveEarly(frame) {
    if (frame.type === "gap") {
      const live = this.#cursor.livePart(/** @type {any} */ (frame));
      if (live) this.#gap(/** @type {any} */ ({ ...frame, ...live }));
    } else if (frame.type !== "message" || !this.#cursor.isRepeated(frame.offset)) {
      this.#dispatch(frame);
    }
  }

  /** @param {Frame} frame */
  #enqueue(frame) {
    this.#buffer.push(frame);
    if (this.#buffer.length > BUFFERED_MAX) this.phase = "requested";
  }

  /** @param {Frame} frame */
  #dispatch(frame) {
    switch (frame.type) {
      case "message":
        return this.#message(frame);
      case "gap":
        return void this.#gap(/** @type {any} */ (frame));
      case "removed":
        return this.#events.hand(() => this.#handlers.onRemoved?.({ topic: frame.topic, offset: frame.offset }));
      case "join":
        return this.#events.hand(() => this.#handlers.onJoin?.(frame.member, frame.topic));
      case "leave":
        return this.#events.hand(() => this.#handlers.onLeave?.(frame.member, frame.topic));
      case "presence":
        return this.presence(frame);
      default: // The client sends nothing else here.
    }
  }

  /** @param {Frame} frame */
  #message(frame) {
    const { topic, offset, time, data, bytes, from } = frame;
    if (!this.isPattern) {
      const { isNew, missed } = this.#cursor.message(offset);
      if (missed && !this.#isQuiet) this.#report({ topic, ...missed, reason: "unknown" });
      if (!isNew) return;
    }
    /** @type {Message} */
    const message = { topic, offset, time };
    if (typeof bytes === "string") message.bytes = fromBase64(bytes);
    else message.data = data;
    if (from !== undefined) message.from = from;
    this.#events.hand(() => this.#handlers.onMessage?.(message));
  }

  /**
   * @param {Gap} gap
   * @returns {import("./cursor.js").Span | null} What of it was reported.
   */
  #gap({ topic, from, to, reason }) {
    // A `reset` gap counts offsets that a new epoch has used before the reply: the position may be there already.
    const isWhole = this.isPattern || reason === "reset";
    const span = this.isPattern ? null : this.#cursor.gap({ from, to });
    const reported = isWhole ? { from, to } : span;
    if (reported) this.#report({ topic, ...reported, reason });
    return reported;
  }

  /** @param {Gap} gap */
  #report(gap) {
    // What only patterns select has no subscription of its own: the client reports it, once for all of them.
    if (!this.isPattern) this.#events.emit("gap", gap);
    this.#events.hand(() => this.#handlers.onGap?.(gap));
  }
}
