/** A small line chart of prices, with the price the day began at as a dashed line. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 160;
const HEIGHT = 44;
/** Padding for the width of the line. */
const MARGIN = 4;
const SIDE = 1;

export class Chart {
  #area = part("path", "chart-area");
  #open = part("path", "chart-open");
  #line = part("path", "chart-line");
  #end = part("path", "chart-end");

  constructor() {
    this.element = part("svg", "chart");
    this.element.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    // The chart fills its element; lines keep their width.
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("role", "img");
    this.element.append(this.#area, this.#open, this.#line, this.#end);
  }

  /** @param {number[]} prices Oldest first. @param {number} open */
  show(prices, open) {
    const { line, area, end, openLine } = outline(prices, open);
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
    this.#end.setAttribute("d", end);
    this.#open.setAttribute("d", openLine);
  }

  /** @param {string} text A description of the chart. */
  describe(text) {
    this.element.setAttribute("aria-label", text);
  }
}

/**
 * The lines of a chart as SVG paths. The highest price is at the top, the lowest at the bottom; the open is drawn only
 * where it lies between them, so that it does not press the line flat. Pure.
 *
 * @param {number[]} prices @param {number} open
 */
export function outline(prices, open) {
  if (prices.length === 0) return { line: "", area: "", end: "", openLine: "" };
  const low = Math.min(...prices);
  const high = Math.max(...prices);
  const inner = HEIGHT - 2 * MARGIN;
  // A price that does not move is a line in the middle.
  const y = (price) => (high === low ? HEIGHT / 2 : MARGIN + ((high - price) / (high - low)) * inner);
  const last = WIDTH - SIDE;
  const step = prices.length > 1 ? (last - SIDE) / (prices.length - 1) : 0;
  const points = prices.map((price, index) => `${round(SIDE + index * step)} ${round(y(price))}`);
  // One price alone is a line from side to side.
  if (points.length === 1) points.push(`${last} ${round(y(prices[0]))}`);
  const line = `M${points.join("L")}`;
  return {
    line,
    area: `${line}L${last} ${HEIGHT}L${SIDE} ${HEIGHT}Z`,
    // A line of zero length with round caps: a dot that stays round when the chart is stretched.
    end: `M${points.at(-1)}h0`,
    openLine: low < open && open < high ? `M${SIDE} ${round(y(open))}H${last}` : "",
  };
}

function round(number) {
  return Math.round(number * 10) / 10;
}

function part(name, className) {
  const node = document.createElementNS(SVG, name);
  node.setAttribute("class", className);
  return node;
}
