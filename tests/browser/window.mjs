/** Chromium windows on the broker's pages, and what a person does in them. */

import assert from "node:assert/strict";
import { access, mkdir } from "node:fs/promises";
import { join } from "node:path";

const CHROMIUM = "/usr/bin/chromium";
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const WAIT_MS = 10_000;

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

export async function launchChromium() {
  await access(CHROMIUM).catch(() => {
    throw new Error(`${CHROMIUM} is missing: apt-get install --yes chromium`);
  });
  const { chromium } = await import("playwright-core").catch(() => {
    throw new Error("playwright-core is missing: npm ci --prefix tests/browser");
  });
  return chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
}

/** One window: a browser context of its own, so nothing is shared with the others. */
export class Window {
  /** Everything the browser complained about. @type {string[]} */
  complaints = [];

  constructor(page) {
    this.page = page;
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("response", (response) => {
      if (response.status() >= 400) this.complaints.push(`${response.status()} ${response.url()}`);
    });
  }

  /** @param {string} url @param {object} [device] @param {string} [ready] What is there when the page has begun. */
  static async open(browser, url, device = DESKTOP, ready = "#welcome:not([hidden]), #shell:not([hidden])") {
    const context = await browser.newContext(device);
    context.setDefaultTimeout(WAIT_MS);
    const page = await context.newPage();
    const window = new Window(page);
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        console.error(`CSP: ${event.violatedDirective} blocked ${event.blockedURI}`);
      });
    });
    await page.goto(url);
    await page.locator(ready).first().waitFor();
    return window;
  }

  async close() {
    await this.page.context().close();
  }

  /** Fills in the first screen; `room` as a person would type it. */
  async enter(name, room) {
    await this.page.getByLabel("Your name", { exact: true }).fill(name);
    await this.page.getByLabel("Room", { exact: true }).fill(room);
    await this.page.getByRole("button", { name: "Enter" }).click();
  }

  async say(text) {
    await this.composer.fill(text);
    await this.composer.press("Enter");
  }

  get composer() {
    return this.page.locator("#composer-text");
  }

  /** The messages of the room that is shown, as `author: text`. */
  messages() {
    return this.page.locator(".log:not([hidden]) .message").evaluateAll((items) =>
      items.map((item) => `${item.dataset.author}: ${item.querySelector(".text").textContent}`));
  }

  members() {
    return this.page.locator("#member-list .member").evaluateAll((items) => items.map((item) => item.dataset.name));
  }

  async waitForMessages(expected) {
    await becomes(() => this.messages(), expected);
  }

  async waitForMembers(expected) {
    await becomes(() => this.members(), expected);
  }

  /** @param {string} text Shown somewhere inside `selector`. */
  async waitForText(selector, text, timeout = WAIT_MS) {
    await this.page.locator(selector).filter({ hasText: text, visible: true }).first().waitFor({ timeout });
  }

  async waitForStatus(status, timeout = 40_000) {
    await this.page.locator(`#chip[data-status="${status}"]`).waitFor({ timeout });
  }

  /** How far the page could be scrolled sideways. */
  sidewaysPx() {
    return this.page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return scrollWidth - clientWidth;
    });
  }

  /** Kept for people to look at when RIALTO_SHOTS names a folder. */
  async shoot(name) {
    const folder = process.env.RIALTO_SHOTS;
    if (!folder) return;
    await mkdir(folder, { recursive: true });
    await this.page.screenshot({ path: join(folder, `${name}.png`) });
  }
}

/** Waits until `read` yields `expected`; fails with the difference to what it yields in the end. */
export async function becomes(read, expected, timeoutMs = WAIT_MS) {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const actual = await read();
    try {
      assert.deepEqual(actual, expected);
      return;
    } catch (difference) {
      if (Date.now() > until) throw difference;
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
