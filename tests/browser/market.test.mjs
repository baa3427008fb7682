/** People watching the market: Chromium windows on `/market`, against one real broker. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { Broker } from "./broker.mjs";
import { becomes, launchChromium, PHONE, Window } from "./window.mjs";

const SCENARIO = { timeout: 120_000 };
const DARK = { viewport: { width: 1280, height: 800 }, colorScheme: "dark" };

let broker;
let browser;
let windows = [];

before(async () => {
  [broker, browser] = await Promise.all([Broker.start(), launchChromium()]);
}, SCENARIO);

after(async () => {
  await browser?.close();
  await broker?.stop();
});

afterEach(async () => {
  const complaints = windows.flatMap((window) => window.complaints);
  await Promise.all(windows.map((window) => window.close()));
  windows = [];
  assert.deepEqual(complaints, [], "the browser complained");
});

/** @param {string} hash The symbols to follow, `#SALT,SILK`; nothing for someone who comes for the first time. */
async function open(hash = "", device) {
  const ready = "#board:not([hidden]), #empty:not([hidden])";
  const window = await Window.open(browser, `${broker.url}market${hash}`, device, ready);
  windows.push(window);
  return window;
}

/** A program beside the windows: the client alone, in a page that shows nothing of the market. */
async function program() {
  const window = await Window.open(browser, broker.url);
  windows.push(window);
  await window.page.evaluate(async () => {
    const { RialtoClient } = await import("/sdk/index.js");
    globalThis.client = new RialtoClient("/ws");
    await globalThis.client.connect();
  });
  return {
    /** The kind of rejection, or nothing. */
    feed: (symbol, data) => window.page.evaluate(
      ([topic, payload]) => globalThis.client.publish(topic, payload).then(() => "", ({ detail }) => detail.kind),
      [`feed.${symbol}`, data]),
    timeOf: (symbol) => window.page.evaluate(async (wanted) => {
      const { symbols: all } = await globalThis.client.call({ plugin: "market" }, "symbols");
      return all.find(({ symbol: name }) => name === wanted).time;
    }, symbol),
  };
}

const rows = (window) => window.page.locator(".board-row");
const symbols = (window) => rows(window).evaluateAll((all) => all.map(({ dataset }) => dataset.symbol));
const row = (window, symbol) => window.page.locator(`.board-row[data-symbol="${symbol}"]`);
const price = (window, symbol) => row(window, symbol).locator(".price").textContent();

/** Notes every price that the page shows from now on, with its time, until `seen` takes them. */
async function watch(window, symbol) {
  await row(window, symbol).evaluate((element) => {
    const [time, shown] = [element.querySelector("time"), element.querySelector(".price")];
    element.seen = [];
    const note = () => element.seen.push(`${time.dateTime} ${shown.textContent}`);
    new MutationObserver(note).observe(time, { attributes: true, attributeFilter: ["datetime"] });
  });
}

const seen = (window, symbol) => row(window, symbol).evaluate((element) => element.seen);

test("two windows see the same prices in the same order", SCENARIO, async () => {
  const [first, second] = [await open("#SALT,SILK"), await open("#SILK")];
  for (const window of [first, second]) {
    await row(window, "SILK").locator(".move").waitFor();
    await watch(window, "SILK");
  }
  await becomes(async () => (await seen(first, "SILK")).length > 12, true);
  const [one, other] = [await seen(first, "SILK"), await seen(second, "SILK")];
  // A busy window may show two ticks as one, so not every one is seen by both.
  const times = (entries) => entries.map((entry) => entry.split(" ")[0]);
  const common = one.filter((entry) => times(other).includes(entry.split(" ")[0]));
  assert.ok(common.length > 8, `${one} | ${other}`);
  assert.deepEqual(other.filter((entry) => times(one).includes(entry.split(" ")[0])), common);
  assert.deepEqual(times(one), times(one).toSorted());
  assert.ok(new Set(common.map((entry) => entry.split(" ")[1])).size > 3, "the price moves");
});

test("who comes for the first time sees a market that moves", SCENARIO, async () => {
  const window = await open();
  await becomes(() => symbols(window), ["AMBER", "GLASS", "INDIGO", "PEPPER", "SAFFRON", "SALT"]);
  for (const symbol of ["AMBER", "SALT"]) await row(window, symbol).locator(".move").waitFor();
  const before = await price(window, "AMBER");
  await becomes(async () => (await price(window, "AMBER")) !== before, true);
  assert.match(await row(window, "AMBER").locator(".move").textContent(), /^[▲▼◆]([+−]?\d+\.\d\d){2}%$/);
  const chart = await row(window, "AMBER").locator("svg").getAttribute("aria-label");
  assert.match(chart, /^AMBER, last \d+ ticks: from [\d.]+ to [\d.]+, lowest [\d.]+, highest [\d.]+$/);
  assert.match(await window.page.locator("#summary").textContent(), /^6 followed · \d up · \d down$/);
  await window.shoot("market-desktop");
  const dark = await open("#AMBER,SALT,SILK", DARK);
  await row(dark, "SILK").locator(".move").waitFor();
  await dark.shoot("market-dark");
});

test("a price from a feed shows in every window at once, with its change in words and colour", SCENARIO, async () => {
  const [first, second] = [await open("#GLASS"), await open("#GLASS")];
  for (const window of [first, second]) {
    await row(window, "GLASS").locator(".move").waitFor();
  }
  const { feed } = await program();
  for (const [fed, shown, move, direction] of [
    [40, "40.00", "▲+3.25+8.84%", "up"], [36.75, "36.75", "◆0.000.00%", "level"],
    [{ price: 30.5 }, "30.50", "▼−6.25−17.01%", "down"],
  ]) {
    assert.equal(await feed("GLASS", fed), "");
    for (const window of [first, second]) {
      await becomes(() => price(window, "GLASS"), shown);
      assert.equal(await row(window, "GLASS").locator(".move").textContent(), move);
      assert.equal(await row(window, "GLASS").getAttribute("data-direction"), direction);
    }
  }
  assert.equal(await feed("GLASS", -1), "negative");
});

