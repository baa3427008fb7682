/** The traded symbols that are not followed, each with a button to follow it. */

import { byId, element } from "./element.js";
import { priceText } from "./figures.js";

const OFFERS_MAX = 16;

export class Offers {
  #onPick;
  /** @type {{symbol: string, price: number}[]} */
  #known = [];

  /** @param {{onPick: (symbol: string) => void}} listeners */
  constructor({ onPick }) {
    this.#onPick = onPick;
  }

  /** @param {{symbol: string, price: number}[]} symbols With their current prices. */
  know(symbols) {
    this.#known = symbols;
  }

  /** @param {string[]} followed */
  show(followed) {
    const offered = this.#known.filter(({ symbol }) => !followed.includes(symbol)).slice(0, OFFERS_MAX);
    byId("more").hidden = offered.length === 0;
    byId("offers").replaceChildren(...offered.map((offer) => this.#offer(offer)));
  }

  #offer({ symbol, price }) {
    const button = element("button", "offer");
    button.type = "button";
    button.setAttribute("aria-label", `Follow ${symbol}`);
    button.append(element("b", "offer-symbol", symbol), element("span", "offer-price", priceText(price)));
    button.addEventListener("click", () => this.#onPick(symbol));
    const item = element("li");
    item.append(button);
    return item;
  }
}
