/** One room: its subscription, the claimed name, its members, and messages to be sent. No DOM. */

import { Roster } from "./roster.js";

export const TEXT_LENGTH_MAX = 2000;
const OUTGOING_MAX = 20;
/** After a reconnect the name may be claimed by the old connection until the broker detects that it is dead. */
const RECLAIM_EVERY_MS = 4_000;
const RECLAIM_FOR_MS = 45_000;

/**
 * Events: `change` (anything shown outside the log), `entry` (detail: one line of the log), `draft` (the draft was
 * changed from here).
 *
 * @typedef {"away" | "entering" | "present" | "nameless" | "refused"} RoomState `away`: no
 *   connection; `nameless`: the room wants another name, see
 *   `problem`; `refused`: no entry, see `problem`.
 */
export class Room extends EventTarget {
  #client;
  #subscription = null;
  #reclaimTimer = 0;
  #retryTimer = 0;
  #isSending = false;
  #isSubscribed = false;
  #isLeft = false;
  #isHoleNewest = false;
  #isReturn;

  /**
   * @param {import("/sdk/index.js").RialtoClient} client
   * @param {string} token
   * @param {string} name The name to claim.
   * @param {boolean} isReturn It was claimed here before: the broker may still hold it for a former connection.
   */
  constructor(client, token, name, isReturn = false) {
    super();
    this.#client = client;
    this.#isReturn = isReturn;
    this.token = token;
    this.topic = `chat.${token}`;
    this.name = name;
    /** @type {RoomState} */
    this.state = "entering";
    /** @type {any} */
    this.problem = null;
    /** While nameless: whether the claim may succeed by itself later. */
    this.isReclaiming = false;
    /** @type {any} */
    this.sendProblem = null;
    this.roster = new Roster();
    this.unread = 0;
    this.draft = "";
    /** @type {string[]} Texts on their way, oldest first. */
    this.outgoing = [];
  }

  /** Subscribes and claims the name, now and after every reconnect. */
  enter() {
    this.#setState("entering");
    this.#subscription = this.#client.subscribe(this.topic, {
      onMessage: (message) => this.#onMessage(message),
      onGap: () => this.#entry({ kind: "hole" }),
      onSubscribed: (subscribed) => this.#onSubscribed(subscribed),
      onRefused: (error) => {
        this.#isSubscribed = false;
        this.#setState("refused", error);
      },
    });
  }

  /** Tries once more after a refusal. */
  retry() {
    if (this.problem?.detail?.kind === "not_present") {
      void this.#subscription?.unsubscribe();
      this.#isSubscribed = false;
    }
    if (!this.#isSubscribed) return this.enter();
    this.#setState("entering");
    void this.#claim(this.name, false);
  }

  /** Leaves the room. */
  leave() {
    this.#isLeft = true;
    this.#stopTimers();
    void this.#subscription?.unsubscribe();
  }

  /** The connection is lost; the client resubscribes and then claims the name again. */
  disconnected() {
    this.#isSubscribed = false;
    this.#stopTimers();
    if (this.state === "present" || this.state === "entering") this.#setState("away");
  }

  /**
   * Takes another name: the first one the room accepts when `nameless`, a new one when present.
   *
   * @param {string} name
   * @returns {Promise<void>} Rejects with the broker's error; nothing has changed then.
   */
  async rename(name) {
    // The user has chosen another name: the old one is not claimed any more.
    clearTimeout(this.#reclaimTimer);
    await this.#callClaim(name);
  }

  /** @param {string} text @returns {boolean} False when too much is on its way already. */
  send(text) {
    if (this.outgoing.length >= OUTGOING_MAX) return false;
    this.sendProblem = null;
    this.outgoing.push(text);
    if (!this.#isSending) void this.#drain();
    this.#changed();
    return true;
  }

  async #drain() {
    this.#isSending = true;
    // One at a time, so that what fails is a tail and returns to the draft in order.
    while (this.outgoing.length > 0) {
      try {
        await this.#client.publish(this.topic, { text: this.outgoing[0] });
        this.outgoing.shift();
        this.#changed();
      } catch (error) {
        this.#sendFailed(error);
      }
    }
    this.#isSending = false;
  }

  #sendFailed(error) {
    const unsent = this.outgoing.splice(0).join("\n");
    this.draft = this.draft === "" ? unsent : `${unsent}\n${this.draft}`;
    this.sendProblem = error;
    this.dispatchEvent(new Event("draft"));
    this.#changed();
    if (error.detail?.kind === "no_name") void this.#claim(this.name, false);
  }

  #onSubscribed({ recovered, position, previous }) {
    this.#isSubscribed = true;
    if (this.state !== "nameless") this.#setState("entering");
    if (previous && !recovered && missedSomething(previous, position)) this.#entry({ kind: "hole" });
    void this.#claim(this.name, this.#isReturn || previous !== null);
  }

  async #claim(name, isReturn) {
    const until = performance.now() + (isReturn ? RECLAIM_FOR_MS : 0);
    for (;;) {
      try {
        return await this.#callClaim(name);
      } catch (error) {
        if (this.#isLeft || !isAnswer(error)) return;
        const kind = error.detail?.kind;
        const isNameProblem = kind === "name_taken" || kind === "invalid_name";
        this.isReclaiming = kind === "name_taken" && performance.now() < until;
        this.#setState(isNameProblem ? "nameless" : "refused", error);
        if (!this.isReclaiming) return this.#retryLater(error);
        await this.#pauseBeforeReclaim();
      }
    }
  }

  /** Never ends when the timer is stopped, and neither does its claim then. */
  #pauseBeforeReclaim() {
    return new Promise((resolve) => {
      clearTimeout(this.#reclaimTimer);
      this.#reclaimTimer = setTimeout(resolve, RECLAIM_EVERY_MS);
    });
  }

  #retryLater({ retryAfterMs }) {
    if (retryAfterMs === null) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => void this.#claim(this.name, false), retryAfterMs);
  }

  async #callClaim(name) {
    this.roster.asked();
    let answer;
    try {
      answer = await this.#client.call(this.topic, "claim", { name });
    } catch (error) {
      this.roster.gaveUp();
      throw error;
    }
    this.#stopTimers();
    this.name = answer.name;
    this.roster.settle(answer.members);
    this.#setState("present");
  }

  #onMessage({ data, time }) {
    const isForeign = typeof data?.kind !== "string";
    if (isForeign) return;
    if (data.kind !== "message") this.roster.announce(data);
    this.#entry({ time, ...data });
    if (data.kind !== "message") this.#changed();
  }

  #entry(entry) {
    // A gap and the loss of a position may be reported one after the other.
    const isHole = entry.kind === "hole";
    if (isHole && this.#isHoleNewest) return;
    this.#isHoleNewest = isHole;
    this.dispatchEvent(new CustomEvent("entry", { detail: entry }));
  }

  /** @param {RoomState} state */
  #setState(state, problem = null) {
    this.state = state;
    this.problem = problem;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #stopTimers() {
    clearTimeout(this.#reclaimTimer);
    clearTimeout(this.#retryTimer);
  }
}

/** Whether the broker answered; after a lost connection the claim is repeated. */
function isAnswer(error) {
  return error.code !== "not_connected" && error.code !== "connection_lost";
}

function missedSomething(previous, position) {
  return position === null || previous.epoch !== position.epoch || previous.offset !== position.offset;
}
