/** What an application talks to: topics, publishes, calls and events. The work is done by the parts it joins. */

import { fromBase64, payloadFields } from "./bytes.js";
import { systemClock } from "./clock.js";
import { NotConnectedError } from "./errors.js";
import { Events } from "./events.js";
import { Connection } from "./connection.js";
import { Requests } from "./requests.js";
import { signInOf } from "./signin.js";
import { Subscription } from "./subscription.js";
import { Subscriptions } from "./subscriptions.js";

/**
 * @typedef {import("./subscription.js").Handlers} Handlers
 * @typedef {import("./subscription.js").SubscribeOptions} SubscribeOptions
 * @typedef {import("./subscription.js").Position} Position
 * @typedef {import("./subscription.js").Message} Message
 * @typedef {import("./subscription.js").Member} Member
 *
 * @typedef {object} Options
 * @property {import("./signin.js").TokenSource} [token] Asked for a token on every connection, before it expires, and
 *   when the broker refuses it. At most one of `token`, `cookie` and `login` is given.
 * @property {import("./signin.js").CookieSource} [cookie] The browser's cookie says who the client is: `refresh` is called
 *   when it is about to end or was refused, and renews it.
 * @property {import("./signin.js").LoginSource} [login] Name and password of a user, sent on every connection.
 * @property {string} [instance] The secret by which the broker knows this client again, 22 to 64 random letters, digits,
 *   `-` and `_`: its idempotency keys belong to it. Without it every Client makes one up; a page that repeats requests after
 *   a reload keeps one.
 * @property {number} [requestTimeoutMs] Longest wait for a reply, over all connections; also for `welcome`.
 *   Default 10 000.
 * @property {number} [requestsMax] Most requests that may wait at once. Default 1000.
 * @property {number} [retriesMax] How often a publish or call without an answer is sent again on later connections.
 *   Default 10; 0: never.
 * @property {"queue" | "fail"} [offline] What becomes of requests made while there is no connection: they wait for the
 *   next one, or fail at once. Default `queue`.
 * @property {import("./backoff.js").BackoffOptions} [backoff] Default 500 to 20 000 ms.
 * @property {import("./socket.js").SocketClass} [WebSocket] For hosts without a global one (Node before 22: `ws`).
 * @property {EventTarget | null} [network] Where `online` events come from. Default `window`, if there is one.
 * @property {import("./clock.js").Clock} [clock] For tests.
 *
 * @typedef {object} RequestOptions
 * @property {number} [timeoutMs] Default: `requestTimeoutMs`.
 * @property {"queue" | "fail"} [offline] Default: that of the client.
 *
 * @typedef {RequestOptions & {key?: string}} CallOptions `key`: 1 to 128 bytes by which the broker recognises a retry.
 *   Made by the client when left out.
 * @typedef {CallOptions & {echo?: boolean}} PublishOptions `echo: false`: this client's own subscriptions do not get it.
 *
 * @typedef {object} Details What the events carry.
 * @property {import("./connection.js").Status} status
 * @property {{session: string, user: string | null, isReturn: boolean}} connected
 * @property {{code: number, reason: string, willReturn: boolean}} disconnected
 * @property {{topic: string, position: Position, previous: Position}} recovered
 * @property {import("./subscription.js").Gap} gap
 * @property {import("./socket.js").Frame} pushed What a plugin sent to this session alone, of a `type` `x-…`.
 * @property {import("./connection.js").Closing} closing
 * @property {Error} error Belongs to no request, or was thrown by a handler.
 *
 * @typedef {object} HistoryOptions
 * @property {Position} [since] Those after it.
 * @property {Position} [before] The newest ones before it.
 * @property {number} [limit] At most so many. Default 100, at most 300.
 */

export class RialtoClient {
  #options;
  #events = new Events();
  #subscriptions;
  #requests;
  #connection;

