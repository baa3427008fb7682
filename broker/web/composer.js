/** The message field: grows with its text, counts characters near the limit, keeps what was not sent. */

import { byId } from "./element.js";
import { TEXT_LENGTH_MAX } from "./room.js";
import { explain } from "./wording.js";

const COUNT_FROM = TEXT_LENGTH_MAX - 200;
/** On a good connection it need not be shown that a message is on its way. */
const OUTGOING_SHOWN_AFTER_MS = 400;

export class Composer {
  #form = byId("composer");
  #text = byId("composer-text");
  #count = byId("composer-count");
  #problem = byId("composer-problem");
  #outgoing = byId("outgoing");
  #onSent;
  /** @type {import("./room.js").Room | null} */
  #room = null;
  #shownSendProblem = null;
  #isAwayTold = false;
  #outgoingTimer = 0;
  #waitTimer = 0;

  /** @param {{onSent: () => void}} options */
  constructor({ onSent }) {
    this.#onSent = onSent;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#onInput());
    addEventListener("resize", () => this.#measure());
    this.#text.addEventListener("keydown", (event) => {
      // `isComposing`: this Enter confirms a candidate of an input method.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
  }

  /** @param {import("./room.js").Room} room */
  open(room) {
    this.#room = room;
    this.#text.setAttribute("aria-label", `Message to ${room.token}`);
    this.#text.placeholder = `Message #${room.token}`;
    this.#shownSendProblem = room.sendProblem;
    this.#showProblem(room.sendProblem ? explain(room.sendProblem, { room: room.token }) : "");
    this.takeDraft();
    this.refresh();
  }

  /** The room's draft was changed elsewhere: a failed send returned its text. */
  takeDraft() {
    this.#text.value = this.#room?.draft ?? "";
    this.#measure();
  }

  refresh() {
    const room = this.#room;
    if (!room) return;
    const wasHidden = this.#form.hidden;
    this.#form.hidden = room.state === "nameless" || room.state === "refused";
    if (wasHidden && !this.#form.hidden) this.#measure();
    this.#form.classList.toggle("is-away", room.state !== "present");
    this.#showOutgoing(room.outgoing);
    if (this.#isAwayTold && room.state === "present") this.#showProblem("");
    if (room.sendProblem === this.#shownSendProblem) return;
    this.#shownSendProblem = room.sendProblem;
    if (room.sendProblem) this.#showSendProblem(room);
  }

  focus() {
    if (!this.#form.hidden) this.#text.focus();
  }

  #onInput() {
    if (this.#room) {
      this.#room.draft = this.#text.value;
      this.#room.sendProblem = null;
      this.#shownSendProblem = null;
    }
    this.#showProblem("");
    this.#measure();
  }

  #submit() {
    const room = this.#room;
    const text = this.#text.value.trim();
    if (!room || text === "") return;
    const excess = lengthOf(text) - TEXT_LENGTH_MAX;
    if (excess > 0) return this.#showProblem(`Too long by ${excess} ${excess === 1 ? "character" : "characters"}.`);
    if (room.state !== "present") {
      this.#showProblem(explain({ code: "not_connected" }));
      this.#isAwayTold = true;
      return;
    }
    if (!room.send(text)) return this.#showProblem("Too much is on its way. Wait until it has been sent.");
    this.#showProblem("");
    this.#text.value = "";
    this.#onInput();
    this.#onSent();
    this.#text.focus();
  }

  #measure() {
    const length = lengthOf(this.#text.value.trim());
    this.#count.hidden = length < COUNT_FROM;
    this.#count.textContent = this.#count.hidden ? "" : `${length} / ${TEXT_LENGTH_MAX}`;
    this.#count.classList.toggle("is-over", length > TEXT_LENGTH_MAX);
    this.#form.classList.toggle("has-text", length > 0);
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }

  #showOutgoing(outgoing) {
    clearTimeout(this.#outgoingTimer);
    this.#form.setAttribute("aria-busy", String(outgoing.length > 0));
    if (outgoing.length === 0) {
      this.#outgoing.hidden = true;
      return;
    }
    this.#outgoingTimer = setTimeout(() => {
      this.#outgoing.hidden = false;
      this.#outgoing.textContent = `Sending: ${outgoing.join(" ")}`;
    }, OUTGOING_SHOWN_AFTER_MS);
  }

  #showSendProblem(room) {
    const error = room.sendProblem;
    this.#showProblem(explain(error, { room: room.token }));
    if (!error.retryAfterMs) return;
    // The wait it names has passed: a stale "try again in 3 seconds" would be wrong.
    this.#waitTimer = setTimeout(() => this.#showProblem("You can send again now."), error.retryAfterMs);
  }

  #showProblem(words) {
    clearTimeout(this.#waitTimer);
    this.#isAwayTold = false;
    this.#problem.textContent = words;
  }
}

/** As the room counts: characters, not UTF-16 units. */
function lengthOf(text) {
  return text.length < COUNT_FROM ? text.length : [...text].length;
}
