/** The followed symbols, stored in the address and in this browser. */

const KEY = "rialto.market";
const SYMBOL = /^[A-Z0-9-]{1,12}$/;
const SYMBOLS_MAX = 100;

export class Watchlist {
  /** @returns {string[] | null} Null before the first choice. */
  recall() {
    const linked = this.linked();
    return linked.length > 0 ? linked : this.#stored();
  }

  /** Those that the address names: `/market#SALT,SILK`. @returns {string[]} */
  linked() {
    let text = location.hash.slice(1);
    try {
      text = decodeURIComponent(text);
    } catch {
      // A malformed escape is no symbol, and is left out below.
    }
    return cleaned(text.split(","));
  }

  /** @param {string[]} symbols */
  remember(symbols) {
    history.replaceState(null, "", symbols.length > 0 ? `#${symbols.join(",")}` : location.pathname);
    try {
      localStorage.setItem(KEY, JSON.stringify(symbols));
    } catch {
      // Storage is full or forbidden: the page works without it.
    }
  }

  #stored() {
    try {
      const stored = JSON.parse(localStorage.getItem(KEY) ?? "null");
      return Array.isArray(stored) ? cleaned(stored) : null;
    } catch {
      // Private windows may refuse storage, and its content may have been edited.
      return null;
    }
  }
}

/**
 * Normalizes typed text to a symbol: in capitals, without the `market.` of its topic. Pure.
 *
 * @param {unknown} typed
 * @returns {string} Empty when it is none.
 */
export function symbolOf(typed) {
  const symbol = String(typed).trim().replace(/^market\./i, "").toUpperCase();
  return SYMBOL.test(symbol) ? symbol : "";
}

function cleaned(symbols) {
  return [...new Set(symbols.map(symbolOf))].filter((symbol) => symbol !== "").slice(0, SYMBOLS_MAX);
}
