/** A form for a name in place of the composer: if the room refuses the name, or if the user changes it. */

import { byId } from "./element.js";
import { explain } from "./wording.js";

export class NameForm {
  #form = byId("name-form");
  #label = byId("name-label");
  #input = byId("name-input");
  #cancel = byId("name-cancel");
  #problem = byId("name-problem");
  #onNamed;
  #onClosed;
  /** @type {import("./room.js").Room | null} */
  #room = null;
  #isRenaming = false;
  #shownProblem = null;

  /** @param {{onNamed: (name: string) => void, onClosed: () => void}} options */
  constructor({ onNamed, onClosed }) {
    this.#onNamed = onNamed;
    this.#onClosed = onClosed;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.#input.addEventListener("input", () => this.#showProblem(""));
    this.#cancel.addEventListener("click", () => this.#close());
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#isRenaming) this.#close();
    });
  }

  /** @param {import("./room.js").Room} room */
  open(room) {
    this.#room = room;
    this.#isRenaming = false;
    this.#shownProblem = null;
    this.refresh();
  }

  /** The user changes the name. */
  askForNew() {
    if (this.#room?.state !== "present") return;
    this.#isRenaming = true;
    this.#show("Your new name in this room");
  }

  refresh() {
    const room = this.#room;
    if (!room) return;
    if (room.state !== "nameless") {
      this.#shownProblem = null;
      this.#form.hidden = !this.#isRenaming;
      return;
    }
    this.#isRenaming = false;
    // A claim that is repeated in the background must not replace the field while the user types.
    if (this.#shownProblem !== null) return;
    this.#shownProblem = room.problem;
    this.#show(`Choose a name for #${room.token}`);
    const words = explain(room.problem, { name: room.name, room: room.token });
    const hope = " Perhaps your former connection still holds it; trying to get it back.";
    this.#showProblem(room.isReclaiming ? words + hope : words);
  }

  #show(label) {
    this.#form.hidden = false;
    this.#label.textContent = label;
    this.#cancel.hidden = !this.#isRenaming;
    this.#input.value = this.#room?.name ?? "";
    this.#showProblem("");
    this.#input.focus();
    this.#input.select();
  }

  async #submit() {
    const room = this.#room;
    const name = this.#input.value.trim();
    if (!room) return;
    if (name === "") return this.#showProblem("Type a name first.");
    try {
      await room.rename(name);
    } catch (error) {
      if (room === this.#room) this.#showProblem(explain(error, { name, room: room.token }));
      return;
    }
    this.#onNamed(room.name);
    if (room === this.#room) this.#close();
  }

  #close() {
    this.#isRenaming = false;
    this.#form.hidden = true;
    this.#onClosed();
  }

  #showProblem(words) {
    this.#problem.textContent = words;
    this.#input.setAttribute("aria-invalid", String(words !== ""));
  }
}