test("a symbol that is no longer followed stands still", SCENARIO, async () => {
  const { timeOf } = await program();
  const [first, second] = [await open("#SUGAR,SALT"), await open("#SUGAR,SALT")];
  for (const window of [first, second]) await row(window, "SUGAR").locator(".move").waitFor();
  await first.page.getByRole("button", { name: "Stop following SUGAR" }).click();
  await becomes(() => symbols(first), ["SALT"]);
  const before = await timeOf("SUGAR");
  await becomes(async () => (await timeOf("SUGAR")) > before, true);

  await second.page.getByRole("button", { name: "Stop following SUGAR" }).click();
  await becomes(() => symbols(second), ["SALT"]);
  // Others go on meanwhile: it is not the clock that stands still.
  await becomes(async () => {
    const [last, saltBefore] = [await timeOf("SUGAR"), await timeOf("SALT")];
    await becomes(async () => (await timeOf("SALT")) > saltBefore + 300, true);
    return (await timeOf("SUGAR")) === last;
  }, true);
});

test("symbols are added and removed by keyboard alone, and wrong ones are reported", SCENARIO, async () => {
  const window = await open("#SALT,SILK");
  const field = window.page.getByLabel("Symbol to follow");
  await field.focus();
  await window.page.keyboard.type("market.pepper");
  await window.page.keyboard.press("Enter");
  await becomes(() => symbols(window), ["SALT", "SILK", "PEPPER"]);
  await becomes(() => window.page.locator("#announcer").textContent(), "Following PEPPER");
  assert.equal(await field.inputValue(), "");
  await window.page.keyboard.type("no symbol!");
  await window.page.keyboard.press("Enter");
  await window.waitForText("#picker-problem", "1 to 12 of the characters");
  await field.fill("TULIP");
  await window.page.keyboard.press("Enter");
  await window.waitForText('[data-symbol="TULIP"]', "TULIP is not traded here.");
  await window.page.getByRole("button", { name: "Stop following TULIP" }).focus();
  await window.page.keyboard.press("Enter");
  await becomes(() => symbols(window), ["SALT", "SILK", "PEPPER"]);
  const focused = () => window.page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
  await becomes(focused, "Stop following PEPPER");
  for (const expected of ["Stop following SILK", "Stop following SALT"]) {
    await window.page.keyboard.press("Enter");
    await becomes(focused, expected);
  }
  await window.page.keyboard.press("Enter");
  await window.waitForText("#empty", "Nothing is followed");
  assert.equal(await window.page.evaluate(() => document.activeElement?.id), "picker-symbol");
  await window.page.getByRole("button", { name: "Follow SAFFRON" }).click();
  await becomes(() => symbols(window), ["SAFFRON"]);
});

test("what was followed is followed again after a reload, and an address names symbols", SCENARIO, async () => {
  const window = await open("#SALT");
  await window.page.getByRole("button", { name: "Follow SILK" }).click();
  assert.equal(new URL(window.page.url()).hash, "#SALT,SILK");
  await window.page.goto("about:blank");
  await window.page.goto(`${broker.url}market`);
  await becomes(() => symbols(window), ["SALT", "SILK"]);
  await window.page.evaluate(() => (location.hash = "#GLASS,salt,<b>"));
  await becomes(() => symbols(window).then((all) => all.sort()), ["GLASS", "SALT"]);
  for (const symbol of ["Stop following GLASS", "Stop following SALT"]) {
    await window.page.getByRole("button", { name: symbol }).click();
  }
  await window.page.reload();
  await window.waitForText("#empty", "Nothing is followed");
});

test("a phone shows everything without scrolling sideways", SCENARIO, async () => {
  const phone = await open("#AMBER,SAFFRON,SALT,NOT-TRADED-1", PHONE);
  await row(phone, "SALT").locator(".move").waitFor();
  await phone.waitForText('[data-symbol="NOT-TRADED-1"]', "is not traded here");
  assert.equal(await phone.sidewaysPx(), 0);
  await phone.page.getByRole("link", { name: "Chat" }).click();
  await phone.page.getByRole("link", { name: "Or watch the market" }).click();
  await row(phone, "SALT").locator(".move").waitFor();
  await phone.shoot("market-phone");
});

test("the broker is killed and started again: prices stand still, say so, and go on", SCENARIO, async () => {
  const window = await open("#AMBER,SALT");
  await row(window, "SALT").locator(".move").waitFor();
  await broker.kill();
  await window.waitForText("#banner", "Prices stand still until then.");
  await window.waitForStatus("disconnected");
  assert.ok(await window.page.locator("#rows.is-stale").count());
  await window.shoot("market-lost");
  await broker.launch();
  await window.waitForStatus("connected");
  assert.equal(await window.page.locator("#rows.is-stale").count(), 0);
  await watch(window, "SALT");
  await becomes(async () => (await seen(window, "SALT")).length > 2, true);
  window.complaints = window.complaints.filter((text) => !/^WebSocket connection to .* failed/.test(text));
});

test("a broker without a market says so", SCENARIO, async () => {
  const bare = await Broker.start("", { market: false });
  try {
    const window = await Window.open(browser, `${bare.url}market`, undefined, "#notice:not([hidden])");
    windows.push(window);
    await window.waitForText("#notice", "This broker has no market.");
  } finally {
    await bare.stop();
  }
});
