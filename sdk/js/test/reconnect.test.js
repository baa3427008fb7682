/** Losing the connection and coming back: when, how often, and with what. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { connectedClient, fakeClient } from "./fake.js";

test("comes back after a growing wait and says when", async () => {
  const { client, clock, sockets, statuses } = fakeClient();
  client.connect();
  const waits = [];
  for (let attempt = 0; attempt < 7; attempt += 1) {
    await sockets[attempt].end(1006);
    waits.push(client.status.retryInMs);
    await clock.advance(client.status.retryInMs - 1);
    assert.equal(sockets.length, attempt + 1);
    await clock.advance(1);
    assert.equal(sockets.length, attempt + 2);
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000]);
  assert.equal(statuses.at(-1), "connecting");
});

test("waits start small again only after a connection that lasted", async () => {
  const { client, clock, sockets } = fakeClient();
  client.connect();
  await sockets[0].welcome();
  await sockets[0].end(1006);
  assert.equal(client.status.retryInMs, 250);
  await clock.advance(250);
  await sockets[1].welcome();
  await sockets[1].end(1006);
  assert.equal(client.status.retryInMs, 500, "closed right after the welcome: keep backing off");
  await clock.advance(500);
  await sockets[2].welcome();
  await clock.advance(5000);
  await sockets[2].end(1006);
  assert.equal(client.status.retryInMs, 250);
});

test("obeys the hint of a closing frame, even when online comes", async () => {
  const { client, clock, network, sockets } = await connectedClient();
  await sockets[0].receive({ type: "closing", code: 4008, message: "drain", retry_after_ms: 3000 });
  await sockets[0].end(4008);
  assert.deepEqual([client.status.retryInMs, client.status.reason], [3250, "drain"]);
  network.dispatchEvent(new Event("online"));
  await clock.advance(2999);
  assert.equal(sockets.length, 1);
  await clock.advance(1);
  assert.equal(sockets.length, 2);
});

test("an announced code counts when the close frame is lost", async () => {
  const { client, sockets } = await connectedClient();
  await sockets[0].receive({ type: "closing", code: 4003, message: "kicked" });
  await sockets[0].end(1006);
  assert.deepEqual(client.status, { status: "closed", code: 4003, reason: "kicked" });
});

for (const code of [1000, 1008, 4001, 4003]) {
  test(`close code ${code} stops until connect is called`, async () => {
    const { client, clock, network, sockets } = await connectedClient();
    await sockets[0].end(code);
    assert.equal(client.status.status, "closed");
    assert.equal(client.status.code, code);
    network.dispatchEvent(new Event("online"));
    await clock.advance(60_000);
    assert.equal(sockets.length, 1);
    client.connect();
    assert.equal(sockets.length, 2);
  });
}

test("resubscribes before it is connected again, and reports the position before", async () => {
  const { client, clock, sockets, statuses } = await connectedClient();
  const reported = [];
  client.subscribe("a", { onSubscribed: (subscribed) => reported.push(subscribed) });
  client.subscribe("b", {});
  await sockets[0].accept({ epoch: "e1", offset: 4 });
  await sockets[0].receive({ type: "message", topic: "a", offset: 5, time: 0, data: 0 });
  await sockets[0].end(1006);
  await clock.advance(250);
  await sockets[1].greet();
  assert.deepEqual(sockets[1].sent, [{
    id: 1, type: "subscribe", topics: [
      { topic: "a", since: { epoch: "e1", offset: 5 }, last: 1000 },
      { topic: "b", since: { epoch: "e1", offset: 4 }, last: 1000 },
    ],
  }]);
  assert.equal(statuses.at(-1), "connecting");
  await sockets[1].accept({ epoch: "e2", offset: 0 });
  assert.equal(statuses.at(-1), "connected");
  assert.deepEqual(reported, [
    { position: { epoch: "e1", offset: 4 }, recovered: false, previous: null },
    { position: { epoch: "e2", offset: 0 }, recovered: false, previous: { epoch: "e1", offset: 5 } },
  ]);
});

test("a handler may already call the plugin while subscriptions return", async () => {
  const { client, sockets } = fakeClient();
  client.subscribe("a", { onSubscribed: () => void client.call("a", "claim", { name: "Ada" }) });
  client.connect();
  await sockets[0].welcome();
  assert.equal(sockets[0].takeSent().method, "claim");
});

test("reconnects at once when the browser is online again, or when `connect` is called", async () => {
  const { client, network, sockets } = await connectedClient();
  await sockets[0].end(1006);
  network.dispatchEvent(new Event("online"));
  assert.equal(sockets.length, 2);
  await sockets[1].end(1006);
  client.connect();
  assert.equal(sockets.length, 3);
});

test("a broker that never welcomes is given up", async () => {
  const { client, clock, sockets } = fakeClient();
  client.connect();
  await clock.advance(10_000);
  assert.equal(client.status.status, "disconnected");
  assert.ok(sockets[0].isClosed);
});

test("a socket that fails and never says that it closed is over; the code of one that does is kept", async () => {
  const { client, clock, sockets } = fakeClient();
  client.connect();
  sockets[0].onerror({});
  await clock.advance(100);
  assert.deepEqual([client.status.status, client.status.reason], ["disconnected", "the connection failed"]);
  await clock.advance(client.status.retryInMs);
  await sockets[1].welcome();
  sockets[1].onerror({});
  await sockets[1].end(4003);
  await clock.advance(1000);
  assert.deepEqual([client.status.status, client.status.code], ["closed", 4003]);
});

test("something that is not a frame ends the connection", async () => {
  const cutShort = ["message", "gap", "join", "presence", "unsubscribed"].flatMap((type) => [
    JSON.stringify({ type, offset: 1, from: 1, to: 1, member: { session: "s" }, count: 1, code: "forbidden" }),
    JSON.stringify({ type, topic: "a" }),
  ]);
  for (const garbage of ["<html>", "[]", "null", "{}", '{"type":1}', ...cutShort]) {
    const { client, sockets } = await connectedClient();
    client.subscribe("*", {});
    await sockets[0].receive(garbage);
    assert.equal(client.status.status, "disconnected", garbage);
  }
});

test("silence is questioned after the ping interval and ten seconds, and ends the connection ten later", async () => {
  const { client, clock, sockets: [socket] } = await connectedClient();
  await clock.advance(34_999);
  assert.deepEqual(socket.sent, []);
  await clock.advance(1);
  assert.equal(socket.sent[0].type, "ping");
  await clock.advance(9999);
  assert.equal(client.status.status, "connected");
  await clock.advance(1);
  assert.equal(client.status.status, "disconnected");
  assert.equal(client.status.reason, "the connection went silent");
});

test("any frame breaks the silence, and an answered ping keeps the connection", async () => {
  const { client, clock, sockets: [socket] } = await connectedClient();
  await clock.advance(30_000);
  await socket.receive({ type: "message", topic: "a", offset: 1, time: 0, data: 0 });
  await clock.advance(34_999);
  assert.deepEqual(socket.sent, []);
  await clock.advance(1);
  // The fake clock does not move between question and answer: equal times must count as received.
  await socket.receive({ type: "pong", id: socket.takeSent().id });
  await clock.advance(10_000);
  assert.equal(client.status.status, "connected");
});

test("an application's own unanswered ping ends the connection too", async () => {
  const { client, clock } = await connectedClient();
  const failed = assert.rejects(client.ping());
  await clock.advance(10_000);
  await failed;
  assert.equal(client.status.status, "disconnected");
});

test("nothing of an ended connection reaches the next one", async () => {
  const { client, clock, sockets, statuses } = await connectedClient();
  await clock.advance(34_000);
  const lateEnd = sockets[0].onclose;
  await sockets[0].end(1006);
  await clock.advance(250);
  await sockets[1].welcome();
  lateEnd({ code: 4003, reason: "late" });
  await clock.advance(20_000);
  assert.equal(statuses.at(-1), "connected");
  assert.equal(sockets.length, 2);
  assert.equal(client.status.status, "connected");
});

test("a connection lost while subscriptions return was never connected, and its retries die with it", async () => {
  const { client, clock, sockets, statuses } = await connectedClient();
  client.subscribe("a", {});
  client.subscribe("b", {});
  client.subscribe("c.*", {});
  await sockets[0].accept();
  await sockets[0].end(1006);
  await clock.advance(250);
  await sockets[1].greet();
  const busy = { code: "busy", message: "wait", retry_after_ms: 5000 };
  await sockets[1].reply({ topics: [{ topic: "a", error: busy }, { topic: "b", error: busy }] });
  await sockets[1].end(1006);
  assert.deepEqual(statuses.slice(2), ["disconnected", "connecting", "disconnected"]);
  await clock.advance(500);
  await sockets[2].welcome();
  await clock.advance(20_000);
  assert.deepEqual(sockets[2].sent, [], "placed once");
  assert.equal(statuses.at(-1), "connected");
});
