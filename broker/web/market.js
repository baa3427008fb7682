/** Joins the parts of the market page: one client, the symbols that are followed, and their rows. */

import { RialtoClient } from "/sdk/index.js";
import { byId } from "./element.js";
import { Listing } from "./listing.js";
import { Offers } from "./offers.js";
import { Picker } from "./picker.js";
import { explainRefusal } from "./refusals.js";
import { Row } from "./row.js";
import { StatusView } from "./status.js";
import { Watchlist } from "./watchlist.js";

/** How many symbols a first visit follows. */
const FIRST_SYMBOLS = 6;

class Market {
  #client = new RialtoClient("/ws");
  #watchlist = new Watchlist();
  /** @type {Map<string, {listing: Listing, row: Row}>} */
  #followed = new Map();
  /** Listings whose row is out of date. @type {Set<Listing>} */
  #stale = new Set();
  #frame = 0;

  #rows = byId("rows");
  #summary = byId("summary");
  #announcer = byId("announcer");
  #picker = new Picker({ onPick: (symbol) => this.#pick(symbol) });
  #offers = new Offers({ onPick: (symbol) => this.#pick(symbol) });

  start() {
    new StatusView(this.#client, { lostNote: "Prices stand still until then." });
    this.#client.on("status", ({ status }) => this.#rows.classList.toggle("is-stale", status !== "connected"));
    this.#client.on("connected", () => void this.#ask());
    this.#client.on("error", (error) => console.error(error));
    this.#client.on("pushed", (frame) => this.#onPushed(frame));
    addEventListener("hashchange", () => this.#match(this.#watchlist.recall() ?? []));
    this.#match(this.#watchlist.recall() ?? []);
    this.#client.connect().catch(() => {});
  }

  /** Requests the traded symbols: for suggestions, and for the first visit. */
  async #ask() {
    const notice = byId("notice");
    try {
      const { symbols } = await this.#client.call({ plugin: "market" }, "symbols");
      const names = symbols.map(({ symbol }) => symbol);
      if (this.#watchlist.recall() === null) this.#match(names.slice(0, FIRST_SYMBOLS));
      this.#picker.suggest(names);
      this.#offers.know(symbols);
      notice.hidden = true;
    } catch (error) {
      if (!isAnswer(error)) return;
      byId("notice-text").textContent = explainRefusal(error, "");
      notice.hidden = false;
    }
    this.#refresh();
  }

  #pick(symbol) {
    const known = this.#followed.get(symbol);
    if (known) return known.row.point();
    this.#follow(symbol);
    this.#announcer.textContent = `Following ${symbol}`;
    this.#save();
    this.#refresh();
  }

  /** Follows these symbols, in this order, and no others. @param {string[]} symbols */
  #match(symbols) {
    for (const symbol of [...this.#followed.keys()]) if (!symbols.includes(symbol)) this.#unfollow(symbol);
    for (const symbol of symbols) if (!this.#followed.has(symbol)) this.#follow(symbol);
    if (symbols.length > 0) this.#save();
    this.#refresh();
  }

  #follow(symbol) {
    const listing = new Listing(this.#client, symbol);
    const row = new Row(symbol, { onRemove: () => this.#remove(symbol) });
    this.#followed.set(symbol, { listing, row });
    this.#rows.append(row.element);
    listing.addEventListener("change", () => this.#paintSoon(listing));
    listing.follow();
  }

  #unfollow(symbol) {
    const { listing, row } = this.#followed.get(symbol);
    this.#followed.delete(symbol);
    this.#stale.delete(listing);
    listing.leave();
    row.element.remove();
  }

  #remove(symbol) {
    const symbols = [...this.#followed.keys()];
    const place = symbols.indexOf(symbol);
    const neighbour = this.#followed.get(symbols[place + 1] ?? symbols[place - 1]);
    this.#unfollow(symbol);
    this.#announcer.textContent = `${symbol} is not followed any more`;
    // Removing by keyboard must not move the focus to the top of the page.
    if (neighbour) neighbour.row.focus();
    else this.#picker.focus();
    this.#save();
    this.#refresh();
  }

  #onPushed({ type, topic, data }) {
    if (type !== "x-snapshot") return;
    for (const { listing } of this.#followed.values()) if (listing.topic === topic) listing.begin(data);
  }

  /** Once for each frame of the screen, however many ticks come; not at all while the page is hidden. */
  #paintSoon(listing) {
    this.#stale.add(listing);
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      for (const stale of this.#stale) this.#followed.get(stale.symbol)?.row.show(stale);
      this.#stale.clear();
      this.#summarise();
    });
  }

  #save() {
    this.#watchlist.remember([...this.#followed.keys()]);
  }

  #refresh() {
    const isEmpty = this.#followed.size === 0;
    byId("board").hidden = isEmpty;
    byId("empty").hidden = !isEmpty || this.#watchlist.recall() === null;
    this.#offers.show([...this.#followed.keys()]);
    this.#summarise();
  }

  #summarise() {
    const ticks = [...this.#followed.values()].map(({ listing }) => listing.tick).filter((tick) => tick !== null);
    const count = (test) => ticks.filter(test).length;
    const up = count(({ change }) => change > 0);
    const down = count(({ change }) => change < 0);
    const words = [`${this.#followed.size} followed`, `${up} up`, `${down} down`].join(" · ");
    // Only if it has changed: a screen reader would read it again.
    if (this.#summary.textContent !== words) this.#summary.textContent = words;
  }
}

/** Whether the broker answered; after a lost connection the request is repeated. */
function isAnswer(error) {
  return error.code !== "not_connected" && error.code !== "connection_lost";
}

new Market().start();
