/** One followed symbol: its subscription, its last tick and those before it. No DOM. */

/** The number of ticks in a chart, also if the broker's snapshot has fewer. */
const TAIL_MAX = 60;

/**
 * Events: `change`.
 *
 * @typedef {{symbol: string, price: number, change: number, percent: number, time: number}} Tick
 */
export class Listing extends EventTarget {
  #client;
  #subscription = null;

  /** @param {import("/sdk/index.js").RialtoClient} client @param {string} symbol */
  constructor(client, symbol) {
    super();
    this.#client = client;
    this.symbol = symbol;
    this.topic = `market.${symbol}`;
    /** @type {Tick | null} */
    this.tick = null;
    /** Times and prices, oldest first. @type {[number, number][]} */
    this.tail = [];
    /** Why there are no prices. @type {any} */
    this.problem = null;
  }

  follow() {
    this.#subscription = this.#client.subscribe(this.topic, {
      onMessage: ({ data }) => this.#onTick(data),
      onSubscribed: () => this.#explain(null),
      onRefused: (error) => this.#explain(error),
    });
  }

  leave() {
    void this.#subscription?.unsubscribe();
  }

  /** Applies the snapshot of a subscription: the first one, and that after every reconnect. */
  begin({ tick, tail }) {
    this.tick = tick;
    this.tail = tail;
    this.#explain(null);
  }

  /** @param {Tick} tick */
  #onTick(tick) {
    // After a reconnect the broker also sends what was missed, which the snapshot has already.
    if (typeof tick?.price !== "number" || tick.time <= (this.tick?.time ?? 0)) return;
    this.tick = tick;
    this.tail.push([tick.time, tick.price]);
    if (this.tail.length > TAIL_MAX) this.tail.shift();
    this.#changed();
  }

  #explain(problem) {
    this.problem = problem;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
