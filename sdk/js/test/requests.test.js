/** Publishes and calls over lost connections: what is sent again, in which order, under which key, and for how long. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ConnectionLostError, NotConnectedError, TimeoutError } from "../index.js";
import { connectedClient, fakeClient, settled } from "./fake.js";

/** Ends the latest connection; the next one is there and welcomed. */
async function reconnect({ clock, sockets, client }, more) {
  await sockets.at(-1).end(1006);
  await clock.advance(client.status.retryInMs);
  await sockets.at(-1).welcome(more);
}

test("what was not answered is sent again in order, under the same keys, and answered once", async () => {
  const fake = await connectedClient();
  const { client, sockets } = fake;
  const answers = [client.publish("a", 1), client.call("a", "add", 2), client.publish("a", 3)];
  const first = sockets[0].sent.splice(0);
  await sockets[0].receive({ type: "ok", id: first[0].id, position: { epoch: "e1", offset: 1 } });
  await reconnect(fake);
  const again = sockets[1].sent.map(({ id, ...fields }) => fields);
  assert.deepEqual(again, first.slice(1).map(({ id, ...fields }) => fields));
  await sockets[1].reply({ data: "sum", duplicate: true });
  await sockets[1].reply({ position: { epoch: "e1", offset: 2 }, duplicate: true });
  assert.deepEqual(await Promise.all(answers), [
    { position: { epoch: "e1", offset: 1 }, duplicate: false },
    "sum",
    { position: { epoch: "e1", offset: 2 }, duplicate: true },
  ]);
  await reconnect(fake);
  assert.deepEqual(sockets[2].sent, []);
});

test("every request has a key of its own, unless the application names one", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  client.publish("a", 1);
  client.publish("a", 1);
  client.publish("a", 1, { key: "order-7" });
  client.call({ plugin: "market" }, "buy", {}, { key: "order-8" });
  const [first, second, third, fourth] = socket.sent;
  assert.notEqual(first.key, second.key);
  assert.equal(third.key, "order-7");
  assert.deepEqual([fourth.key, fourth.plugin, fourth.topic], ["order-8", "market", undefined]);
});

test("where the broker knows clients, its secret goes before the first key of every connection, and not to readers", async () => {
  const { client, clock, sockets } = fakeClient();
  client.connect();
  const features = ["keys", "instances"];
  await sockets[0].welcome({ features });
  const asked = [client.history("a")];
  assert.deepEqual(sockets[0].sent.splice(0).map(({ type }) => type), ["history"]);
  asked.push(client.publish("a", 1), client.publish("a", 2));
  const [connect, ...publishes] = sockets[0].sent;
  assert.deepEqual([connect.type, publishes.length], ["connect", 2]);
  assert.match(connect.instance, /^[A-Za-z0-9_-]{22,64}$/);
  await sockets[0].end(1006);
  await clock.advance(client.status.retryInMs);
  await sockets[1].welcome({ features });
  const [again] = sockets[1].sent.filter(({ type }) => type === "connect");
  assert.equal(again.instance, connect.instance);
  client.close();
  await Promise.allSettled(asked);
});

test("a broker without keys is never sent the same twice", async () => {
  const { client, sockets } = fakeClient();
  client.connect();
  await sockets[0].welcome({ features: ["plugins"] });
  const lost = assert.rejects(client.publish("a", 1), ConnectionLostError);
  assert.equal(sockets[0].takeSent().key, undefined);
  await sockets[0].end(1006);
  await lost;
});

test("requests wait for the connection, in order, and go out after the subscriptions", async () => {
  const { client, sockets } = fakeClient();
  client.connect();
  client.subscribe("a", {});
  client.subscribe("b", {});
  client.subscribe("c.*", {});
  client.publish("a", 1);
  await sockets[0].greet();
  client.publish("a", 2);
  assert.deepEqual(sockets[0].sent.map(({ type }) => type), ["subscribe"]);
  await sockets[0].accept();
  assert.deepEqual(sockets[0].sent.map(({ data }) => data), [1, 2]);
});

test("where the application wants it, requests without a connection fail at once and are never sent", async () => {
  const { client, sockets } = fakeClient({ offline: "fail" });
  await assert.rejects(client.publish("a", 1), NotConnectedError);
  client.connect();
  await assert.rejects(client.call("a", "b"), NotConnectedError, "not before the welcome either");
  const waiting = client.publish("a", 2, { offline: "queue" });
  await sockets[0].welcome();
  assert.deepEqual(sockets[0].sent.map(({ data }) => data), [2]);
  await sockets[0].reply({ position: { epoch: "e1", offset: 1 } });
  await waiting;
});

test("a closed client takes no requests, and closing fails those that wait", async () => {
  const { client, sockets } = fakeClient();
  await assert.rejects(client.publish("a", 1), NotConnectedError);
  client.connect();
  const unsent = assert.rejects(client.publish("a", 1), { code: "not_connected", mayHaveActed: false });
  client.close();
  await unsent;
  client.connect();
  await sockets[1].welcome();
  const sent = assert.rejects(client.publish("a", 1), { code: "connection_lost", mayHaveActed: true });
  client.close();
  await sent;
});

