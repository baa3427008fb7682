/** The field for a symbol to follow. */

import { byId, element } from "./element.js";
import { symbolOf } from "./watchlist.js";

export class Picker {
  #input = byId("picker-symbol");
  #problem = byId("picker-problem");

  /** @param {{onPick: (symbol: string) => void}} listeners */
  constructor({ onPick }) {
    byId("picker").addEventListener("submit", (event) => {
      event.preventDefault();
      const symbol = symbolOf(this.#input.value);
      this.#complain(symbol === "" ? "A symbol has 1 to 12 of the characters A–Z, 0–9 and “-”." : "");
      if (symbol === "") return this.#input.focus();
      this.#input.value = "";
      onPick(symbol);
    });
    this.#input.addEventListener("input", () => this.#complain(""));
  }

  /** @param {string[]} symbols */
  suggest(symbols) {
    const options = symbols.map((symbol) => {
      const option = element("option");
      option.value = symbol;
      return option;
    });
    byId("picker-known").replaceChildren(...options);
  }

  focus() {
    this.#input.focus();
  }

  #complain(text) {
    this.#problem.textContent = text;
    this.#input.setAttribute("aria-invalid", String(text !== ""));
  }
}