  /**
   * @param {string | URL} url `ws:`, `wss:`, `http:` or `https:`; relative to the page in a browser.
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    const {
      requestTimeoutMs = 10_000,
      requestsMax = 1000,
      retriesMax = 10,
      offline = "queue",
      WebSocket = globalThis.WebSocket,
      network = globalThis.window ?? null,
      clock = systemClock,
      backoff,
      token,
      cookie,
      login,
      instance,
    } = options;
    if (!WebSocket) throw new TypeError("no WebSocket here: pass one as options.WebSocket, such as the `ws` package's");
    const signIn = signInOf({ token, cookie, login });
    const events = this.#events;
    this.#options = { requestTimeoutMs, offline };
    this.#requests = new Requests({ clock, waitingMax: requestsMax, retriesMax, instance });
    this.#subscriptions = new Subscriptions({ clock, timeoutMs: requestTimeoutMs, events, random: backoff?.random });
    this.#connection = new Connection({
      url: webSocketUrl(url), WebSocket, clock, timeoutMs: requestTimeoutMs, network, backoff, signIn, events,
      onOpen: (socket) => this.#onOpen(socket),
      onFrame: (frame) => {
        if (frame.type.startsWith("x-")) events.emit("pushed", frame);
        else this.#subscriptions.receive(frame);
      },
      onHold: () => this.#requests.suspend(),
      onLost: () => this.#onLost(),
      onClosed: () => this.#requests.abandon(),
    });
  }

  /** The latest `status` event. */
  get status() {
    return this.#connection.status;
  }

  /** The broker's `welcome` on the current connection, or null. */
  get welcome() {
    return this.#connection.welcome;
  }

  /**
   * Listens to what concerns the whole client (README.md, "Events").
   *
   * @template {keyof Details} Type
   * @param {Type} type
   * @param {(detail: Details[Type]) => void} listener
   * @returns {() => void} Stops listening.
   */
  on(type, listener) {
    return this.#events.on(type, listener);
  }

  /**
   * Connects, and keeps connecting until `close`. While a retry is pending it is made now. May be called at any time.
   *
   * @returns {Promise<void>} Resolves when connected and all subscriptions are placed; rejects when closed before.
   */
  connect() {
    return this.#connection.connect();
  }

  /** Closes for good; requests that wait fail. Subscriptions stay known and return with the next `connect`. */
  close() {
    this.#connection.close();
  }

  /**
   * Subscribes to a topic or pattern, now and after every reconnect. One subscription per topic: a second call returns
   * the same one with the new handlers and, where given, the new `delivery`, `presence` and `onLost`.
   *
   * @param {string} topic
   * @param {Handlers} handlers
   * @param {SubscribeOptions} [options]
   * @returns {Subscription} `await subscription.ready` for the broker's reply.
   */
  subscribe(topic, handlers, options = {}) {
    return this.#subscriptions.add([topic], handlers, options)[0];
  }

  /**
   * Subscribes to many topics or patterns with a few frames.
   *
   * @param {Iterable<string>} topics
   * @param {Handlers} handlers
   * @param {SubscribeOptions} [options]
   * @returns {Subscription[]} In the order of `topics`.
   */
  subscribeAll(topics, handlers, options = {}) {
    return this.#subscriptions.add([...topics], handlers, options);
  }

