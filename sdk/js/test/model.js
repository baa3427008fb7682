/** A broker in one page, behind a network that loses what is under way when it cuts. Deterministic: a seed decides. */

import { matches } from "../pattern.js";
import { FakeClock, settled } from "./fake.js";

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Topic {
  /** All that was ever published in this epoch; `kept` of them can be read. */
  messages = [];

  constructor(name, epoch, kept) {
    this.name = name;
    this.epoch = epoch;
    this.kept = kept;
  }

  get head() {
    return { epoch: this.epoch, offset: this.messages.length };
  }

  get firstKept() {
    return Math.max(1, this.messages.length - this.kept + 1);
  }
}

/** One end of a connection; frames wait in both directions until the network carries them. */
class Wire {
  up = [];
  down = [];
  isCut = false;
  subscriptions = new Set();

  constructor(socket) {
    this.socket = socket;
  }
}

export class Model {
  clock = new FakeClock();
  /** Every epoch of every topic, oldest first. */
  past = [];
  #topics = new Map();
  #keys = new Map();
  #wires = [];
  #random;
  #kept;
  #epochs = 0;

  constructor(random, kept) {
    this.#random = random;
    this.#kept = kept;
  }

  /** The class that its clients take for WebSocket. */
  get WebSocket() {
    const model = this;
    return class {
      constructor() {
        model.#accept(this);
      }

      send(text) {
        this.wire.up.push(JSON.parse(text));
      }

      close() {
        this.wire.isCut = true;
      }
    };
  }

  topic(name) {
    const known = this.#topics.get(name);
    if (known) return known;
    const topic = new Topic(name, `e${(this.#epochs += 1)}`, this.#kept);
    this.#topics.set(name, topic);
    this.past.push(topic);
    return topic;
  }

  /** Carries one frame in one direction, if any waits. */
  async carry() {
    this.#wires = this.#wires.filter(({ isCut }) => !isCut);
    const all = this.#wires.flatMap((wire) => [["up", wire], ["down", wire]]);
    const lanes = all.filter(([way, wire]) => wire[way].length > 0);
    if (lanes.length === 0) return false;
    const [way, wire] = lanes[Math.floor(this.#random() * lanes.length)];
    const frame = wire[way].shift();
    if (way === "up") this.#receive(wire, frame);
    else wire.socket.onmessage?.({ data: JSON.stringify(frame) });
    await settled();
    return true;
  }

  /** Cuts one connection; whatever is under way is lost. */
  async cut() {
    const wires = this.#wires.filter(({ isCut }) => !isCut);
    if (wires.length > 0) await this.#cut(wires[Math.floor(this.#random() * wires.length)]);
  }

  /** The broker is killed, and is there again with nothing it knew. */
  async restart() {
    for (const wire of this.#wires) if (!wire.isCut) await this.#cut(wire);
    this.#topics.clear();
    this.#keys.clear();
  }

  async #cut(wire) {
    wire.isCut = true;
    wire.socket.onclose?.({ code: 1006, reason: "" });
    await settled();
  }

  #accept(socket) {
    const wire = new Wire(socket);
    socket.wire = wire;
    this.#wires.push(wire);
    wire.down.push({ type: "welcome", session: "s", ping_ms: 25_000, features: ["keys"], limits: {} });
  }

  #receive(wire, { id, type, ...fields }) {
    const reply = (more) => wire.down.push({ type: "ok", id, ...more });
    if (type === "ping") wire.down.push({ type: "pong", id });
    if (type === "publish") reply(this.#publish(fields));
    if (type !== "subscribe") return;
    const items = fields.topics ?? [fields];
    const outcomes = items.map((item) => this.#subscribe(wire, item));
    reply(fields.topics ? { topics: outcomes.map(([outcome]) => outcome) } : outcomes[0][0]);
    for (const [, frames] of outcomes) wire.down.push(...frames);
  }

  #publish({ topic: name, data, key }) {
    const known = this.#keys.get(key);
    if (known) return { position: known, duplicate: true };
    const topic = this.topic(name);
    topic.messages.push(data);
    this.#keys.set(key, topic.head);
    for (const wire of this.#wires) {
      const isWanted = [...wire.subscriptions].some((each) => matches(each, name));
      if (isWanted) wire.down.push(messageOf(topic, topic.messages.length));
    }
    return { position: topic.head };
  }

  #subscribe(wire, { topic: name, since, last = 0 }) {
    wire.subscriptions.add(name);
    if (/[*>]/.test(name)) return [{ topic: name }, []];
    const topic = this.topic(name);
    const { epoch, offset: head } = topic.head;
    const recovered = since?.epoch === epoch && since.offset <= head && since.offset + 1 >= topic.firstKept;
    const known = since?.epoch === epoch && since.offset <= head ? since.offset : 0;
    const first = recovered ? since.offset + 1 : Math.max(topic.firstKept, head - last + 1, known + 1);
    const frames = [];
    if (since && first > known + 1) {
      const reason = since.epoch === epoch ? "expired" : "reset";
      frames.push({ type: "gap", topic: name, from: known + 1, to: first - 1, reason });
    }
    for (let offset = first; offset <= head; offset += 1) frames.push(messageOf(topic, offset));
    return [{ topic: name, position: topic.head, recovered: since ? recovered : undefined, more: false }, frames];
  }
}

function messageOf(topic, offset) {
  return { type: "message", topic: topic.name, offset, time: 0, data: topic.messages[offset - 1] };
}
