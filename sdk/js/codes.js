/** WebSocket close codes: which ones mean "come back" (broker/book/src/protocol/codes.md). Pure. */

/** No close frame arrived: the network failed, or this client gave up on a dead connection. */
export const CLOSED_ABNORMALLY = 1006;
/** The broker does not take what the session signed in with. */
export const UNAUTHORIZED = 4001;
/** What it signed in with has expired. */
export const EXPIRED = 4002;

const RECONNECT = new Set([
  // Said by the broker.
  1001, 1011, 1013, 4000, 4004, 4005, 4006, 4008,
  // Never said by the broker, so no verdict of its own: seen by the browser (no code, no close frame, TLS failure) or
  // said by a proxy in between (service restart, bad gateway).
  1005, CLOSED_ABNORMALLY, 1012, 1014, 1015,
]);

const MEANINGS = new Map([
  [1000, "closed"],
  [1001, "the broker is going away"],
  [1002, "protocol error"],
  [1003, "wrong kind of frame"],
  [1005, "closed without a reason"],
  [CLOSED_ABNORMALLY, "connection lost"],
  [1007, "invalid data"],
  [1008, "not allowed"],
  [1009, "frame too large"],
  [1011, "the broker failed"],
  [1012, "the service restarts"],
  [1013, "the broker is busy"],
  [1014, "bad gateway"],
  [1015, "TLS failure"],
  [4000, "this session was too slow"],
  [UNAUTHORIZED, "not authorised"],
  [EXPIRED, "the token expired"],
  [4003, "kicked"],
  [4004, "the connection went silent"],
  [4005, "too many sessions"],
  [4006, "too many requests"],
  [4008, "the broker is going away"],
]);

/** @param {number} code */
export function meansReconnect(code) {
  return RECONNECT.has(code);
}

/** @param {number} code */
export function meaningOf(code) {
  return MEANINGS.get(code) ?? `closed with code ${code}`;
}
