/** Requests that outlive connections: sent again in their order, under the same key, until answered or out of time. */

import { ConnectionLostError, NotConnectedError, RialtoError, TimeoutError } from "./errors.js";
import { CLIENT_NAME, newKey } from "./key.js";

/** @typedef {import("./socket.js").Socket} Socket */

/**
 * @typedef {object} Entry
 * @property {{type: string, key?: string, [field: string]: unknown}} fields Without the id.
 * @property {boolean} isRead It changes nothing: it may be sent again without a key.
 * @property {string | null} key Made here; sent where the broker knows keys.
 * @property {number} sends
 * @property {boolean} isRepeatable Whether the last sending may be repeated.
 * @property {() => void} forget
 * @property {(reply: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {any} timer
 */

export class Requests {
  #clock;
  #waitingMax;
  #retriesMax;
  /** @type {Set<Entry>} Oldest first. */
  #waiting = new Set();
  /** @type {Socket | null} */
  #socket = null;
  /** By which the broker knows this client on later connections, so that its keys stay its own. */
  #instance;
  /** @type {Socket | null} The connection on which it has been told. */
  #known = null;

  /**
   * @param {object} options
   * @param {import("./clock.js").Clock} options.clock
   * @param {number} options.waitingMax More than this many at once are refused.
   * @param {number} options.retriesMax How often one is sent again.
   * @param {string} [options.instance]
   */
  constructor({ clock, waitingMax, retriesMax, instance }) {
    this.#clock = clock;
    this.#waitingMax = waitingMax;
    this.#retriesMax = retriesMax;
    this.#instance = instance ?? newKey();
  }

  /** How many wait to be sent or answered. */
  get size() {
    return this.#waiting.size;
  }

  /**
   * Sends a request now, or as soon as there is a connection.
   *
   * @param {{type: string, key?: string, [field: string]: unknown}} fields
   * @param {number} timeoutMs Over all connections.
   * @param {boolean} [isRead]
   * @returns {Promise<any>} The reply; rejects with a RialtoError.
   */
  submit(fields, timeoutMs, isRead = false) {
    return new Promise((resolve, reject) => {
      if (this.#waiting.size >= this.#waitingMax) {
        throw new RialtoError("too_many", `${fields.type}: ${this.#waitingMax} requests already wait`);
      }
      /** @type {Entry} */
      const entry = {
        fields, isRead, resolve, reject,
        key: isRead || fields.key !== undefined ? null : newKey(),
        sends: 0, isRepeatable: true, forget: () => {}, timer: null,
      };
      const expire = () => this.#fail(entry, new TimeoutError(fields.type, timeoutMs, entry.sends > 0));
      entry.timer = this.#clock.setTimeout(expire, timeoutMs);
      this.#waiting.add(entry);
      if (this.#socket) this.#send(entry, this.#socket);
    });
  }

  /**
   * Sends everything that waits, oldest first.
   *
   * @param {Socket} socket
   */
  open(socket) {
    this.#socket = socket;
    for (const entry of [...this.#waiting]) this.#send(entry, socket);
  }

  /** The connection is gone, or takes no more; what waits may be sent on the next one. */
  suspend() {
    this.#socket = null;
  }

  /** There will be no next connection. */
  abandon() {
    for (const entry of [...this.#waiting]) {
      const { type } = entry.fields;
      this.#fail(entry, entry.sends > 0 ? new ConnectionLostError(type) : new NotConnectedError(type));
    }
  }

  /**
   * @param {Entry} entry
   * @param {Socket} socket
   */
  #send(entry, socket) {
    const key = entry.fields.key ?? (socket.offers("keys") ? entry.key ?? undefined : undefined);
    entry.isRepeatable = entry.isRead || key !== undefined;
    const settle = (/** @type {RialtoError | null} */ error, /** @type {any} */ reply) => {
      if (error === null) this.#succeed(entry, reply);
      else if (!(error instanceof ConnectionLostError)) this.#fail(entry, error);
      else if (!entry.isRepeatable || entry.sends > this.#retriesMax) this.#fail(entry, error);
    };
    try {
      if (key !== undefined) this.#introduce(socket);
      entry.forget = socket.send({ ...entry.fields, key }, null, settle);
      entry.sends += 1;
    } catch (error) {
      this.#fail(entry, error);
    }
  }

  /**
   * Before the first key of a connection: keys belong to the client that sent them, on all its connections.
   *
   * @param {Socket} socket
   */
  #introduce(socket) {
    if (this.#known === socket || !socket.offers("instances")) return;
    this.#known = socket;
    socket.send({ type: "connect", client: CLIENT_NAME, instance: this.#instance }, null, () => {});
  }

  /**
   * @param {Entry} entry
   * @param {any} reply
   */
  #succeed(entry, reply) {
    this.#remove(entry);
    entry.resolve(reply);
  }

  /**
   * @param {Entry} entry
   * @param {unknown} error
   */
  #fail(entry, error) {
    this.#remove(entry);
    entry.reject(error);
  }

  /** @param {Entry} entry */
  #remove(entry) {
    this.#waiting.delete(entry);
    this.#clock.clearTimeout(entry.timer);
    entry.forget();
  }
}
