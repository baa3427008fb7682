/** The first screen: a name and a room. */

import { byId } from "./element.js";
import { roomToken } from "./token.js";

export class Welcome {
  #element = byId("welcome");
  #name = byId("welcome-name");
  #room = byId("welcome-room");
  #hint = byId("welcome-room-hint");
  #nameProblem = byId("welcome-name-problem");
  #roomProblem = byId("welcome-room-problem");
  #onEnter;

  /** @param {{onEnter: (name: string, token: string) => void}} options */
  constructor({ onEnter }) {
    this.#onEnter = onEnter;
    byId("welcome-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#name.addEventListener("input", () => this.#showNameProblem(""));
    this.#room.addEventListener("input", () => this.#onRoomInput());
  }

  /** @param {string} name @param {string} token */
  show(name, token) {
    this.#element.hidden = false;
    this.#name.value = name;
    this.#room.value = token;
    this.#onRoomInput();
    (name === "" ? this.#name : this.#room).focus();
  }

  hide() {
    this.#element.hidden = true;
    this.#showNameProblem("");
  }

  get isShown() {
    return !this.#element.hidden;
  }

  #onRoomInput() {
    const token = roomToken(this.#room.value);
    this.#showRoomProblem("");
    this.#hint.textContent = token && token !== this.#room.value ? `Opens #${token}` : "";
  }

  #submit() {
    const name = this.#name.value.trim();
    const token = roomToken(this.#room.value);
    if (name === "") {
      this.#showNameProblem("Type the name others will see.");
      this.#name.focus();
    } else if (token === "") {
      this.#showRoomProblem("Type the name of a room, for example lobby.");
      this.#room.focus();
    } else this.#onEnter(name, token);
  }

  #showNameProblem(words) {
    this.#nameProblem.textContent = words;
    this.#name.setAttribute("aria-invalid", String(words !== ""));
  }

  #showRoomProblem(words) {
    this.#roomProblem.textContent = words;
    this.#room.setAttribute("aria-invalid", String(words !== ""));
  }
}
