/** The broker's and the plugin's errors as texts for users. Pure. */

const REJECTIONS = {
  name_taken: ({ name, room }) => `“${name}” is already taken in #${room}. Choose another name.`,
  invalid_name: ({ error }) => `This name cannot be used: ${error.message}.`,
  not_present: () => "The room has lost track of you. Enter it again.",
  room_full: ({ room }) => `#${room} is full. Try again later, or open another room.`,
  chat_full: () => "The whole chat is full. Try again later.",
  over_share: ({ detail }) =>
    `The chat is nearly full. Rooms that you may be in now: ${detail.limit}. Leave another one first.`,
  no_name: () => "The room does not know your name any more. Entering again; your text is kept.",
  empty: () => "There is nothing to send yet.",
  too_long: ({ detail }) =>
    `This message is too long: ${detail.length} characters, at most ${detail.limit} are allowed.`,
  invalid_text: () => "This message contains characters that cannot be sent.",
};

const CODES = {
  rate_limited: ({ wait }) => `That was too fast. ${wait} Nothing is lost.`,
  busy: ({ wait }) => `The room is very busy. ${wait}`,
  too_large: () => "This is too large to send.",
  too_many: ({ wait }) => `A limit of the broker is reached. ${wait}`,
  forbidden: ({ room }) => `You are not allowed in #${room}.`,
  unauthorized: () => "The broker asks for a sign-in that this page does not offer.",
  not_found: ({ room }) => `The broker has no chat room at #${room}.`,
  plugin_failed: ({ wait }) => `The room stumbled over this. ${wait}`,
  unavailable: ({ wait }) => `The broker cannot do this right now. ${wait}`,
  bad_request: ({ error }) => `The broker did not understand: ${error.message}.`,
  not_connected: () => "Not connected right now. Your text is kept; send it again in a moment.",
  connection_lost: () => "The connection was lost while sending, so this may or may not have arrived. Your text is kept.",
  timeout: () => "The broker did not answer in time, so this may or may not have arrived.",
};

/**
 * @param {any} error The rejection of a request of the client.
 * @param {{name?: string, room?: string}} about
 */
export function explain(error, about = {}) {
  const detail = error.detail ?? {};
  const words = error.code === "rejected" ? REJECTIONS[detail.kind] : CODES[error.code];
  const wait = error.retryAfterMs
    ? `Try again in ${secondsText(error.retryAfterMs)}.`
    : "Try again in a moment.";
  return words?.({ ...about, detail, error, wait }) ?? `That did not work: ${error.message}.`;
}

/** @param {number} durationMs */
export function secondsText(durationMs) {
  const seconds = Math.max(1, Math.ceil(durationMs / 1000));
  return seconds === 1 ? "1 second" : `${seconds} seconds`;
}
