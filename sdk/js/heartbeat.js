/**
 * Notices that a connection is dead although no one closed it. The broker's own pings are answered by the browser and
 * invisible here, so silence is first questioned with an application ping. No sockets.
 */

export class Heartbeat {
  #clock;
  #graceMs;
  #probe;
  #onDead;
  #silenceMs = 0;
  #receivedAt = 0;
  #framesReceived = 0;
  #silenceTimer = null;
  #answerTimer = null;

  /**
   * @param {object} options
   * @param {import("./clock.js").Clock} options.clock
   * @param {() => void} options.probe Sends a ping and calls `probed`.
   * @param {() => void} options.onDead
   * @param {number} [options.graceMs] Added to the broker's ping interval, and the longest wait for an answer.
   */
  constructor({ clock, probe, onDead, graceMs = 10_000 }) {
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#probe = probe;
    this.#onDead = onDead;
  }

  /** @param {number} pingMs The broker's ping interval, from `welcome`. */
  start(pingMs) {
    this.stop();
    this.#silenceMs = pingMs + this.#graceMs;
    this.received();
    this.#listen();
  }

  stop() {
    this.#clock.clearTimeout(this.#silenceTimer);
    this.#clock.clearTimeout(this.#answerTimer);
    this.#silenceTimer = null;
    this.#answerTimer = null;
  }

  /** Anything arrived. Cheap: no timer is touched per frame. */
  received() {
    this.#receivedAt = this.#clock.now();
    this.#framesReceived += 1;
  }

  /** A ping was sent, by the heartbeat or by the application: something must arrive within the grace time. */
  probed() {
    if (this.#answerTimer !== null) return;
    // Counted, not timed: browsers round their clocks, and an answer may come within one tick.
    const framesReceived = this.#framesReceived;
    this.#answerTimer = this.#clock.setTimeout(() => {
      this.#answerTimer = null;
      if (this.#framesReceived > framesReceived) return;
      this.stop();
      this.#onDead();
    }, this.#graceMs);
  }

  #listen() {
    const silentMs = this.#clock.now() - this.#receivedAt;
    const remainingMs = this.#silenceMs - silentMs;
    if (remainingMs > 0) {
      this.#silenceTimer = this.#clock.setTimeout(() => this.#listen(), remainingMs);
      return;
    }
    this.#probe();
    this.#silenceTimer = this.#clock.setTimeout(() => this.#listen(), this.#silenceMs);
  }
}
