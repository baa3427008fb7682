/** On a narrow screen, rooms and members slide in from the sides. */

import { byId } from "./element.js";

export class Drawer {
  #panel;
  #opener;
  #backdrop = byId("backdrop");
  #narrow;
  #isOpen = false;

  /**
   * @param {string} panelId
   * @param {string} openerId
   * @param {string} mediaQuery While it matches, the panel is a drawer.
   */
  constructor(panelId, openerId, mediaQuery) {
    this.#panel = byId(panelId);
    this.#opener = byId(openerId);
    this.#narrow = matchMedia(mediaQuery);
    this.#opener.addEventListener("click", () => this.#set(true));
    this.#backdrop.addEventListener("click", () => this.close());
    this.#narrow.addEventListener("change", () => this.#set(false));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    this.#set(false);
  }

  close() {
    if (!this.#isOpen) return;
    this.#set(false);
    this.#opener.focus();
  }

  #set(isOpen) {
    const wasOpen = this.#isOpen;
    this.#isOpen = isOpen && this.#narrow.matches;
    this.#panel.classList.toggle("is-open", this.#isOpen);
    this.#panel.inert = this.#narrow.matches && !this.#isOpen;
    this.#opener.setAttribute("aria-expanded", String(this.#isOpen));
    if (this.#isOpen || wasOpen) this.#backdrop.hidden = !this.#isOpen;
    if (this.#isOpen) (this.#panel.querySelector("button, input") ?? this.#panel).focus();
  }
}
