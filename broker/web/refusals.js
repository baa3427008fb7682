/** The broker's and the market's errors as texts for users. Pure. */

import { secondsText } from "./wording.js";

const REJECTIONS = {
  unknown_symbol: ({ symbol }) => `${symbol} is not traded here.`,
  invalid_symbol: () => "No symbol: 1 to 12 of the characters A–Z, 0–9 and “-”.",
  too_many_symbols: () => "So many symbols are followed here that no other fits. Try again later.",
  over_share: () => "Nearly all symbols are taken. Remove another one from your list first.",
};

const CODES = {
  not_found: () => "This broker has no market. Its configuration names the plugin: see config/rialto.toml.",
  forbidden: ({ symbol }) => `You may not follow ${symbol}.`,
  unauthorized: () => "The broker asks for a sign-in that this page does not offer.",
  busy: ({ wait }) => `The market is very busy. ${wait}`,
  too_many: ({ wait }) => `A limit of the broker is reached. ${wait}`,
  plugin_failed: ({ wait }) => `The market stumbled over this. ${wait}`,
  unavailable: ({ wait }) => `The broker cannot do this right now. ${wait}`,
};

/** @param {any} error Whatever a request of the client was refused with. @param {string} symbol */
export function explainRefusal(error, symbol) {
  const words = error.code === "rejected" ? REJECTIONS[error.detail?.kind] : CODES[error.code];
  const wait = error.retryAfterMs
    ? `It is tried again in ${secondsText(error.retryAfterMs)}.`
    : "Try again in a moment.";
  return words?.({ symbol, wait }) ?? `That did not work: ${error.message}.`;
}
