/** A chat in the terminal, in the rooms of the chat page: `node chat.js ROOM NAME [URL]`. */

import { createInterface } from "node:readline";
import { RialtoClient } from "rialto-client";

const { WebSocket = (await import("ws")).WebSocket } = globalThis;
const [room = "lobby", name = "Ada", url = "ws://127.0.0.1:8080/ws"] = process.argv.slice(2);
const topic = `chat.${room}`;

const client = new RialtoClient(url, { WebSocket });
client.on("disconnected", ({ reason }) => console.error(`(${reason})`));

/** The room knows a name for as long as its session lasts: it is claimed anew after every reconnect. */
async function enter() {
  const { members } = await client.call(topic, "claim", { name });
  console.error(`(here: ${members.join(", ")})`);
}

client.subscribe(topic, {
  onSubscribed: () => void enter().catch((error) => console.error(`(${error.message})`)),
  onMessage: ({ data }) => {
    console.log(data.kind === "message" ? `${data.author}: ${data.text}` : `(${JSON.stringify(data)})`);
  },
  onGap: () => console.error("(some messages are missing)"),
  onRefused: (error) => console.error(`(${error.message})`),
});
client.connect().catch((error) => console.error(error.message));

for await (const text of createInterface({ input: process.stdin })) {
  await client.publish(topic, { text }).catch((error) => console.error(`(${error.message})`));
}
client.close();
