/** The position of one subscription in its topic: where to resume, and which messages and gaps are new. Pure. */

/** Most offsets of own messages that are remembered until the others have come so far. */
const OWN_MAX = 1000;

/**
 * @typedef {{epoch: string, offset: number}} Position
 * @typedef {{from: number, to: number}} Span Offsets, both included.
 */

export class Cursor {
  /** @type {Position | null} */
  #position;
  /** Where the topic stood when the broker replied last: what comes up to here was published before. */
  #head = 0;
  /** The next message may be any later one: it is not known how many of the requested messages are kept. */
  #isOpen = false;
  /** Offsets still to come of messages that the application published and does not want back. */
  #own = new Set();

  /** @param {Position | null} [position] Of the last message that the application had already. */
  constructor(position = null) {
    this.#position = position && { ...position };
  }

  /** The position of the newest message received or reported missing; null before the first reply. */
  get position() {
    return this.#position && { ...this.#position };
  }

  /**
   * Takes in the broker's reply.
   *
   * @param {Position | null} head Where the topic stands; null for patterns.
   * @param {boolean} recovered Everything after the own position follows.
   * @param {number} last How many kept messages were asked for, in case that not everything follows.
   */
  accept(head, recovered, last) {
    const own = this.#position;
    this.#isOpen = false;
    this.#head = head?.offset ?? 0;
    // In the same epoch messages and gaps continue after `own`: what is missing is reported, or requested again.
    if (own !== null && own.epoch === head?.epoch && (recovered || own.offset <= head.offset)) return;
    this.#own.clear();
    this.#position = head && { ...head };
    if (head === null || last === 0) return;
    // How many of the last ones are kept is not said.
    this.#position = { epoch: head.epoch, offset: own === null ? Math.max(0, head.offset - last) : 0 };
    this.#isOpen = true;
  }

  /**
   * Whether a message of this offset was published before the broker's reply, and is repeated for this subscription
   * only.
   *
   * @param {number} offset
   */
  isRepeated(offset) {
    return offset <= this.#head;
  }

  /**
   * A message arrived.
   *
   * @param {number} offset
   * @returns {{isNew: boolean, missed: Span | null}} `missed`: what should have come before it, and nobody explained.
   */
  message(offset) {
    const position = this.#position;
    if (position === null) return { isNew: true, missed: null };
    if (offset <= position.offset) return { isNew: false, missed: null };
    const missed = this.#isOpen || offset === position.offset + 1 ? null : { from: position.offset + 1, to: offset - 1 };
    const isNew = !this.#own.has(offset);
    this.#isOpen = false;
    this.#advance(position, offset);
    return { isNew, missed };
  }

  /**
   * A message was published that this subscription is not to get, and that nobody will explain.
   *
   * @param {Position} own
   */
  leaveOut({ epoch, offset }) {
    const position = this.#position;
    if (position?.epoch !== epoch || offset <= position.offset || this.#own.size >= OWN_MAX) return;
    this.#own.add(offset);
    this.#advance(position, position.offset);
  }

  /**
   * The broker reported that some messages will not come.
   *
   * @param {Span} span
   * @returns {Span | null} What of it is new.
   */
  gap({ from, to }) {
    const position = this.#position;
    if (position === null) return { from, to };
    const first = Math.max(from, position.offset + 1);
    if (first > to) return null;
    this.#advance(position, to);
    return { from: first, to };
  }

  /**
   * @param {Position} position
   * @param {number} offset
   */
  #advance(position, offset) {
    position.offset = offset;
    while (this.#own.has(position.offset + 1)) position.offset += 1;
    for (const own of this.#own) if (own <= position.offset) this.#own.delete(own);
  }
}
