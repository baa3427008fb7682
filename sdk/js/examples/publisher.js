/** Publishes every line of its input: `node publisher.js TOPIC [URL]`. Lines wait while the broker is away. */

import { createInterface } from "node:readline";
import { RialtoClient } from "rialto-client";

const { WebSocket = (await import("ws")).WebSocket } = globalThis;
const [topic = "news", url = "ws://127.0.0.1:8080/ws"] = process.argv.slice(2);

const client = new RialtoClient(url, { WebSocket, requestTimeoutMs: 60_000 });
client.on("status", ({ status, reason = "" }) => console.error(status, reason));
client.connect().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});

// Awaited one by one: a writer that is faster than the broker must wait.
for await (const line of createInterface({ input: process.stdin })) {
  const { position, duplicate } = await client.publish(topic, line);
  console.log(JSON.stringify({ line, position, duplicate }));
}
client.close();
