/** The errors an application sees; all are a `RialtoError`. No behaviour beyond that. */

/**
 * A request that failed. `code` is one of the broker's codes (`rejected`, `rate_limited`, `busy`, …) or, in the
 * classes below, one that only this client uses.
 */
export class RialtoError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{retryAfterMs?: number | null, detail?: unknown}} [more]
   */
  constructor(code, message, { retryAfterMs = null, detail = null } = {}) {
    super(message);
    this.name = new.target.name;
    /** @type {string} Machine readable; stable. */
    this.code = code;
    /** @type {number | null} When set, a retry makes sense after this many milliseconds. */
    this.retryAfterMs = retryAfterMs;
    /** @type {any} For `rejected`: whatever the plugin said. */
    this.detail = detail;
  }

  /** @param {{code?: unknown, message?: unknown, retry_after_ms?: unknown, detail?: unknown}} frame */
  static fromFrame(frame) {
    const code = typeof frame.code === "string" ? frame.code : "internal";
    const message = typeof frame.message === "string" ? frame.message : code;
    const retryAfterMs = Number.isFinite(frame.retry_after_ms) ? Number(frame.retry_after_ms) : null;
    return new RialtoError(code, message, { retryAfterMs, detail: frame.detail ?? null });
  }
}

/** The connection was lost after the request was sent: the broker may or may not have acted on it. */
export class ConnectionLostError extends RialtoError {
  /** @param {string} requestType */
  constructor(requestType) {
    super("connection_lost", `${requestType}: connection lost before the reply`);
  }
}

/** There was no connection, so nothing was sent. */
export class NotConnectedError extends RialtoError {
  /** @param {string} requestType */
  constructor(requestType) {
    super("not_connected", `${requestType}: not connected`);
  }
}

/** The broker did not reply in time: it may or may not have acted on the request. */
export class TimeoutError extends RialtoError {
  /**
   * @param {string} requestType
   * @param {number} timeoutMs
   */
  constructor(requestType, timeoutMs) {
    super("timeout", `${requestType}: no reply within ${timeoutMs} ms`);
  }
}
