/** Joins the parts of the chat page: one client, the open rooms, and which of them is shown. */

import { RialtoClient } from "/sdk/index.js";
import { Composer } from "./composer.js";
import { Drawer } from "./drawer.js";
import { byId } from "./element.js";
import { paintAvatar } from "./entry.js";
import { Log } from "./log.js";
import { Members } from "./members.js";
import { recall, remember } from "./memory.js";
import { NameForm } from "./nameform.js";
import { Room } from "./room.js";
import { RoomList } from "./roomlist.js";
import { StatusView } from "./status.js";
import { roomToken } from "./token.js";
import { Welcome } from "./welcome.js";
import { explain } from "./wording.js";

const FIRST_ROOM = "lobby";

class App {
  // A message that cannot be sent now returns to the composer: the user decides whether to send it again, and the room
  // must have accepted the name before.
  #client = new RialtoClient("/ws", { offline: "fail", retriesMax: 0 });
  #remembered = recall();
  #name = this.#remembered.name;
  /** @type {Map<string, {room: Room, log: Log}>} */
  #rooms = new Map();
  /** @type {{room: Room, log: Log} | null} */
  #active = null;

  #shell = byId("shell");
  #roomsDrawer = new Drawer("rooms", "open-rooms", "(max-width: 759px)");
  #membersDrawer = new Drawer("members", "open-members", "(max-width: 1079px)");
  #members = new Members();
  #welcome = new Welcome({ onEnter: (name, token) => this.#enter(name, token) });
  #roomList = new RoomList({ onOpen: (token) => this.#open(token) });
  #composer = new Composer({ onSent: () => this.#active?.log.toEnd() });
  #nameForm = new NameForm({
    onNamed: (name) => {
      this.#name = name;
      this.#save();
    },
    onClosed: () => this.#composer.focus(),
  });

  start() {
    new StatusView(this.#client, { lostNote: "What you type is kept.", alsoIn: byId("welcome-status") });
    this.#client.on("status", ({ status }) => {
      if (status === "connected" || status === "connecting") return;
      for (const { room } of this.#rooms.values()) room.disconnected();
    });
    this.#client.on("error", (error) => console.error(error));
    this.#client.connect().catch(() => {});
    byId("rename").addEventListener("click", () => {
      this.#roomsDrawer.close();
      this.#nameForm.askForNew();
    });
    byId("leave-room").addEventListener("click", () => this.#leave());
    byId("notice-retry").addEventListener("click", () => this.#active?.room.retry());
    addEventListener("hashchange", () => this.#followHash());
    document.addEventListener("visibilitychange", () => this.#markRead());
    this.#restore();
  }

  #restore() {
    const linked = linkedRoom();
    if (this.#name === "") return this.#welcome.show("", linked || FIRST_ROOM);
    for (const { token, name } of this.#remembered.rooms) if (roomToken(token) === token) this.#add(token, name, true);
    const token = linked || this.#remembered.active || FIRST_ROOM;
    if (!linked && this.#rooms.size === 0) return this.#welcome.show(this.#name, FIRST_ROOM);
    this.#open(token);
  }

  #enter(name, token) {
    this.#name = name;
    this.#open(token);
  }

  #followHash() {
    const token = linkedRoom();
    if (token === "" || token === this.#active?.room.token) return;
    if (this.#welcome.isShown) this.#welcome.show(this.#name, token);
    else this.#open(token);
  }

  #add(token, name, isReturn) {
    const entry = { room: new Room(this.#client, token, name, isReturn), log: new Log(`Messages in ${token}`) };
    this.#rooms.set(token, entry);
    byId("logs").append(entry.log.element);
    entry.room.addEventListener("change", () => this.#refresh(entry));
    entry.room.addEventListener("draft", () => {
      if (entry === this.#active) this.#composer.takeDraft();
    });
    entry.room.addEventListener("entry", (event) => this.#onEntry(entry, /** @type {any} */ (event).detail));
    entry.room.enter();
    return entry;
  }

  #open(token) {
    const entry = this.#rooms.get(token) ?? this.#add(token, this.#name, false);
    if (this.#welcome.isShown) this.#welcome.hide();
    this.#shell.hidden = false;
    this.#roomsDrawer.close();
    this.#membersDrawer.close();
    if (this.#active !== entry) this.#active?.log.hide();
    this.#active = entry;
    entry.log.show();
    this.#composer.open(entry.room);
    this.#nameForm.open(entry.room);
    byId("room-title").textContent = token;
    if (linkedRoom() !== token) history.pushState(null, "", `#${encodeURIComponent(token)}`);
    this.#markRead();
    this.#refresh(entry);
    this.#save();
    // On a phone the keyboard would cover the room that was just opened.
    if (matchMedia("(pointer: fine)").matches) this.#composer.focus();
  }

  #leave() {
    const left = this.#active;
    if (!left) return;
    left.room.leave();
    left.log.element.remove();
    this.#rooms.delete(left.room.token);
    this.#active = null;
    const next = [...this.#rooms.keys()].at(-1);
    if (next !== undefined) return this.#open(next);
    this.#save();
    this.#shell.hidden = true;
    history.pushState(null, "", location.pathname);
    document.title = "Rialto";
    this.#welcome.show(this.#name, left.room.token);
  }

  #onEntry(entry, line) {
    const { room, log } = entry;
    const isOwn = [line.author, line.name, line.from, line.to].includes(room.name);
    const isSeen = entry === this.#active && !document.hidden;
    const isUnread = line.kind === "message" && !isSeen && !isOwn;
    log.add(line, isOwn, isUnread && room.unread === 0);
    if (!isUnread) return;
    room.unread += 1;
    this.#refreshRooms();
  }

  #markRead() {
    if (!this.#active || document.hidden) return;
    this.#active.room.unread = 0;
    this.#refreshRooms();
  }

  #refresh(entry) {
    const { room, log } = entry;
    this.#refreshRooms();
    log.refresh(room.state === "present");
    if (entry !== this.#active) return;
    this.#members.refresh(room);
    this.#composer.refresh();
    this.#nameForm.refresh();
    byId("you-name").textContent = room.name;
    paintAvatar(byId("you-avatar"), room.name);
    byId("rename").disabled = room.state !== "present";
    byId("notice").hidden = room.state !== "refused";
    byId("notice-text").textContent = room.state === "refused" ? explain(room.problem, { room: room.token }) : "";
  }

  #refreshRooms() {
    const rooms = [...this.#rooms.values()].map(({ room }) => room);
    this.#roomList.refresh(rooms, this.#active?.room ?? null);
    const unread = rooms.reduce((sum, room) => sum + room.unread, 0);
    const title = this.#active ? `${this.#active.room.token} · Rialto` : "Rialto";
    document.title = unread > 0 ? `(${unread}) ${title}` : title;
  }

  #save() {
    const rooms = [...this.#rooms.values()].map(({ room }) => ({ token: room.token, name: room.name }));
    remember({ name: this.#name, rooms, active: this.#active?.room.token ?? "" });
  }
}

/** The room named after `#` in the address, or nothing. */
function linkedRoom() {
  try {
    return roomToken(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return "";
  }
}

new App().start();
