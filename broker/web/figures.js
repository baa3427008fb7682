/** Formats prices and changes for the user's locale. Pure. */

const twoDecimals = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
const plain = new Intl.NumberFormat(undefined, twoDecimals);
const signed = new Intl.NumberFormat(undefined, { ...twoDecimals, signDisplay: "exceptZero" });

/** @param {number} price */
export function priceText(price) {
  return plain.format(price);
}

/** @param {number} change With its sign: colour alone says nothing to people who do not see it. */
export function moveText(change) {
  // A hyphen is narrower than a plus, so that columns would not be aligned.
  return signed.format(change).replace("-", "−");
}

/** @param {number} percent */
export function percentText(percent) {
  return `${moveText(percent)}%`;
}

/** @param {number} change @returns {"up" | "down" | "level"} */
export function directionOf(change) {
  if (change === 0) return "level";
  return change > 0 ? "up" : "down";
}

/** A chart in words. @param {string} symbol @param {number[]} prices Oldest first. */
export function spokenChart(symbol, prices) {
  if (prices.length < 2) return `${symbol}: no ticks yet`;
  const [first, last] = [prices[0], prices.at(-1)].map(priceText);
  const [low, high] = [Math.min(...prices), Math.max(...prices)].map(priceText);
  return `${symbol}, last ${prices.length} ticks: from ${first} to ${last}, lowest ${low}, highest ${high}`;
}
