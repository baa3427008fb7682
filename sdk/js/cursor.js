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
  /**
   * How many of the last messages are kept is not known when they are requested: up to here no offset counts as missing,
   * as long as no message arrived.
   */
  #promisedAfter = 0;
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
    this.#head = head?.offset ?? 0;
    // In the same epoch messages and gaps continue after `own`: what is missing is reported, or requested again.
    if (own !== null && own.epoch === head?.epoch && (recovered || own.offset <= head.offset)) return;
    this.#own.clear();
    this.#promisedAfter = 0;
    this.#position = head && { ...head };
    if (head === null || last === 0) return;
    this.#position = { epoch: head.epoch, offset: own === null ? Math.max(0, head.offset - last) : 0 };
    if (own === null) this.#promisedAfter = head.offset;
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
   * What of a gap concerns messages that were published after the broker's reply.
   *
   * @param {Span} span
   * @returns {Span | null}
   */
  livePart({ from, to }) {
    const first = Math.max(from, this.#head + 1);
    return first > to ? null : { from: first, to };
  }

  /**
   * A message arrived.
   *
   * @param {number} offset
   * @returns {{isNew: boolean, missed: Span | null}} `missed`: what should have come before it, and no gap reported.
   */
  message(offset) {
    const position = this.#position;
    if (position === null) return { isNew: true, missed: null };
    if (offset <= position.offset) return { isNew: false, missed: null };
    const first = Math.max(position.offset, this.#promisedAfter) + 1;
    const missed = first < offset ? { from: first, to: offset - 1 } : null;
    const isNew = !this.#own.has(offset);
    this.#promisedAfter = 0;
    this.#advance(position, offset);
    return { isNew, missed };
  }

  /**
   * A message was published that this subscription is not to get, and that no gap will report.
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
    const first = Math.max(from, position.offset + 1, this.#promisedAfter + 1);
    if (to > position.offset) this.#advance(position, to);
    return first > to ? null : { from: first, to };
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
