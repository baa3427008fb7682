/** The errors an application sees; all are a `RialtoError`. No behaviour beyond that. */

/**
 * A request that failed. `code` is one of the broker's codes (`rejected`, `rate_limited`, `busy`, …) or, in the
 * classes below, one that only this client uses.
 */
export class RialtoError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{retryAfterMs?: number | null, detail?: unknown, cause?: unknown}} [more]
   */
  constructor(code, message, { retryAfterMs = null, detail = null, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    /** @type {string} Machine readable; stable. */
    this.code = code;
    /** @type {number | null} When set, a retry makes sense after this many milliseconds. */
    this.retryAfterMs = retryAfterMs;
    /** @type {any} For `rejected`: whatever the plugin said. */
    this.detail = detail;
  }

  /** @param {{[field: string]: any}} frame */
  static fromFrame(frame) {
    const code = typeof frame.code === "string" ? frame.code : "internal";
    const message = typeof frame.message === "string" ? frame.message : code;
    const retryAfterMs = Number.isFinite(frame.retry_after_ms) ? Number(frame.retry_after_ms) : null;
    return new RialtoError(code, message, { retryAfterMs, detail: frame.detail ?? null });
  }
}

/** The connection was lost after the request was sent, and it was not to be sent again. */
export class ConnectionLostError extends RialtoError {
  /** @param {string} requestType */
  constructor(requestType) {
    super("connection_lost", `${requestType}: connection lost before the reply`);
    /** The broker may or may not have acted on it. */
    this.mayHaveActed = true;
  }
}

/** There was no connection, so nothing was sent. */
export class NotConnectedError extends RialtoError {
  /** @param {string} requestType */
  constructor(requestType) {
    super("not_connected", `${requestType}: not connected`);
    this.mayHaveActed = false;
  }
}

/** The broker did not reply in time, over however many connections. */
export class TimeoutError extends RialtoError {
  /**
   * @param {string} requestType
   * @param {number} timeoutMs
   * @param {boolean} [mayHaveActed]
   */
  constructor(requestType, timeoutMs, mayHaveActed = true) {
    super("timeout", `${requestType}: ${mayHaveActed ? "no reply" : "not sent"} within ${timeoutMs} ms`);
    /** False when it was never sent: then the broker has certainly not acted on it. */
    this.mayHaveActed = mayHaveActed;
  }
}
