/** Which frames belong to subscriptions, and whether one has what its type needs. Pure. */

/** @typedef {import("./socket.js").Frame} Frame */

/** Why messages will not come, as the broker says it. */
const GAP_REASONS = new Set(["slow", "conflated", "expired", "reset", "removed"]);

/** @type {{[type: string]: (frame: Frame) => boolean}} */
const IS_COMPLETE = {
  message: ({ offset }) => Number.isInteger(offset),
  gap: ({ from, to }) => Number.isInteger(from) && Number.isInteger(to),
  removed: ({ offset }) => Number.isInteger(offset),
  join: ({ member }) => typeof member?.session === "string",
  leave: ({ member }) => typeof member?.session === "string",
  presence: ({ count }) => Number.isInteger(count),
  unsubscribed: ({ code }) => typeof code === "string",
};

/**
 * Whether a frame is of a type that subscriptions get. Others are those of a later broker.
 *
 * @param {Frame} frame
 */
export function isPush({ type }) {
  return Object.hasOwn(IS_COMPLETE, type);
}

/**
 * Whether a push has what the protocol says.
 *
 * @param {Frame} frame
 */
export function isComplete(frame) {
  return typeof frame.topic === "string" && IS_COMPLETE[frame.type](frame);
}

/**
 * The reason of a gap; `unknown` where this version does not know it.
 *
 * @param {unknown} reason
 * @returns {"slow" | "conflated" | "expired" | "reset" | "removed" | "unknown"}
 */
export function gapReason(reason) {
  return GAP_REASONS.has(/** @type {string} */ (reason)) ? /** @type {any} */ (reason) : "unknown";
}
