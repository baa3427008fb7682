/** A real broker with a configuration of its own, started and killed by tests. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const READY_TIMEOUT_MS = 20_000;

/** Ticks often, so that tests are quick; symbols that are not listed are not traded. */
const MARKET = `
[[topic]]
pattern = "market.*"
plugin = "market"
delivery = { policy = "latest_by", field = "/symbol" }
history = { messages = 60 }

[[topic]]
pattern = "feed.*"
plugin = "market"

[plugin.market]
path = ${JSON.stringify(join(ROOT, "plugins/dist/market.wasm"))}

[plugin.market.config]
tick_ms = 100
swing = 30
others_max = 0
`;

export class Broker {
  #binary;
  #folder;
  #port;
  /** @type {import("node:child_process").ChildProcess | null} */
  #process = null;

  constructor(binary, folder, port) {
    this.#binary = binary;
    this.#folder = folder;
    this.#port = port;
  }

  /** The page's address. */
  get url() {
    return `http://127.0.0.1:${this.#port}/`;
  }

  /** Where clients connect. */
  get port() {
    return this.#port;
  }

  /**
   * Starts the binary named by RIALTO_BIN (default `target/release/rialto`) on a free port.
   *
   * @param {string} [rules] More topic rules, TOML.
   * @param {{market?: boolean}} [plugins] Whether it has a market besides the chat.
   */
  static async start(rules = "", { market = true } = {}) {
    const binary = process.env.RIALTO_BIN ?? join(ROOT, "target/release/rialto");
    await access(binary).catch(() => {
      throw new Error(`${binary} does not exist: cargo build --release`);
    });
    const folder = await mkdtemp(join(tmpdir(), "rialto-browser-"));
    const port = await freePort();
    await writeFile(join(folder, "rialto.toml"), configuration(port) + (market ? MARKET : "") + rules);
    const broker = new Broker(binary, folder, port);
    await broker.launch();
    return broker;
  }

  /** Starts it once more, on the same port, after `kill`. */
  async launch() {
    const child = spawn(this.#binary, ["--config", join(this.#folder, "rialto.toml")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    await ready(child, this.url);
  }

  /** Ends it the hard way, as a crash would. */
  async kill() {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  async stop() {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Resolves when the broker printed its address; rejects with all it said when it ends or stays silent. */
function ready(child, url) {
  const address = url.replace(/\/$/, "");
  return new Promise((resolve, reject) => {
    let output = "";
    const fail = (reason) => reject(new Error(`the broker ${reason}:\n${output}`));
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      fail(`did not print ${address} within ${READY_TIMEOUT_MS} ms`);
    }, READY_TIMEOUT_MS);
    const read = (chunk) => {
      output += chunk;
      if (!output.includes(address)) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout.setEncoding("utf8").on("data", read);
    child.stderr.setEncoding("utf8").on("data", (chunk) => (output += chunk));
    child.once("error", (error) => fail(`could not be started: ${error.message}`));
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      fail(`ended with ${code ?? signal}`);
    });
  });
}

function configuration(port) {
  return `[server]
listen = "127.0.0.1:${port}"

[[topic]]
pattern = "chat.*"
plugin = "chat"

[plugin.chat]
path = ${JSON.stringify(join(ROOT, "plugins/dist/chat.wasm"))}
`;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
