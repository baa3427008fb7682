/** The members of the room that is shown. */

import { byId, element } from "./element.js";
import { avatarElement } from "./entry.js";

const SHOWN_MAX = 200;

export class Members {
  #list = byId("member-list");
  #count = byId("room-count");

  /** @param {import("./room.js").Room} room */
  refresh(room) {
    const names = room.roster.names;
    this.#list.replaceChildren(...names.slice(0, SHOWN_MAX).map((name) => memberElement(name, name === room.name)));
    if (names.length > SHOWN_MAX) this.#list.append(element("li", "hint", `and ${names.length - SHOWN_MAX} more`));
    this.#list.classList.toggle("is-stale", room.state !== "present");
    this.#count.textContent = countText(room, names.length);
  }
}

function memberElement(name, isSelf) {
  const item = element("li", "member");
  item.dataset.name = name;
  item.append(avatarElement(name), element("span", "member-name", name));
  if (isSelf) item.append(element("span", "member-self", "you"));
  return item;
}

function countText(room, count) {
  switch (room.state) {
    case "away":
      return "Waiting for the connection";
    case "entering":
      return "Entering…";
    case "nameless":
      return "Waiting for your name";
    case "refused":
      return "No entry";
  }
  return count === 1 ? "Only you" : `${count} here`;
}
