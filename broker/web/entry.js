/** Makes the elements of one line of the log. User text goes in as text, never as markup. */

import { element } from "./element.js";

const HUES = 8;
const NAMES_SHOWN = 3;
const timeOfDay = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const wholeTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const dayOnly = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

/**
 * @param {{author: string, text: string, time: number}} message
 * @param {{isOwn: boolean, isContinued: boolean}} place `isContinued`: the previous message has the same author.
 */
export function messageElement({ author, text, time }, { isOwn, isContinued }) {
  const item = element("li", `message ${isOwn ? "is-own" : hueOf(author)}`);
  item.classList.toggle("is-continued", isContinued);
  item.dataset.author = author;
  const byline = element("p", "byline");
  byline.append(element("b", "author", isOwn ? "You" : author), " ", timeElement(time));
  const body = element("p", "text", text);
  body.dir = "auto";
  body.title = wholeTime.format(time);
  if (!isOwn) item.append(avatarElement(author));
  item.append(byline, body);
  return item;
}

/** @param {string} name */
export function avatarElement(name) {
  const avatar = element("span", `avatar ${hueOf(name)}`);
  paintAvatar(avatar, name);
  return avatar;
}

/** @param {HTMLElement} avatar @param {string} name */
export function paintAvatar(avatar, name) {
  avatar.className = `avatar ${hueOf(name)}`;
  avatar.textContent = [...name][0]?.toUpperCase() ?? "";
  avatar.setAttribute("aria-hidden", "true");
}

/**
 * @param {"joined" | "left"} kind
 * @param {string[]} names The first ones, "You" for oneself.
 * @param {number} count All of them.
 */
export function announcementText(kind, names, count) {
  const shown = names.slice(0, NAMES_SHOWN);
  const others = count - shown.length;
  if (others > 0) shown.push(others === 1 ? "1 other" : `${others} others`);
  const last = shown.pop();
  const people = shown.length === 0 ? last : `${shown.join(", ")} and ${last}`;
  return `${people} ${kind === "joined" ? "came in" : "left"}`;
}

/** @param {string} text */
export function noteElement(text, className = "note") {
  return element("li", className, text);
}

/** @param {number} time */
export function dayElement(time) {
  return element("li", "divider", dayOnly.format(time));
}

/** @param {number} a @param {number} b */
export function isSameDay(a, b) {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

function timeElement(time) {
  const node = element("time", "time", timeOfDay.format(time));
  node.dateTime = new Date(time).toISOString();
  return node;
}

function hueOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return `hue-${sum % HUES}`;
}
