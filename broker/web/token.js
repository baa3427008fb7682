/** Converts typed text to a room's token: the part of a topic after `chat.`. Pure. */

const LENGTH_MAX = 60;

/**
 * Lower case, spaces to hyphens, without what a topic cannot hold: dots, wildcards, control characters.
 *
 * @param {string} typed
 * @returns {string} Empty when nothing usable is left.
 */
export function roomToken(typed) {
  const token = typed
    .normalize("NFC")
    .trim()
    .replace(/^#+/, "")
    .toLowerCase()
    .replace(/[\p{Z}\s_]+/gu, "-")
    .replace(/[.*>\p{C}]/gu, "")
    .replace(/-{2,}/g, "-");
  return [...token].slice(0, LENGTH_MAX).join("").replace(/^-+|-+$/g, "");
}
