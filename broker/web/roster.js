/** The members of a room: a snapshot from the plugin, updated by its announcements. Pure. */

/** @typedef {{kind: "joined" | "left", name: string} | {kind: "renamed", from: string, to: string}} Announcement */

export class Roster {
  #names = new Set();
  /** Announcements since a snapshot was asked for; null when none is on its way. @type {Announcement[] | null} */
  #sinceAsked = null;

  /** Sorted for the user's locale. */
  get names() {
    return [...this.#names].sort((a, b) => a.localeCompare(b, undefined, { sensitivity: "base" }));
  }

  get size() {
    return this.#names.size;
  }

  /** A snapshot was asked for. Announcements may overtake it, in either direction. */
  asked() {
    this.#sinceAsked = [];
  }

  /** The snapshot arrived: what was announced meanwhile is applied once more, which does no harm if it was included. */
  settle(/** @type {string[]} */ names) {
    this.#names = new Set(names);
    for (const announcement of this.#sinceAsked ?? []) this.#apply(announcement);
    this.#sinceAsked = null;
  }

  /** The snapshot was refused. */
  gaveUp() {
    this.#sinceAsked = null;
  }

  /** @param {Announcement} announcement */
  announce(announcement) {
    this.#sinceAsked?.push(announcement);
    this.#apply(announcement);
  }

  #apply(announcement) {
    switch (announcement.kind) {
      case "joined":
        this.#names.add(announcement.name);
        break;
      case "left":
        this.#names.delete(announcement.name);
        break;
      case "renamed":
        this.#names.delete(announcement.from);
        this.#names.add(announcement.to);
        break;
    }
  }
}
