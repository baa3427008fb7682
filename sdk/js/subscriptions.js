/** All subscriptions of a client: requested on every new connection in few frames; dispatches their pushes. */

import { isLonger } from "./socket.js";
import { ConnectionLostError, NotConnectedError, RialtoError, TimeoutError } from "./errors.js";
import { gapReason, isComplete, isPush } from "./frame.js";
import { matches } from "./pattern.js";
import { Subscription } from "./subscription.js";

const TOPICS_PER_FRAME = 100;
/** For `{"id":…,"type":"subscribe","topics":[…]}` around the topics of a frame. */
const ENVELOPE_BYTES = 64;
const RETRY_AFTER_TIMEOUT_MS = 2_000;
/** When to request a subscription again that was refused without a hint; up to as much again is added by chance. */
const RETRY_AFTER_MS = 1_000;
/** Refusals of a known subscription that say "not now": the topic is allowed. */
const TEMPORARY = new Set(["busy", "rate_limited", "internal", "plugin_failed"]);
/** Topics of which something is remembered: the patterns that select them, or that they are quiet. */
const ROUTES_MAX = 10_000;

/**
 * @typedef {import("./socket.js").Socket} Socket
 * @typedef {import("./socket.js").Frame} Frame
 */

export class Subscriptions {
  #clock;
  #timeoutMs;
  #events;
  #random;
  /** @type {Map<string, Subscription>} */
  #known = new Map();
  /** @type {Map<string, Subscription[]>} The patterns that select a topic. */
  #routes = new Map();
  /** Topics to which the application publishes without echo. */
  #quiet = new Set();
  /** @type {Socket | null} */
  #socket = null;
  #pendingLists = 0;
  /** @type {(() => void)[]} Actions deferred until no bulk subscribe is pending. */
  #deferred = [];

