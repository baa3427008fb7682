/** A socket and a clock that do exactly what a test says. */

import { RialtoClient } from "../index.js";

const FEATURES = ["plugins", "delivery", "recovery", "history", "presence", "patterns", "keys"];

export class FakeClock {
  #nowMs = 0;
  #nextHandle = 1;
  #timers = new Map();

  now = () => this.#nowMs;

  /** The wall clock stands an hour ahead, so that a test notices when one is taken for the other. */
  unixMs = () => this.#nowMs + 3_600_000;

  setTimeout = (callback, delayMs) => {
    const handle = this.#nextHandle++;
    this.#timers.set(handle, { at: this.#nowMs + delayMs, callback });
    return handle;
  };

  clearTimeout = (handle) => void this.#timers.delete(handle);

  /** Lets time pass, timer by timer, with promises settled in between. */
  async advance(durationMs) {
    const until = this.#nowMs + durationMs;
    await settled();
    for (;;) {
      const [handle, timer] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (!timer || timer.at > until) break;
      this.#timers.delete(handle);
      this.#nowMs = timer.at;
      timer.callback();
      await settled();
    }
    this.#nowMs = until;
  }
}

/** All promises that can settle without time passing have settled. */
export function settled() {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * A client on fake sockets; `sockets` holds them in the order they were opened. The jitter is always half.
 *
 * @param {object} [options]
 */
export function fakeClient(options = {}) {
  const clock = new FakeClock();
  const network = new EventTarget();
  const sockets = [];
  const statuses = [];
  class WebSocket {
    sent = [];
    isClosed = false;

    constructor(url, protocols) {
      this.url = url;
      this.protocols = protocols;
      sockets.push(this);
    }

    send(text) {
      if (this.isClosed) throw new Error("sent on a closed socket");
      this.sent.push(JSON.parse(text));
    }

    close() {
      this.isClosed = true;
    }

    /** The broker sends a frame. */
    async receive(frame) {
      this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
      await settled();
    }

    /** The broker welcomes, and accepts every subscription asked for so far. */
    async welcome(more = {}) {
      await this.greet(more);
      await this.accept();
    }

    /** The broker welcomes, and nothing else. */
    async greet(more = {}) {
      const session = `s${sockets.length}`;
      await this.receive({ type: "welcome", session, ping_ms: 25_000, features: FEATURES, limits: {}, ...more });
    }

    /** The broker accepts the subscriptions that wait, and those asked for thereupon. */
    async accept(position = { epoch: "e1", offset: 0 }, more = {}) {
      while (this.sent[0]?.type === "subscribe") {
        const request = this.takeSent();
        const items = (request.topics ?? [request]).map(({ topic }) => ({ topic, position, recovered: false, ...more }));
        const fields = request.topics ? { topics: items } : items[0];
        await this.receive({ type: "ok", id: request.id, ...fields });
      }
    }

    /** The broker answers the oldest request. */
    async reply(fields = {}) {
      await this.receive({ type: "ok", id: this.takeSent().id, ...fields });
    }

    /** The oldest request not looked at yet. */
    takeSent() {
      return this.sent.shift();
    }

    /** The connection ends. */
    async end(code = 1006, reason = "") {
      this.onclose?.({ code, reason });
      await settled();
    }
  }
  const client = new RialtoClient("http://broker.test/ws#part", {
    clock,
    network,
    WebSocket,
    backoff: { random: () => 0.5 },
    ...options,
  });
  client.on("status", (status) => statuses.push(status.status));
  return { client, clock, network, sockets, statuses };
}

/** A client that is already connected. */
export async function connectedClient(options) {
  const fake = fakeClient(options);
  fake.client.connect();
  await fake.sockets[0].welcome();
  return fake;
}
