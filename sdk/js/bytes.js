/** Opaque bytes in JSON frames: base64 with padding (RFC 4648 section 4). Pure; the same in browsers and Node. */

/** `String.fromCharCode` takes its bytes as arguments, of which there must not be too many. */
const CHUNK = 8192;

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let text = "";
  for (let start = 0; start < bytes.length; start += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(start, start + CHUNK));
  }
  return btoa(text);
}

/** @param {string} text */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/**
 * The payload's fields in a request: bytes as `bytes`, anything else as `data`.
 *
 * @param {unknown} payload
 * @returns {{data: unknown} | {bytes: string}}
 */
export function payloadFields(payload) {
  return payload instanceof Uint8Array ? { bytes: toBase64(payload) } : { data: payload ?? null };
}
