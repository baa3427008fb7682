/** The row of one symbol: its chart and figures, and the button that removes it. */

import { Chart } from "./chart.js";
import { element } from "./element.js";
import { directionOf, moveText, percentText, priceText, spokenChart } from "./figures.js";
import { explainRefusal } from "./refusals.js";

const ARROWS = { up: "▲", down: "▼", level: "◆" };
const timeOfDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export class Row {
  #chart = new Chart();
  #time = element("time", "symbol-time");
  #chartCell = cell("board-chart");
  #problem = element("p", "problem");
  #price = element("span", "price", "—");
  #move = element("span", "move");
  #arrow = element("span", "move-arrow");
  #amount = element("span", "move-amount");
  #percent = element("span", "move-percent");
  #remove;
  #lastPrice = null;

  /** @param {string} symbol @param {{onRemove: () => void}} listeners */
  constructor(symbol, { onRemove }) {
    this.element = element("tr", "board-row");
    this.element.setAttribute("role", "row");
    this.element.dataset.symbol = symbol;
    const heading = element("th", "board-symbol");
    heading.scope = "row";
    heading.setAttribute("role", "rowheader");
    heading.append(element("span", "symbol-name", symbol), this.#time);
    this.#chartCell.append(this.#chart.element, this.#problem);
    const price = cell("board-price");
    price.append(this.#price);
    this.#arrow.setAttribute("aria-hidden", "true");
    this.#move.append(this.#arrow, this.#amount, this.#percent);
    this.#move.hidden = true;
    const change = cell("board-change");
    change.append(this.#move);
    this.#remove = removeButton(symbol, onRemove);
    const last = cell("board-remove");
    last.append(this.#remove);
    this.element.append(heading, this.#chartCell, price, change, last);
  }

  /** @param {import("./listing.js").Listing} listing */
  show({ symbol, tick, tail, problem }) {
    this.#problem.textContent = problem ? explainRefusal(problem, symbol) : "";
    this.element.classList.toggle("is-refused", problem !== null);
    if (tick === null) return;
    const direction = directionOf(tick.change);
    this.element.dataset.direction = direction;
    this.#time.dateTime = new Date(tick.time).toISOString();
    this.#time.textContent = timeOfDay.format(tick.time);
    this.#price.textContent = priceText(tick.price);
    this.#arrow.textContent = ARROWS[direction];
    this.#amount.textContent = moveText(tick.change);
    this.#percent.textContent = percentText(tick.percent);
    this.#move.hidden = false;
    this.#chart.show(tail.map(([, price]) => price), tick.price - tick.change);
    this.#chart.describe(spokenChart(symbol, tail.map(([, price]) => price)));
    this.#flash(tick.price);
  }

  focus() {
    this.#remove.focus();
  }

  /** Scrolls to this row and focuses it. */
  point() {
    this.element.scrollIntoView({ block: "nearest" });
    this.focus();
  }

  #flash(price) {
    const before = this.#lastPrice;
    this.#lastPrice = price;
    if (before === null || before === price) return;
    const [name, other] = price > before ? ["has-risen", "has-fallen"] : ["has-fallen", "has-risen"];
    this.#price.classList.remove(name, other);
    // Reading the layout makes the browser see the class go, or the animation would not begin again.
    void this.#price.offsetWidth;
    this.#price.classList.add(name);
  }
}

function cell(className) {
  const node = element("td", className);
  node.setAttribute("role", "cell");
  return node;
}

function removeButton(symbol, onRemove) {
  const button = element("button", "icon-button", "×");
  button.type = "button";
  button.setAttribute("aria-label", `Stop following ${symbol}`);
  button.title = `Stop following ${symbol}`;
  button.addEventListener("click", onRemove);
  return button;
}