  /**
   * @param {object} options
   * @param {import("./clock.js").Clock} options.clock
   * @param {number} options.timeoutMs Longest wait for a reply.
   * @param {import("./events.js").Events} options.events
   * @param {() => number} [options.random]
   */
  constructor({ clock, timeoutMs, events, random = Math.random }) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#events = events;
    this.#random = random;
  }

  /**
   * Adds new subscriptions and updates known ones; requests the new ones where there is a connection.
   *
   * @param {string[]} topics Patterns too.
   * @param {import("./subscription.js").Handlers} handlers
   * @param {import("./subscription.js").SubscribeOptions} options
   * @returns {Subscription[]}
   */
  add(topics, handlers, options) {
    /** @type {Subscription[]} */
    const added = [];
    const all = topics.map((topic) => {
      const known = this.#known.get(topic);
      if (known) {
        if (known.update(handlers, options)) this.#change(known);
        return known;
      }
      const leave = (/** @type {Subscription} */ left) => this.leave([left]);
      const subscription = new Subscription(topic, handlers, options, this.#events, leave);
      if (this.#quiet.has(topic)) subscription.quiet();
      this.#known.set(topic, subscription);
      added.push(subscription);
      return subscription;
    });
    this.#routes.clear();
    if (this.#socket) void this.#subscribe(added, this.#socket);
    return all;
  }

  /** @param {string} topic */
  find(topic) {
    return this.#known.get(topic);
  }

  /**
   * Messages will be published to this topic that its subscription is not to get.
   *
   * @param {string} topic
   */
  quiet(topic) {
    if (this.#quiet.size >= ROUTES_MAX) this.#quiet.clear();
    this.#quiet.add(topic);
    this.#known.get(topic)?.quiet();
  }

  /**
   * Ends subscriptions.
   *
   * @param {Subscription[]} subscriptions
   * @returns {Promise<void>} When the broker confirmed; at once where there is no connection.
   */
  async leave(subscriptions) {
    const left = subscriptions.filter((each) => this.#known.get(each.topic) === each);
    const socket = this.#socket;
    // Without a connection there is nothing left to unsubscribe from.
    const active = left.filter(({ phase }) => phase !== "idle");
    for (const each of left) {
      this.#known.delete(each.topic);
      each.left();
    }
    this.#routes.clear();
    if (socket === null) return;
    const requests = inFrames(active, ({ topic }) => ({ topic }), socket.frameBytesMax).map(([items]) =>
      socket.request({ type: "unsubscribe", ...asFields(items) }, this.#timeoutMs));
    // What is not confirmed ends with the connection at the latest.
    await Promise.allSettled(requests);
  }

  /**
   * Requests all subscriptions on a new connection. Topics come first: until their replies are there, no message may arrive
   * that only a pattern asked for.
   *
   * @param {Socket} socket
   * @returns {{sent: Promise<void>, decided: Promise<void>}} When all were requested, and when all were answered.
   */
  open(socket) {
    this.#socket = socket;
    this.#pendingLists = 0;
    this.#deferred = [];
    const all = [...this.#known.values()];
    for (const each of all) each.phase = "idle";
    const topics = this.#subscribe(all.filter(({ isPattern }) => !isPattern), socket);
    /** @type {() => void} */
    let onSent = () => {};
    const sent = /** @type {Promise<void>} */ (new Promise((resolve) => (onSent = resolve)));
    const patterns = this.#subscribe(all.filter(({ isPattern }) => isPattern), socket, onSent);
    return { sent, decided: Promise.all([topics, patterns]).then(() => {}) };
  }

  /** The connection is gone; everything returns with the next one. */
  suspend() {
    this.#socket = null;
    for (const each of this.#known.values()) each.phase = "idle";
  }

  /**
   * Dispatches a push to the subscriptions it belongs to.
   *
   * @param {Frame} frame
   */
  receive(frame) {
    if (!isPush(frame)) return;
    if (!isComplete(frame)) return this.#socket?.abandon("the broker sent something that is not a frame");
    if (frame.type === "unsubscribed") return this.#end(frame);
    if (frame.type === "gap") return this.#gap(frame);
    const { topic } = frame;
    const exact = this.#known.get(topic);
    const isRepeated = frame.type === "message" && exact?.isRepeated(frame.offset);
    const patterns = isRepeated ? [] : this.#patternsOf(topic);
    exact?.receive(frame);
    for (const pattern of patterns) pattern.receive(frame);
  }

  /**
   * Reports a gap once for the client, and to each subscription: to that of the topic what is new to it, to patterns what
   * is not about the topic's past.
   *
   * @param {Frame} frame
   */
  #gap({ topic, from, to, reason }) {
    /** @type {import("./subscription.js").Gap} */
    const gap = { topic, from, to, reason: gapReason(reason) };
    const exact = this.#known.get(topic);
    const patterns = this.#patternsOf(topic);
    const isReported = exact?.reportsGaps === true;
    const span = isReported ? exact.gap(gap) : { from, to };
    if (span === null || patterns.length === 0) return;
    if (!isReported) this.#events.emit("gap", gap);
    for (const pattern of patterns) pattern.receive({ type: "gap", ...gap, ...span });
  }

  /**
   * @param {Subscription[]} subscriptions
   * @param {Socket} socket
   * @param {() => void} [onSent]
   * @returns {Promise<void>} When the broker has decided, or the connection is gone.
   */
  async #subscribe(subscriptions, socket, onSent = () => {}) {
    const topics = subscriptions.filter(({ isPattern }) => !isPattern);
    const patterns = subscriptions.filter(({ isPattern }) => isPattern);
    // What a pattern selects may arrive before the reply: only a request of its own says which messages it is about.
    const apart = topics.filter(({ topic }) => this.#patternsOf(topic).some(({ phase }) => phase !== "idle"));
    const together = topics.filter((each) => !apart.includes(each));
    const decided = [...apart.map((each) => this.#request([each], socket)), ...this.#requestAll(together, socket)];
    if (patterns.length === 0) onSent();
    else {
      decided.push(this.#afterLists(() => {
        const decided = this.#requestAll(patterns.filter((each) => this.#isCurrent(each, socket)), socket);
        onSent();
        return Promise.all(decided);
      }));
    }
    await Promise.all(decided);
  }

  /**
   * @param {Subscription[]} subscriptions
   * @param {Socket} socket
   */
  #requestAll(subscriptions, socket) {
    const frames = inFrames(subscriptions, (each) => each.request(), socket.frameBytesMax);
    return frames.map(([, members]) => this.#request(members, socket));
  }

  /**
   * Asks for subscriptions, in one frame.
   *
   * @param {Subscription[]} subscriptions
   * @param {Socket} socket
   * @returns {Promise<unknown>}
   */
  #request(subscriptions, socket) {
    const isList = subscriptions.length > 1;
    const fields = { type: "subscribe", ...asFields(subscriptions.map((each) => each.request())) };
    for (const each of subscriptions) each.phase = isList ? "buffering" : "requested";
    if (isList) this.#pendingLists += 1;
    return new Promise((resolve) => {
      const complete = (/** @type {RialtoError | null} */ error, /** @type {any} */ reply) => {
        const again = this.#decide(subscriptions, socket, error, reply);
        if (isList && this.#socket === socket) this.#listDecided();
        again.then(resolve);
      };
      try {
        socket.send(fields, this.#timeoutMs, complete);
      } catch (error) {
        complete(/** @type {RialtoError} */ (error), null);
      }
    });
  }

  /**
   * @param {Subscription[]} subscriptions
   * @param {Socket} socket
   * @param {RialtoError | null} error
   * @param {any} reply
   * @returns {Promise<unknown>} When those that must be asked for once more are decided too.
   */
  #decide(subscriptions, socket, error, reply) {
    // The next connection asks for all of them.
    if (error instanceof ConnectionLostError || error instanceof NotConnectedError) return Promise.resolve();
    const isList = subscriptions.length > 1;
    const current = subscriptions.filter((each) => this.#isCurrent(each, socket));
    if (error?.code === "bad_request" && isList) {
      // One invalid item fails the whole request: request each alone to find it.
      return Promise.all(current.map((each) => this.#request([each], socket)));
    }
    const items = new Map(reply?.topics?.map((/** @type {any} */ item) => [item.topic, item]));
    const again = [];
    for (const each of current) {
      // A handler before may have ended this one.
      if (!this.#isCurrent(each, socket)) continue;
      const item = isList ? items.get(each.topic) : reply;
      const refusal = error ?? (item?.error && RialtoError.fromFrame(item.error));
      if (refusal) this.#refuse(each, socket, refusal);
      else if (isList && each.phase === "requested") again.push(this.#request([each], socket));
      else if (item) each.accepted(item);
      else this.#refuse(each, socket, new RialtoError("internal", `topic ${JSON.stringify(each.topic)}: no reply`));
    }
    return Promise.all(again);
  }

  #listDecided() {
    this.#pendingLists -= 1;
    if (this.#pendingLists > 0) return;
    for (const action of this.#deferred.splice(0)) action();
  }

  /**
   * @param {() => Promise<unknown>} action
   * @returns {Promise<unknown>} When it is done; never, should the connection end before.
   */
  #afterLists(action) {
    if (this.#pendingLists === 0) return action();
    return new Promise((resolve) => this.#deferred.push(() => void action().then(resolve)));
  }

  /** @param {Subscription} subscription Known to the broker with other options. */
  #change(subscription) {
    const socket = this.#socket;
    if (!socket || subscription.phase === "idle") return;
    socket.request({ type: "subscribe", ...subscription.changeRequest() }, this.#timeoutMs).then(
      (reply) => {
        if (this.#isCurrent(subscription, socket)) subscription.presence(reply);
      },
      (error) => {
        if (!(error instanceof ConnectionLostError)) this.#events.emit("error", error);
      },
    );
  }

  /** @param {Frame} frame An `unsubscribed` frame. */
  #end(frame) {
    const subscription = this.#known.get(frame.topic);
    if (subscription && this.#socket) this.#refuse(subscription, this.#socket, RialtoError.fromFrame(frame));
  }

  /**
   * With a hint the subscription is tried again; without, it is over.
   *
   * @param {Subscription} subscription
   * @param {Socket} socket
   * @param {RialtoError} error
   */
  #refuse(subscription, socket, error) {
    if (error instanceof TimeoutError) error.retryAfterMs = RETRY_AFTER_TIMEOUT_MS;
    else if (error.retryAfterMs === null && subscription.wasActive && TEMPORARY.has(error.code)) {
      error.retryAfterMs = Math.floor(RETRY_AFTER_MS * (1 + this.#random()));
    }
    if (error.retryAfterMs === null) {
      this.#known.delete(subscription.topic);
      this.#routes.clear();
    } else {
      this.#clock.setTimeout(() => {
        if (this.#isCurrent(subscription, socket)) void this.#subscribe([subscription], socket);
      }, error.retryAfterMs);
    }
    subscription.refused(error);
  }

  /**
   * @param {string} topic
   * @returns {Subscription[]}
   */
  #patternsOf(topic) {
    const known = this.#routes.get(topic);
    if (known) return known;
    const found = [...this.#known.values()].filter((each) => each.isPattern && matches(each.topic, topic));
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
    this.#routes.set(topic, found);
    return found;
  }

  /**
   * @param {Subscription} subscription
   * @param {Socket} socket
   */
  #isCurrent(subscription, socket) {
    return this.#socket === socket && this.#known.get(subscription.topic) === subscription;
  }
}

/**
 * Divides subscriptions so that what is asked for fits into frames.
 *
 * @template Item
 * @param {Subscription[]} subscriptions
 * @param {(subscription: Subscription) => Item} itemOf
 * @param {number} bytesMax
 * @returns {[Item[], Subscription[]][]}
 */
function inFrames(subscriptions, itemOf, bytesMax) {
  /** @type {[Item[], Subscription[]][]} */
  const frames = [];
  let text = "";
  for (const each of subscriptions) {
    const item = itemOf(each);
    const encoded = `${JSON.stringify(item)},`;
    const frame = frames.at(-1);
    if (frame && frame[0].length < TOPICS_PER_FRAME && !isLonger(text + encoded, bytesMax - ENVELOPE_BYTES)) {
      frame[0].push(item);
      frame[1].push(each);
      text += encoded;
    } else {
      frames.push([[item], [each]]);
      text = encoded;
    }
  }
  return frames;
}

/**
 * One of them alone needs no list, and its reply comes before its messages.
 *
 * @param {object[]} items
 */
function asFields(items) {
  return items.length === 1 ? items[0] : { topics: items };
}
