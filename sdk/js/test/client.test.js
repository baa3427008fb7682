/** The client on fake sockets: requests, subscriptions, events. Reconnecting has its own file. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ConnectionLostError, RialtoClient } from "../index.js";
import { connectedClient, fakeClient, settled } from "./fake.js";

test("connects with the JSON subprotocol and is connected after the welcome", async () => {
  const { client, sockets, statuses } = fakeClient();
  const connected = client.connect();
  assert.equal(sockets[0].url, "ws://broker.test/ws");
  assert.deepEqual(sockets[0].protocols, ["rialto.v1.json"]);
  assert.deepEqual(statuses, ["connecting"]);
  await sockets[0].welcome();
  await connected;
  assert.deepEqual(statuses, ["connecting", "connected"]);
  assert.equal(client.welcome.session, "s1");
  client.connect();
  assert.equal(sockets.length, 1, "connecting twice opens one socket");
});

test("publish resolves with its position", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const published = client.publish("chat.lobby", { text: "hi" });
  const { id, key, ...request } = socket.takeSent();
  assert.deepEqual(request, { type: "publish", topic: "chat.lobby", data: { text: "hi" } });
  assert.ok(Number.isInteger(id) && id > 0);
  assert.match(key, /^[0-9a-f-]{36}$/);
  await socket.receive({ type: "ok", id, position: { epoch: "e1", offset: 7 } });
  assert.deepEqual(await published, { position: { epoch: "e1", offset: 7 }, duplicate: false });
});

test("call resolves with the answer and rejects with the plugin's detail", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const answered = client.call("chat.lobby", "claim", { name: "Ada" });
  const request = socket.takeSent();
  const { id: requestId, key, ...fields } = request;
  assert.deepEqual(fields, { type: "call", topic: "chat.lobby", method: "claim", data: { name: "Ada" } });
  await socket.receive({ type: "ok", id: request.id, data: { name: "Ada" } });
  assert.deepEqual(await answered, { name: "Ada" });

  const refused = client.call("chat.lobby", "claim", { name: "Ada" });
  const { id } = socket.takeSent();
  socket.receive({ type: "error", id, code: "rejected", message: "taken", detail: { kind: "name_taken" } });
  await assert.rejects(refused, { code: "rejected", detail: { kind: "name_taken" }, retryAfterMs: null });
});

test("ping measures the way there and back", async () => {
  const { client, clock, sockets: [socket] } = await connectedClient();
  const latency = client.ping();
  await clock.advance(42);
  await socket.receive({ type: "pong", id: socket.takeSent().id, time: 0 });
  assert.equal(await latency, 42);
});

test("data that JSON cannot carry fails its own call and leaves nothing waiting", async () => {
  const { client, sockets: [socket] } = await connectedClient({ requestsMax: 1 });
  await assert.rejects(client.publish("a", 1n), TypeError);
  client.publish("a", 1);
  assert.equal(socket.sent.length, 1);
});

test("a frame larger than the broker takes is not sent: the broker would end the session for it", async () => {
  const { client, sockets } = fakeClient();
  client.connect();
  await sockets[0].welcome({ limits: { message_bytes: 300 } });
  await assert.rejects(client.publish("a", "é".repeat(150)), { code: "too_large" });
  const fits = client.publish("a", "e".repeat(150));
  await sockets[0].reply({ position: { epoch: "e1", offset: 1 } });
  await fits;
});

test("messages go to the subscription of their topic, and one broken handler disturbs no other", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const seen = [];
  const errors = [];
  client.on("error", (error) => errors.push(error.message));
  client.subscribe("a", { onMessage: () => { throw new Error("handler"); } });
  const subscription = client.subscribe("b", { onMessage: (message) => seen.push(message) });
  await socket.accept();
  await socket.receive({ type: "message", topic: "a", offset: 1, time: 5, data: 1 });
  await socket.receive({ type: "message", topic: "b", offset: 1, time: 6, data: { text: "hi" } });
  await socket.receive({ type: "message", topic: "unknown", offset: 1, time: 6, data: 1 });
  assert.deepEqual(seen, [{ topic: "b", offset: 1, time: 6, data: { text: "hi" } }]);
  assert.deepEqual(errors, ["handler"]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 1 });
});

test("subscribe is idempotent: one request, the newest handlers", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const seen = [];
  const first = client.subscribe("a", { onMessage: () => seen.push("old") });
  const second = client.subscribe("a", { onMessage: () => seen.push("new") });
  assert.equal(first, second);
  assert.equal(socket.sent.length, 1);
  await socket.accept();
  assert.deepEqual((await first.ready).position, { epoch: "e1", offset: 0 });
  await socket.receive({ type: "message", topic: "a", offset: 1, time: 0, data: 0 });
  assert.deepEqual(seen, ["new"]);
});

test("after unsubscribe nothing is delivered, and a new subscription is its own", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const seen = [];
  const first = client.subscribe("a", { onMessage: () => seen.push("first") });
  await socket.accept();
  const left = first.unsubscribe();
  const { id, type } = socket.takeSent();
  assert.equal(type, "unsubscribe");
  await socket.receive({ type: "message", topic: "a", offset: 1, time: 0, data: 0 });
  await socket.receive({ type: "ok", id });
  await left;
  const second = client.subscribe("a", { onMessage: () => seen.push("second") });
  assert.notEqual(first, second);
  await first.unsubscribe();
  await socket.accept();
  await socket.receive({ type: "message", topic: "a", offset: 2, time: 0, data: 0 });
  assert.deepEqual(seen, ["second"]);
});

test("a refused subscription is over without a hint, and tried again with one", async () => {
  const { client, clock, sockets: [socket] } = await connectedClient();
  const refusals = [];
  const refused = client.subscribe("a", { onRefused: (error) => refusals.push(error.code) });
  await socket.receive({ type: "error", id: socket.takeSent().id, code: "forbidden", message: "no" });
  await assert.rejects(refused.ready, { code: "forbidden" });

  const later = client.subscribe("b", { onRefused: (error) => refusals.push(error.code) });
  await socket.receive({ type: "error", id: socket.takeSent().id, code: "busy", message: "wait", retry_after_ms: 300 });
  await clock.advance(299);
  assert.deepEqual(socket.sent, []);
  await clock.advance(1);
  await socket.accept();
  await later.ready;
  assert.deepEqual(refusals, ["forbidden", "busy"]);
});

test("a subscription ended by the broker says why", async () => {
  const { client, clock, sockets: [socket] } = await connectedClient();
  const refusals = [];
  client.subscribe("a", { onRefused: (error) => refusals.push(error.code) });
  await socket.accept();
  await socket.receive({ type: "unsubscribed", topic: "a", code: "forbidden", message: "no longer" });
  await clock.advance(60_000);
  assert.deepEqual(refusals, ["forbidden"]);
  assert.ok(socket.sent.every(({ type }) => type === "ping"), "not asked for again");
});

test("gaps, announcements of closing and errors without a request are reported", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const reported = [];
  client.on("closing", (closing) => reported.push(closing));
  client.on("error", (error) => reported.push(error.code));
  client.subscribe("a", { onGap: (gap) => reported.push(gap) });
  await socket.accept();
  await socket.receive({ type: "gap", topic: "a", from: 3, to: 9, reason: "slow" });
  await socket.receive({ type: "error", code: "bad_request", message: "what?" });
  await socket.receive({ type: "closing", code: 1001, message: "drain", retry_after_ms: 100 });
  await socket.receive({ type: "x-new-thing" });
  assert.deepEqual(reported, [
    { topic: "a", from: 3, to: 9, reason: "slow" },
    "bad_request",
    { code: 1001, message: "drain", retryAfterMs: 100 },
  ]);
});

test("close ends everything; connect starts again with the same subscriptions", async () => {
  const { client, clock, sockets, statuses } = await connectedClient();
  client.subscribe("a", {});
  await sockets[0].accept();
  const lost = assert.rejects(client.publish("a", 1), ConnectionLostError);
  client.close();
  await lost;
  assert.ok(sockets[0].isClosed);
  await clock.advance(60_000);
  assert.equal(sockets.length, 1);
  client.connect();
  await sockets[1].greet();
  assert.equal(sockets[1].sent[0].topic, "a");
  await sockets[1].accept();
  assert.deepEqual(statuses, ["connecting", "connected", "closed", "connecting", "connected"]);
});

test("an address no socket can be made for closes instead of retrying", async () => {
  const WebSocket = class { constructor() { throw new Error("insecure"); } };
  const client = new RialtoClient("ws://broker.test/ws", { WebSocket, network: null });
  await assert.rejects(client.connect(), { code: "closed", message: "insecure" });
  assert.equal(client.status.status, "closed");
  await settled();
});

test("what a plugin sends to this session is emitted as it came, and no subscription gets it", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const pushed = [];
  client.on("pushed", (frame) => pushed.push(frame));
  client.subscribe("market.SALT", { onMessage: () => assert.fail("a message") });
  const frame = { type: "x-snapshot", topic: "market.SALT", data: { tail: [] } };
  await socket.receive(frame);
  await socket.receive({ type: "y-snapshot", topic: "market.SALT" });
  assert.deepEqual(pushed, [frame]);
});
