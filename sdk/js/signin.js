/** Which way to sign in an application has chosen. Signs nobody in. */

import { Cookie } from "./cookie.js";
import { Credentials } from "./credentials.js";

/**
 * @typedef {() => string | Promise<string>} TokenSource
 * @typedef {{user: string, password: string}} Login
 * @typedef {Login | (() => Login | Promise<Login>)} LoginSource
 * @typedef {true | {refresh?: () => unknown}} CookieSource
 *
 * @typedef {object} SignInOptions At most one of them.
 * @property {TokenSource} [token]
 * @property {CookieSource} [cookie]
 * @property {LoginSource} [login]
 *
 * @typedef {import("./socket.js").Socket} Socket
 * @typedef {import("./socket.js").Welcome} Welcome
 *
 * @typedef {object} SignedIn Who the session is now.
 * @property {string | null} user
 * @property {import("./socket.js").Rates | null} [rates] What it may ask for in a second; absent: what `welcome` says.
 *
 * @typedef {object} SignIn What connections need of each way; the classes say more.
 * @property {() => Promise<void> | null} prepare Before a handshake.
 * @property {(socket: Socket, welcome: Welcome) => Promise<SignedIn>} present After the welcome.
 * @property {(socket: Socket) => Promise<void>} refresh
 * @property {(code: number, wasGreeted: boolean) => number} ended
 * @property {(code: number) => boolean} isWorthAnother
 * @property {() => void} proven
 *
 * @typedef {object} Parts What it is made of, beside the option.
 * @property {import("./clock.js").Clock} clock
 * @property {number} timeoutMs
 * @property {(error: unknown) => void} onError
 * @property {(socket: Socket) => void} replace
 *
 * @typedef {(parts: Parts) => SignIn | null} MakeSignIn Begins with nothing known. Null: nothing is signed in by.
 */

/**
 * @param {SignInOptions} options
 * @returns {MakeSignIn}
 * @throws {TypeError} For more than one of them, and for one that is not what it should be. It repeats nothing of it.
 */
export function signInOf({ token, cookie, login }) {
  const isGiven = (/** @type {unknown} */ option) => option !== undefined && option !== null;
  const chosen = Object.entries({ token, cookie, login }).filter(([, option]) => isGiven(option));
  if (chosen.length > 1) {
    const names = chosen.map(([name]) => `options.${name}`).join(" and ");
    throw new TypeError(`${names} exclude each other: give one of token, cookie and login`);
  }
  if (isGiven(token)) return byToken(token);
  if (isGiven(cookie)) return byCookie(cookie);
  return isGiven(login) ? byLogin(login) : () => null;
}

/**
 * @param {TokenSource | undefined} source
 * @returns {MakeSignIn}
 */
function byToken(source) {
  if (typeof source !== "function") throw new TypeError("options.token is a function that returns a token");
  return (parts) => new Credentials({ ...parts, kind: "token", source });
}

/**
 * @param {CookieSource | undefined} cookie
 * @returns {MakeSignIn}
 */
function byCookie(cookie) {
  const source = cookie === true ? undefined : cookie?.refresh;
  const isObject = typeof cookie === "object" && cookie !== null;
  if ((cookie !== true && !isObject) || (source !== undefined && typeof source !== "function")) {
    throw new TypeError("options.cookie is true, or { refresh } with a function that renews the cookie");
  }
  return (parts) => new Cookie({ ...parts, source: source ?? null });
}

/**
 * @param {LoginSource | undefined} login
 * @returns {MakeSignIn}
 */
function byLogin(login) {
  if (typeof login === "function") return (parts) => new Credentials({ ...parts, kind: "login", source: login });
  if (typeof login?.user !== "string" || typeof login.password !== "string") {
    throw new TypeError("options.login is { user, password }, two texts, or a function that returns them");
  }
  return (parts) => new Credentials({ ...parts, kind: "login", source: () => login, isFixed: true });
}
