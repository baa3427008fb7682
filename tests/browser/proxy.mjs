/** A network that can fail: a TCP relay on loopback that cuts its connections, and lets none through while down. */

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Proxy {
  #server;
  #target;
  #isDown = false;
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();

  constructor(target) {
    this.#target = target;
    this.#server = createServer((near) => this.#relay(near));
  }

  /** @param {number} target The port to relay to. */
  static async start(target) {
    const proxy = new Proxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port() {
    return this.#server.address().port;
  }

  /** Ends all connections as a failing network does: what is under way is lost. */
  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Cuts, and refuses connections until `up`. */
  down() {
    this.#isDown = true;
    this.cut();
  }

  up() {
    this.#isDown = false;
  }

  async stop() {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #relay(near) {
    if (this.#isDown) return near.resetAndDestroy();
    const far = connect(this.#target, "127.0.0.1");
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.setNoDelay();
      socket.on("data", (chunk) => {
        if (!other.write(chunk)) socket.pause();
      });
      socket.on("drain", () => other.resume());
      socket.on("end", () => other.end());
      // Whatever ended it, `close` follows.
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}