test("the deadline counts over all connections and says whether the broker may have acted", async () => {
  const fake = await connectedClient({ requestTimeoutMs: 5000 });
  const { client, clock, sockets } = fake;
  const sent = assert.rejects(client.publish("a", 1), { code: "timeout", mayHaveActed: true });
  await clock.advance(3000);
  await reconnect(fake);
  assert.equal(sockets[1].sent.length, 1);
  await clock.advance(1750);
  await sent;
  await sockets[1].end(1006);
  const unsent = assert.rejects(client.publish("a", 2, { timeoutMs: 100 }), (error) =>
    error instanceof TimeoutError && !error.mayHaveActed);
  await clock.advance(100);
  await unsent;
  await clock.advance(1000);
  await sockets[2].welcome();
  assert.deepEqual(sockets[2].sent, [], "what is out of time is not sent any more");
});

test("a late answer to a request that timed out is ignored", async () => {
  const { client, clock, sockets: [socket] } = await connectedClient({ requestTimeoutMs: 5000 });
  const late = assert.rejects(client.publish("a", 1), TimeoutError);
  await clock.advance(5000);
  await late;
  const next = client.publish("a", 2);
  await socket.reply({ position: { epoch: "e1", offset: 1 } });
  await socket.reply({ position: { epoch: "e1", offset: 2 } });
  assert.equal((await next).position.offset, 2);
});

test("retries are bounded", async () => {
  const fake = await connectedClient({ retriesMax: 2, requestTimeoutMs: 100_000 });
  const { client, sockets } = fake;
  const given = assert.rejects(client.publish("a", 1), ConnectionLostError);
  await reconnect(fake);
  await reconnect(fake);
  assert.equal(sockets[2].sent.length, 1);
  await sockets[2].end(1006);
  await given;
});

test("waiting requests are bounded, connected or not", async () => {
  const { client, sockets } = fakeClient({ requestsMax: 2 });
  client.connect();
  client.publish("a", 1);
  client.publish("a", 2);
  await assert.rejects(client.publish("a", 3), { code: "too_many" });
  await sockets[0].welcome();
  await assert.rejects(client.publish("a", 3), { code: "too_many" });
  await sockets[0].reply({ position: { epoch: "e1", offset: 1 } });
  client.publish("a", 3);
  assert.equal(sockets[0].sent.length, 2);
});

test("an error is an answer: it is reported and not retried", async () => {
  const fake = await connectedClient();
  const { client, sockets } = fake;
  const refused = assert.rejects(client.publish("a", 1), { code: "busy", retryAfterMs: 50 });
  await sockets[0].receive({
    type: "error", id: sockets[0].takeSent().id, code: "busy", message: "wait", retry_after_ms: 50,
  });
  await refused;
  await reconnect(fake);
  assert.deepEqual(sockets[1].sent, []);
});

test("bytes travel as base64, echo and key as they are, and answers may be bytes", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const all = Uint8Array.from({ length: 256 }, (_, value) => value);
  client.publish("a", all, { echo: false });
  const { bytes, data, echo } = socket.takeSent();
  assert.deepEqual([bytes, data, echo], [Buffer.from(all).toString("base64"), undefined, false]);
  const answer = client.call("a", "turn", new Uint8Array(100_000).fill(7));
  assert.equal(socket.sent[0].bytes, Buffer.alloc(100_000, 7).toString("base64"));
  await socket.reply({ bytes: "AAEC/w==" });
  assert.deepEqual(await answer, Uint8Array.of(0, 1, 2, 255));
});

test("history and presence are read, again after a lost connection, and without a key", async () => {
  const fake = await connectedClient();
  const { client, sockets } = fake;
  const position = { epoch: "e1", offset: 9 };
  const read = client.history("a", { before: position, limit: 2 });
  const asked = client.presence("a");
  await reconnect(fake);
  const [history, presence] = sockets[1].sent.map(({ id, ...fields }) => fields);
  assert.deepEqual(history, { type: "history", topic: "a", before: position, limit: 2 });
  assert.deepEqual(presence, { type: "presence", topic: "a" });
  const from = { session: "s", user: null };
  const kept = [{ offset: 7, time: 1, data: "x" }, { offset: 8, time: 2, bytes: "AQ==", from }];
  await sockets[1].reply({ messages: kept, position, more: true });
  await sockets[1].reply({ count: 900 });
  assert.deepEqual(await read, {
    messages: [
      { topic: "a", offset: 7, time: 1, data: "x" },
      { topic: "a", offset: 8, time: 2, from, bytes: Uint8Array.of(1) },
    ],
    position,
    more: true,
  });
  assert.deepEqual(await asked, { count: 900, members: null });
  const expired = assert.rejects(client.history("a", { since: { epoch: "e0", offset: 1 } }), { code: "expired" });
  await sockets[1].receive({ type: "error", id: sockets[1].takeSent().id, code: "expired", message: "gone" });
  await expired;
  await settled();
});
