/** The examples, run as a reader would run them, against a real broker. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Broker } from "../../../tests/browser/broker.mjs";

const SCENARIO = { timeout: 60_000 };
const RULES = `
[[topic]]
pattern = "news"
history = { messages = 100 }
`;

let broker;
let folder;
let running = [];

before(async () => {
  broker = await Broker.start(RULES);
  folder = await mkdtemp(join(tmpdir(), "rialto-examples-"));
}, SCENARIO);

after(async () => {
  for (const child of running) child.kill("SIGKILL");
  await broker?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Runs an example; `lines` yields what it writes, `says` waits for words on its error output. */
function run(name, ...args) {
  const path = fileURLToPath(new URL(`../examples/${name}.js`, import.meta.url));
  const address = `ws://127.0.0.1:${broker.port}/ws`;
  const child = spawn(process.execPath, [path, ...args, address], { cwd: folder, stdio: "pipe" });
  running.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk) => {
    said += chunk;
    child.emit("said");
  });
  const says = async (words) => {
    while (!said.includes(words)) await once(child, "said");
  };
  const stop = async () => {
    const ended = once(child, "exit");
    child.kill("SIGINT");
    assert.deepEqual(await ended, [0, null], said);
  };
  return { child, lines, says, stop, write: (text) => child.stdin.write(text), end: () => child.stdin.end() };
}

async function take(lines, count) {
  const taken = [];
  while (taken.length < count) {
    const { value, done } = await lines.next();
    assert.equal(done, false, "it ended too early");
    taken.push(JSON.parse(value));
  }
  return taken;
}

test("a follower misses nothing of what a publisher wrote while it was not running", SCENARIO, async () => {
  const publisher = run("publisher", "news");
  publisher.write("one\n");
  const [{ position }] = await take(publisher.lines, 1);
  assert.equal(position.offset, 1);
  const first = run("follower", "news");
  assert.deepEqual((await take(first.lines, 1)).map(({ data }) => data), ["one"]);
  publisher.write("two\n");
  assert.deepEqual((await take(first.lines, 1)).map(({ data }) => data), ["two"]);
  await first.stop();
  publisher.write("three\nfour\n");
  await take(publisher.lines, 3);
  const second = run("follower", "news");
  assert.deepEqual((await take(second.lines, 2)).map(({ data }) => data), ["three", "four"]);
  await second.says("nothing was missed");
  await second.stop();
  publisher.end();
  assert.deepEqual(await once(publisher.child, "exit"), [0, null]);
});

test("two people chat in their terminals", SCENARIO, async () => {
  const ada = run("chat", "lobby", "Ada");
  await ada.says("(here: Ada)");
  const bo = run("chat", "lobby", "Bo");
  await bo.says("(here: Ada, Bo)");
  ada.write("What news?\n");
  const received = async () => {
    for (;;) {
      const { value } = await bo.lines.next();
      if (!value.startsWith("(")) return value;
    }
  };
  assert.equal(await received(), "Ada: What news?");
  for (const { child, end } of [ada, bo]) {
    end();
    assert.deepEqual(await once(child, "exit"), [0, null]);
  }
});
