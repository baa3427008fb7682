/**
 * Follows a topic and misses nothing, not even while it is not running: `node follower.js TOPIC [URL]`. Its position is
 * kept in `TOPIC.position.json`; messages go to the output, one JSON line each, and what was lost to the error output.
 */

import { readFile, writeFile } from "node:fs/promises";
import { RialtoClient } from "rialto-client";

const { WebSocket = (await import("ws")).WebSocket } = globalThis;
const [topic = "news", url = "ws://127.0.0.1:8080/ws"] = process.argv.slice(2);
const file = `${topic}.position.json`;

const since = await readFile(file, "utf8").then(JSON.parse, () => undefined);
const client = new RialtoClient(url, { WebSocket });
client.on("status", ({ status, reason = "" }) => console.error(status, reason));

let written = Promise.resolve();
const subscription = client.subscribe(
  topic,
  {
    onMessage: (message) => {
      console.log(JSON.stringify(message));
      const position = JSON.stringify(subscription.position);
      written = written.then(() => writeFile(file, position));
    },
    onGap: ({ from, to, reason }) => console.error(`offsets ${from} to ${to} will not come: ${reason}`),
    onSubscribed: ({ recovered, previous, position }) => {
      if (previous) console.error(recovered ? "nothing was missed" : `lost ${previous.epoch}, now ${position?.epoch}`);
    },
    onRefused: ({ code, message }) => console.error(code, message),
  },
  since ? { since } : { last: 10 },
);
process.once("SIGINT", () => client.close());
await client.connect().catch((error) => console.error(error.message));
