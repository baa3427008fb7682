/** The list of rooms: which are open, which is shown, which have unread messages. */

import { byId, element } from "./element.js";
import { roomToken } from "./token.js";

const ROOMS_MAX = 20;

export class RoomList {
  #list = byId("room-list");
  #input = byId("add-room-name");
  #hint = byId("add-room-hint");
  #problem = byId("add-room-problem");
  #elsewhere = byId("elsewhere");
  #onOpen;
  /** @type {Map<string, {item: HTMLElement, button: HTMLElement, badge: HTMLElement}>} */
  #rows = new Map();

  /** @param {{onOpen: (token: string) => void}} options */
  constructor({ onOpen }) {
    this.#onOpen = onOpen;
    byId("add-room").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener("input", () => this.#onInput());
    this.#list.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /**
   * @param {import("./room.js").Room[]} rooms
   * @param {import("./room.js").Room | null} active
   */
  refresh(rooms, active) {
    const tokens = new Set(rooms.map((room) => room.token));
    for (const [token, { item }] of this.#rows) {
      if (tokens.has(token)) continue;
      item.remove();
      this.#rows.delete(token);
    }
    for (const room of rooms) this.#refreshRow(room, room === active);
    const unread = rooms.reduce((sum, room) => sum + (room === active ? 0 : room.unread), 0);
    showBadge(this.#elsewhere, unread);
  }

  #refreshRow(room, isActive) {
    const row = this.#rows.get(room.token) ?? this.#addRow(room.token);
    if (isActive) row.button.setAttribute("aria-current", "true");
    else row.button.removeAttribute("aria-current");
    row.button.classList.toggle("needs-you", room.state === "nameless" || room.state === "refused");
    showBadge(row.badge, room.unread);
  }

  #addRow(token) {
    const row = { item: element("li"), button: element("button", "room-link"), badge: element("span", "badge") };
    row.button.type = "button";
    row.button.dataset.room = token;
    row.button.append(element("span", "room-link-name", token), row.badge);
    row.button.addEventListener("click", () => this.#onOpen(token));
    row.item.append(row.button);
    this.#list.append(row.item);
    this.#rows.set(token, row);
    return row;
  }

  #onInput() {
    const token = roomToken(this.#input.value);
    this.#problem.textContent = "";
    this.#hint.textContent = token && token !== this.#input.value ? `Opens #${token}` : "";
  }

  #submit() {
    const token = roomToken(this.#input.value);
    if (token === "") this.#problem.textContent = "Type the name of a room.";
    else if (this.#rows.size >= ROOMS_MAX && !this.#rows.has(token)) {
      this.#problem.textContent = `Up to ${ROOMS_MAX} rooms at once. Leave one first.`;
    } else {
      this.#input.value = "";
      this.#onInput();
      this.#onOpen(token);
    }
  }

  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...this.#rows.values()].map(({ button }) => button);
    const next = buttons[buttons.indexOf(event.target) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

function showBadge(badge, unread) {
  badge.hidden = unread === 0;
  badge.textContent = unread > 99 ? "99+" : String(unread);
  badge.setAttribute("aria-label", `${unread} unread`);
}
