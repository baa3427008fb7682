/** Which topics a pattern selects: `*` is one token, a final `>` one or more. Pure. See "Frames" in the book. */

/**
 * Whether a text is a pattern and not a topic: no topic has one of these characters.
 *
 * @param {string} text
 */
export function isPattern(text) {
  return /[*>]/.test(text);
}

/**
 * @param {string} pattern
 * @param {string} topic
 */
export function matches(pattern, topic) {
  const wanted = pattern.split(".");
  const tokens = topic.split(".");
  if (wanted.at(-1) === ">") {
    if (tokens.length < wanted.length) return false;
    wanted.pop();
  } else if (tokens.length !== wanted.length) {
    return false;
  }
  return wanted.every((token, place) => token === "*" || token === tokens[place]);
}