  /**
   * Ends many subscriptions with a few frames.
   *
   * @param {Iterable<string | Subscription>} topics
   * @returns {Promise<void>} When the broker confirmed, or at once when there is no connection.
   */
  async unsubscribeAll(topics) {
    const known = [...topics].map((each) => (typeof each === "string" ? this.#subscriptions.find(each) : each));
    await this.#subscriptions.leave(known.filter((each) => each !== undefined));
  }

  /**
   * Publishes any JSON value, or opaque bytes.
   *
   * @param {string} topic
   * @param {unknown} payload A `Uint8Array` is published as bytes, everything else as data.
   * @param {PublishOptions} [options]
   * @returns {Promise<{position: Position | null, duplicate: boolean}>} Once the broker has kept it. `position` is null
   *   when a plugin swallowed it; `duplicate`: it had been published before, under the same key.
   */
  async publish(topic, payload, options = {}) {
    const { key, echo } = options;
    const fields = { type: "publish", topic, ...payloadFields(payload), key, echo };
    if (echo === false) this.#subscriptions.quiet(topic);
    const { position = null, duplicate = false } = await this.#submit(fields, options);
    if (echo === false && position) this.#subscriptions.find(topic)?.leaveOut(position);
    return { position, duplicate };
  }

  /**
   * Calls a method of a plugin.
   *
   * @param {string | {plugin: string}} target The topic whose plugin is meant, or the plugin itself.
   * @param {string} method
   * @param {unknown} [payload] A `Uint8Array` is sent as bytes, everything else as data.
   * @param {CallOptions} [options]
   * @returns {Promise<any>} The plugin's answer: a value, or a `Uint8Array`.
   */
  async call(target, method, payload, options = {}) {
    const where = typeof target === "string" ? { topic: target } : { plugin: target.plugin };
    const fields = { type: "call", ...where, method, ...payloadFields(payload), key: options.key };
    const reply = await this.#submit(fields, options);
    return typeof reply.bytes === "string" ? fromBase64(reply.bytes) : reply.data;
  }

  /**
   * Reads messages that the topic keeps, without subscribing: the newest ones by default.
   *
   * @param {string} topic
   * @param {HistoryOptions & RequestOptions} [options]
   * @returns {Promise<{messages: Message[], position: Position, more: boolean}>} `messages` oldest first; `position`:
   *   where the topic stands; `more`: there are more in that direction.
   */
  async history(topic, options = {}) {
    const { since, before, limit } = options;
    const reply = await this.#submit({ type: "history", topic, since, before, limit }, options, true);
    const messages = reply.messages.map((/** @type {any} */ { bytes, ...message }) =>
      typeof bytes === "string" ? { topic, ...message, bytes: fromBase64(bytes) } : { topic, ...message });
    return { messages, position: reply.position, more: reply.more === true };
  }

  /**
   * Who is subscribed to a topic.
   *
   * @param {string} topic
   * @param {RequestOptions} [options]
   * @returns {Promise<{count: number, members: Member[] | null}>} `members` is null in large topics.
   */
  async presence(topic, options = {}) {
    const { count, members = null } = await this.#submit({ type: "presence", topic }, options, true);
    return { count, members };
  }

  /** @returns {Promise<number>} Milliseconds to the broker and back. */
  async ping() {
    const { socket } = this.#connection;
    if (!socket) throw new NotConnectedError("ping");
    return socket.ping(this.#options.requestTimeoutMs);
  }

  /** @param {import("./socket.js").Socket} socket */
  async #onOpen(socket) {
    const { sent, decided } = this.#subscriptions.open(socket);
    // After the subscriptions, so that these get what is published now.
    sent.then(() => {
      if (this.#connection.socket === socket) this.#requests.open(socket);
    });
    await decided;
  }

  #onLost() {
    this.#requests.suspend();
    this.#subscriptions.suspend();
  }

  /**
   * @param {import("./socket.js").Fields} fields
   * @param {RequestOptions} options
   * @param {boolean} [isRead]
   * @returns {Promise<any>}
   */
  async #submit(fields, { timeoutMs = this.#options.requestTimeoutMs, offline = this.#options.offline }, isRead = false) {
    const isHopeless = this.#connection.status.status === "closed";
    if (!this.#connection.socket && (isHopeless || offline === "fail")) throw new NotConnectedError(fields.type);
    return this.#requests.submit(fields, timeoutMs, isRead);
  }
}

function webSocketUrl(/** @type {string | URL} */ url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  absolute.hash = "";
  return absolute.href;
}
