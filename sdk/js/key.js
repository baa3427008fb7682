/** By what the broker recognises this client, and a request that is sent again. */

export const CLIENT_NAME = "rialto-client-js/0.1.0";

/** A random text, unique: a UUID, or as many random bits where the page is not secure and has no `randomUUID`. */
export function newKey() {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
