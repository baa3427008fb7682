/** Shows the state of the connection: the chip with the latency, the banner with the next attempt. */

import { byId } from "./element.js";
import { secondsText } from "./wording.js";

const PING_EVERY_MS = 4_000;
const COUNTDOWN_EVERY_MS = 250;

export class StatusView {
  #client;
  #chip = byId("chip");
  #chipText = byId("chip-text");
  #banner = byId("banner");
  #bannerText = byId("banner-text");
  #retry = byId("banner-retry");
  #announcer = byId("announcer");
  #lostNote;
  #alsoIn;
  #latencyMs = null;
  #wasConnected = false;
  #countdown = 0;

  /**
   * @param {import("/sdk/index.js").RialtoClient} client
   * @param {object} options
   * @param {string} options.lostNote What a lost connection means for what is on the page.
   * @param {HTMLElement | null} [options.alsoIn] Where the banner's words are shown besides.
   */
  constructor(client, { lostNote, alsoIn = null }) {
    this.#client = client;
    this.#lostNote = lostNote;
    this.#alsoIn = alsoIn;
    client.on("status", (status) => this.#onStatus(status));
    this.#retry.addEventListener("click", () => void client.connect().catch(() => {}));
    setInterval(() => void this.#measure(), PING_EVERY_MS);
    document.addEventListener("visibilitychange", () => void this.#measure());
  }

  #onStatus(status) {
    clearInterval(this.#countdown);
    if (status.status === "connected") void this.#measure();
    else this.#latencyMs = null;
    if (status.status === "disconnected") {
      this.#countdown = setInterval(() => this.#show(status), COUNTDOWN_EVERY_MS);
    }
    this.#announce(status);
    this.#show(status);
    if (status.status === "connected") this.#wasConnected = true;
  }

  async #measure() {
    if (this.#client.status.status !== "connected" || document.hidden) return;
    try {
      this.#latencyMs = await this.#client.ping();
      this.#show(this.#client.status);
    } catch {
      // The client itself acts on a ping without an answer.
    }
  }

  #show(status) {
    const remainingMs = Math.max(0, (status.retryAt ?? 0) - Date.now());
    this.#chip.dataset.status = status.status;
    this.#chip.dataset.latency = this.#latencyMs === null ? "" : grade(this.#latencyMs);
    this.#chipText.textContent = this.#chipWords(status);
    const words = this.#bannerWords(status, remainingMs);
    this.#banner.hidden = words === "";
    this.#bannerText.textContent = words;
    this.#banner.classList.toggle("banner-problem", status.status === "closed");
    this.#retry.hidden = status.status === "connecting";
    this.#retry.textContent = status.status === "closed" ? "Connect again" : "Try now";
    if (this.#alsoIn) this.#alsoIn.textContent = words;
  }

  #chipWords({ status }) {
    if (status === "connected") return this.#latencyMs === null ? "Connected" : latencyText(this.#latencyMs);
    return { connecting: "Connecting", disconnected: "Offline", closed: "Closed" }[status];
  }

  #bannerWords({ status, reason, attempt }, remainingMs) {
    if (status === "disconnected") {
      const lead = this.#wasConnected ? "Connection lost" : "The broker cannot be reached";
      return `${lead}. Trying again in ${secondsText(remainingMs)}. ${this.#lostNote}`;
    }
    if (status === "connecting" && (attempt > 0 || this.#wasConnected)) return "Connecting again…";
    if (status === "closed") return `The broker ended this session: ${reason}.`;
    return "";
  }

  /** Once per change, without the seconds: a countdown read aloud is no help. */
  #announce({ status, reason }) {
    const isNews = status === "connected" ? this.#announcer.textContent !== "" : status !== "connecting";
    if (!isNews) return;
    this.#announcer.textContent = {
      connected: "Connected again",
      disconnected: "Connection lost. Trying again.",
      closed: `The session ended: ${reason}`,
    }[status];
  }
}

function latencyText(latencyMs) {
  return latencyMs < 1 ? "< 1 ms" : `${Math.round(latencyMs)} ms`;
}

function grade(latencyMs) {
  if (latencyMs < 200) return "good";
  return latencyMs < 600 ? "fair" : "poor";
}
