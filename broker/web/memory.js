/** What this browser stores between visits: the name and the rooms. No messages. */

const KEY = "rialto.chat";

/** @typedef {{token: string, name: string}} RememberedRoom */
/** @typedef {{name: string, rooms: RememberedRoom[], active: string}} Remembered */

/** @returns {Remembered} */
export function recall() {
  const nothing = { name: "", rooms: [], active: "" };
  try {
    const { name, rooms, active } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return {
      name: textOr(name, ""),
      rooms: Array.isArray(rooms) ? rooms.filter((room) => isText(room?.token) && isText(room?.name)) : [],
      active: textOr(active, ""),
    };
  } catch {
    // Private windows may refuse storage, and its content may have been edited.
    return nothing;
  }
}

/** @param {Remembered} remembered */
export function remember(remembered) {
  try {
    localStorage.setItem(KEY, JSON.stringify(remembered));
  } catch {
    // Storage is full or forbidden: the page works without it.
  }
}

function isText(value) {
  return typeof value === "string" && value !== "";
}

function textOr(value, fallback) {
  return isText(value) ? value : fallback;
}
