/**
 * A broadcast server as a careful developer writes it with `ws`: what a socket on /pub/TOPIC sends goes to all sockets
 * on /sub/TOPIC, and each message is put into a frame once, not once per subscriber.
 *
 *     node server.mjs PORT
 */

import { Sender, WebSocketServer } from "ws";

const TEXT = 1;
const BINARY = 2;

/** @type {Map<string, Set<import("ws").WebSocket>>} */
const subscribers = new Map();

function subscribe(socket, topic) {
  let others = subscribers.get(topic);
  if (!others) subscribers.set(topic, (others = new Set()));
  others.add(socket);
  socket.on("close", () => {
    others.delete(socket);
    if (others.size === 0 && subscribers.get(topic) === others) subscribers.delete(topic);
  });
}

function publish(topic, data, isBinary) {
  const others = subscribers.get(topic);
  if (!others) return;
  const opcode = isBinary ? BINARY : TEXT;
  const frame = Buffer.concat(Sender.frame(data, { fin: true, mask: false, opcode, readOnly: true, rsv1: false }));
  for (const socket of others) {
    // Underscored, but what socket.io relies on for its own broadcasts: `send` would make the frame again each time.
    if (socket.readyState === socket.OPEN) socket._sender.sendFrame([frame]);
  }
}

const port = Number(process.argv[2]);
const server = new WebSocketServer({ host: "127.0.0.1", port, perMessageDeflate: false, skipUTF8Validation: true });
server.on("connection", (socket, request) => {
  const [, door, topic] = request.url.split("/");
  socket.on("error", () => socket.terminate());
  if (door === "sub") subscribe(socket, topic);
  else if (door === "pub") socket.on("message", (data, isBinary) => publish(topic, data, isBinary));
  else socket.close(1008, "neither /sub/TOPIC nor /pub/TOPIC");
});
server.on("listening", () => console.log(`listening on 127.0.0.1:${port}`));
