/** The visible messages of one room: bounded, grouped, and scrolled only when the reader is at the end. */

import { element } from "./element.js";
import { announcementText, dayElement, isSameDay, messageElement, noteElement } from "./entry.js";

const ENTRIES_MAX = 500;
const GROUP_MS = 5 * 60_000;
const NAMES_KEPT = 3;
/** Closer than this to the end counts as reading the newest. */
const NEAR_END_PX = 60;

export class Log {
  #list = element("ol", "log-list");
  #scroller = element("div", "log-scroller");
  #jump = element("button", "jump");
  #empty;
  #newMark = null;
  #isAtEnd = true;
  #missed = 0;
  #scrollTop = 0;
  /** The newest entry, for grouping. @type {{kind: string, author?: string, time: number} | null} */
  #last = null;
  /** The members of the newest announcement. */
  #people = { names: [], count: 0 };
  #lastDayTime = Date.now();

  /** @param {string} label */
  constructor(label) {
    /** @readonly */
    this.element = element("section", "log");
    this.element.hidden = true;
    this.#scroller.tabIndex = 0;
    this.#scroller.setAttribute("role", "log");
    this.#scroller.setAttribute("aria-label", label);
    this.#empty = element("p", "log-empty", "Quiet on the bridge. Say the first word.");
    this.#jump.type = "button";
    this.#jump.hidden = true;
    this.#jump.addEventListener("click", () => this.toEnd());
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#scroller.append(this.#empty, this.#list);
    this.element.append(this.#scroller, this.#jump);
    // The end stays in view when the keyboard of a phone, a banner or a taller composer takes room.
    new ResizeObserver(() => this.#isAtEnd && this.#scrollToEnd()).observe(this.#scroller);
  }

  /** @param {boolean} isInside Whether the room was entered: only then is an empty log reported. */
  refresh(isInside) {
    this.#empty.classList.toggle("is-shown", isInside);
  }

  show() {
    this.element.hidden = false;
    if (this.#isAtEnd) this.#scrollToEnd();
    else this.#scroller.scrollTop = this.#scrollTop;
  }

  hide() {
    this.#scrollTop = this.#scroller.scrollTop;
    this.element.hidden = true;
    this.#newMark?.remove();
    this.#newMark = null;
  }

  toEnd() {
    this.#isAtEnd = true;
    this.#missed = 0;
    this.#scrollToEnd();
    this.#showJump();
  }

  /**
   * @param {any} entry
   * @param {boolean} isOwn
   * @param {boolean} isFirstUnread The log is out of sight, and everything before was seen.
   */
  add(entry, isOwn, isFirstUnread) {
    if (entry.kind === "message") this.#addMessage(entry, isOwn, isFirstUnread);
    else this.#addNote(entry, isOwn);
    while (this.#list.childElementCount > ENTRIES_MAX) this.#dropFirst();
    if (entry.kind === "message") this.#empty.hidden = true;
    if (this.element.hidden) return;
    if (this.#isAtEnd) this.#scrollToEnd();
    else if (entry.kind === "message") {
      this.#missed += 1;
      this.#showJump();
    }
  }

  #addMessage(message, isOwn, isFirstUnread) {
    this.#addDay(message.time);
    if (isFirstUnread) {
      this.#newMark?.remove();
      this.#newMark = noteElement("New", "divider divider-new");
      this.#append(this.#newMark, { kind: "mark", time: message.time });
    }
    const isContinued = this.#last?.kind === "message" && this.#last.author === message.author
      && message.time - this.#last.time < GROUP_MS;
    this.#append(messageElement(message, { isOwn, isContinued }), message);
  }

  #addNote(entry, isOwn) {
    switch (entry.kind) {
      case "joined":
      case "left":
        // The user's own `left` can only be that of a former connection.
        return this.#addAnnouncement(entry, isOwn && entry.kind === "joined" ? "You" : entry.name);
      case "renamed":
        this.#addDay(entry.time);
        return this.#append(noteElement(isOwn ? `You are now ${entry.to}` : `${entry.from} is now ${entry.to}`), entry);
      case "hole":
        return this.#append(
          noteElement("Some messages may be missing here", "divider divider-hole"),
          { kind: "hole", time: Date.now() },
        );
      default: // A newer plugin may announce what this page does not know.
    }
  }

  /** Consecutive joins or leaves share one line: a restart must not flood the log. */
  #addAnnouncement(entry, name) {
    this.#addDay(entry.time);
    const isContinued = this.#last?.kind === entry.kind && this.#list.lastElementChild?.matches(".note");
    if (!isContinued) this.#people = { names: [], count: 0 };
    this.#people.count += 1;
    if (this.#people.names.length < NAMES_KEPT) this.#people.names.push(name);
    const text = announcementText(entry.kind, this.#people.names, this.#people.count);
    if (isContinued) this.#list.lastElementChild.textContent = text;
    else this.#append(noteElement(text), entry);
  }

  #addDay(time) {
    if (isSameDay(this.#lastDayTime, time)) return;
    this.#lastDayTime = time;
    this.#append(dayElement(time), { kind: "day", time });
  }

  #append(item, last) {
    this.#list.append(item);
    this.#last = last;
  }

  #dropFirst() {
    const first = this.#list.firstElementChild;
    const heightPx = this.#isAtEnd ? 0 : first.getBoundingClientRect().height;
    if (first === this.#newMark) this.#newMark = null;
    first.remove();
    // A reader of older messages keeps them in view.
    if (heightPx > 0) this.#scroller.scrollTop -= heightPx;
    this.#list.firstElementChild?.classList.remove("is-continued");
  }

  #onScroll() {
    if (this.element.hidden) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    if (this.#isAtEnd) this.#missed = 0;
    this.#showJump();
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #showJump() {
    this.#jump.hidden = this.#isAtEnd;
    this.#jump.classList.toggle("has-new", this.#missed > 0);
    const messages = this.#missed === 1 ? "1 new message" : `${this.#missed} new messages`;
    this.#jump.textContent = this.#missed > 0 ? `${messages} ↓` : "To the newest ↓";
  }
}
