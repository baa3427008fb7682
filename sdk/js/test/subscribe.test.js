/** Subscriptions: what is requested, in how many frames, which handler gets which message, and what else is reported. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { connectedClient, fakeClient } from "./fake.js";

const message = (topic, offset, data = offset) => ({ type: "message", topic, offset, time: 0, data });

/** Handlers that write down what they receive. */
function recorder(log = []) {
  return {
    log,
    onMessage: ({ topic, data }) => log.push(`${topic}=${data}`),
    onGap: ({ topic, from, to, reason }) => log.push(`${topic} ${from}-${to} ${reason}`),
    onSubscribed: ({ recovered }) => log.push(recovered ? "recovered" : "subscribed"),
    onJoin: ({ user }, topic) => log.push(`${topic} +${user}`),
    onLeave: ({ user }, topic) => log.push(`${topic} -${user}`),
    onPresence: ({ count, members }) => log.push(`${count} ${members?.map(({ user }) => user) ?? "many"}`),
    onRefused: ({ code }) => log.push(code),
  };
}

async function reconnect({ clock, sockets, client }) {
  await sockets.at(-1).end(1006);
  await clock.advance(client.status.retryInMs);
  await sockets.at(-1).greet();
  return sockets.at(-1);
}

test("options reach the broker as the protocol names them", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  client.subscribe("a", {}, { last: 5, delivery: { policy: "latest_by", field: "/symbol" }, presence: true });
  client.subscribe("b", {}, { since: { epoch: "e1", offset: 3 } });
  client.subscribe("c", {}, { since: { epoch: "e1", offset: 3 }, onLost: "live", delivery: "latest" });
  assert.deepEqual(socket.sent.map(({ id, type, ...fields }) => fields), [
    { topic: "a", last: 5, delivery: { policy: "latest_by", field: "/symbol" }, presence: true },
    { topic: "b", since: { epoch: "e1", offset: 3 }, last: 1000 },
    { topic: "c", since: { epoch: "e1", offset: 3 }, delivery: "latest" },
  ]);
});

test("many topics take a few frames: at most a hundred each, and none larger than the broker takes", async () => {
  const { client, sockets } = fakeClient();
  const topics = Array.from({ length: 250 }, (_, index) => `t${index}`);
  const subscriptions = client.subscribeAll(topics, {});
  client.connect();
  await sockets[0].greet({ limits: { message_bytes: 65_536 } });
  assert.deepEqual(sockets[0].sent.map((frame) => frame.topics.length), [100, 100, 50]);
  await sockets[0].accept();
  await Promise.all(subscriptions.map(({ ready }) => ready));
  client.subscribeAll(Array.from({ length: 100 }, (_, index) => `${"é".repeat(400)}${index}`), {});
  assert.ok(sockets[0].sent.length > 1);
  const largest = Math.max(...sockets[0].sent.map((frame) => Buffer.byteLength(JSON.stringify(frame))));
  assert.ok(largest <= 65_536, `${largest} bytes`);
  await sockets[0].accept();
  const left = client.unsubscribeAll(topics);
  assert.deepEqual(sockets[0].sent.map(({ type, topics: list }) => [type, list.length]), [
    ["unsubscribe", 100], ["unsubscribe", 100], ["unsubscribe", 50],
  ]);
  for (let frame = 0; frame < 3; frame += 1) await sockets[0].reply();
  await left;
});

test("in a list each topic has its own outcome, and an invalid item fails alone", async () => {
  const { client, clock, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  const [good, bad, later, missing] = client.subscribeAll(["good", "bad", "later", "missing"], handlers);
  await socket.reply({ topics: [
    { topic: "later", error: { code: "busy", message: "wait", retry_after_ms: 100 } },
    { topic: "good", position: { epoch: "e1", offset: 0 } },
    { topic: "bad", error: { code: "forbidden", message: "no" } },
  ] });
  await good.ready;
  await assert.rejects(bad.ready, { code: "forbidden" });
  await assert.rejects(missing.ready, { code: "internal" });
  await clock.advance(100);
  await socket.accept();
  await later.ready;
  assert.deepEqual(handlers.log, ["subscribed", "forbidden", "busy", "internal", "subscribed"]);

  const invalid = client.subscribeAll(["x", "y z"], {});
  await socket.receive({ type: "error", id: socket.takeSent().id, code: "bad_request", message: "white space" });
  const [first, second] = socket.sent;
  assert.deepEqual([first.topic, second.topic], ["x", "y z"]);
  await socket.receive({ type: "error", id: second.id, code: "bad_request", message: "white space" });
  await socket.receive({ type: "ok", id: first.id, topic: "x", position: { epoch: "e1", offset: 0 } });
  await invalid[0].ready;
  await assert.rejects(invalid[1].ready, { code: "bad_request" });
});

test("what comes before the reply to a list is kept until it is known where each topic stands", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  client.subscribeAll(["a", "b"], handlers, { presence: true });
  await socket.receive(message("a", 5));
  await socket.receive({ type: "gap", topic: "a", from: 6, to: 7, reason: "slow" });
  await socket.receive({ type: "join", topic: "a", member: { session: "s", user: "bo" } });
  assert.deepEqual(handlers.log, []);
  await socket.reply({ topics: [
    { topic: "a", position: { epoch: "e1", offset: 4 }, count: 0, members: [] },
    { topic: "b", position: { epoch: "e1", offset: 0 } },
  ] });
  await socket.receive(message("a", 8));
  assert.deepEqual(handlers.log, ["subscribed", "0 ", "a=5", "a 6-7 slow", "a +bo", "subscribed", "a=8"]);
});

test("a topic with too much before the reply to its list is asked for once more, alone, and misses nothing", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  client.subscribeAll(["a", "b"], handlers, { since: { epoch: "e1", offset: 0 } });
  for (let offset = 1; offset <= 1500; offset += 1) socket.receive(message("a", offset));
  const positions = { a: { epoch: "e1", offset: 1400 }, b: { epoch: "e1", offset: 0 } };
  await socket.reply({ topics: ["a", "b"].map((topic) => ({ topic, position: positions[topic], recovered: true })) });
  assert.deepEqual(handlers.log, ["recovered"]);
  const { topic, since } = socket.sent[0];
  assert.deepEqual([topic, since], ["a", { epoch: "e1", offset: 0 }]);
  await socket.reply({ topic: "a", position: { epoch: "e1", offset: 1500 }, recovered: true });
  for (let offset = 1; offset <= 1501; offset += 1) socket.receive(message("a", offset));
  assert.deepEqual(handlers.log.slice(2), Array.from({ length: 1501 }, (_, index) => `a=${index + 1}`));
});

test("a reply and what follows it may be read at once, before any promise settles", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  client.subscribe("a", handlers, { last: 1 });
  const { id } = socket.takeSent();
  socket.receive({ type: "ok", id, topic: "a", position: { epoch: "e1", offset: 3 }, more: false });
  socket.receive(message("a", 3));
  await socket.receive(message("a", 4));
  assert.deepEqual(handlers.log, ["subscribed", "a=3", "a=4"]);
});

test("recovered: the own position is kept, and the missed messages come in order, once", async () => {
  const fake = await connectedClient();
  const { client, sockets } = fake;
  const handlers = recorder();
  const recovered = [];
  client.on("recovered", (detail) => recovered.push(detail));
  const subscription = client.subscribe("a", handlers);
  await sockets[0].accept({ epoch: "e1", offset: 2 });
  await sockets[0].receive(message("a", 3));
  const socket = await reconnect(fake);
  const { id, ...request } = socket.takeSent();
  assert.deepEqual(request, { type: "subscribe", topic: "a", since: { epoch: "e1", offset: 3 }, last: 1000 });
  const head = { epoch: "e1", offset: 5 };
  await socket.receive({ type: "ok", id, topic: "a", position: head, recovered: true, more: false });
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 3 });
  for (const offset of [4, 5, 5, 4, 6]) await socket.receive(message("a", offset));
  assert.deepEqual(handlers.log, ["subscribed", "a=3", "recovered", "a=4", "a=5", "a=6"]);
  assert.deepEqual(recovered, [{ topic: "a", position: head, previous: { epoch: "e1", offset: 3 } }]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 6 });
});

test("lost while the missed messages come: the next connection goes on from the last one of them", async () => {
  const fake = await connectedClient();
  const handlers = recorder();
  fake.client.subscribe("a", handlers);
  await fake.sockets[0].accept({ epoch: "e1", offset: 2 });
  const second = await reconnect(fake);
  await second.reply({ topic: "a", position: { epoch: "e1", offset: 9 }, recovered: true, more: true });
  await second.receive(message("a", 3));
  const third = await reconnect(fake);
  assert.deepEqual(third.sent[0].since, { epoch: "e1", offset: 3 });
  await third.reply({ topic: "a", position: { epoch: "e1", offset: 9 }, recovered: true });
  for (let offset = 4; offset <= 9; offset += 1) await third.receive(message("a", offset));
  assert.deepEqual(handlers.log.filter((line) => line.startsWith("a=")), [3, 4, 5, 6, 7, 8, 9].map((n) => `a=${n}`));
});

test("expired: the gap is reported, then what is kept comes, and nothing twice", async () => {
  const fake = await connectedClient();
  const handlers = recorder();
  const gaps = [];
  fake.client.on("gap", (gap) => gaps.push(gap));
  fake.client.subscribe("a", handlers);
  await fake.sockets[0].accept({ epoch: "e1", offset: 2 });
  const socket = await reconnect(fake);
  await socket.reply({ topic: "a", position: { epoch: "e1", offset: 9 }, recovered: false });
  await socket.receive({ type: "gap", topic: "a", from: 3, to: 7, reason: "expired" });
  for (const offset of [2, 8, 9, 10]) await socket.receive(message("a", offset));
  assert.deepEqual(handlers.log, ["subscribed", "subscribed", "a 3-7 expired", "a=8", "a=9", "a=10"]);
  assert.deepEqual(gaps, [{ topic: "a", from: 3, to: 7, reason: "expired" }]);
});

test("lost before the gap was reported: it is reported on the next connection", async () => {
  const fake = await connectedClient();
  const handlers = recorder();
  fake.client.subscribe("a", handlers);
  await fake.sockets[0].accept({ epoch: "e1", offset: 2 });
  const second = await reconnect(fake);
  await second.reply({ topic: "a", position: { epoch: "e1", offset: 2000 }, recovered: false });
  const third = await reconnect(fake);
  assert.deepEqual(third.sent[0].since, { epoch: "e1", offset: 2 });
});

test("a new epoch is new from its first message, also those with offsets known from the old one", async () => {
  const fake = await connectedClient();
  const handlers = recorder();
  const subscription = fake.client.subscribe("a", handlers);
  await fake.sockets[0].accept({ epoch: "e1", offset: 7 });
  const socket = await reconnect(fake);
  await socket.reply({ topic: "a", position: { epoch: "e2", offset: 2 }, recovered: false });
  for (const offset of [1, 2, 3]) await socket.receive(message("a", offset));
  assert.deepEqual(handlers.log, ["subscribed", "subscribed", "a=1", "a=2", "a=3"]);
  assert.deepEqual(subscription.position, { epoch: "e2", offset: 3 });
});

test("live only: no message from before arrives, and the position is the topic's", async () => {
  const fake = await connectedClient();
  const handlers = recorder();
  const subscription = fake.client.subscribe("a", handlers, { onLost: "live" });
  await fake.sockets[0].accept({ epoch: "e1", offset: 7 });
  const socket = await reconnect(fake);
  assert.equal(socket.sent[0].last, undefined);
  await socket.reply({ topic: "a", position: { epoch: "e2", offset: 4 }, recovered: false });
  assert.deepEqual(subscription.position, { epoch: "e2", offset: 4 });
  await socket.receive({ type: "gap", topic: "a", from: 1, to: 4, reason: "reset" });
  await socket.receive(message("a", 5));
  assert.deepEqual(handlers.log, ["subscribed", "subscribed", "a 1-4 reset", "a=5"]);
});

test("the position moves over gaps, and a hole that no gap reports is reported too", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  const gaps = [];
  client.on("gap", ({ reason }) => gaps.push(reason));
  const subscription = client.subscribe("a", handlers);
  await socket.accept({ epoch: "e1", offset: 1 });
  await socket.receive({ type: "gap", topic: "a", from: 2, to: 4, reason: "conflated" });
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 4 });
  await socket.receive(message("a", 5));
  await socket.receive(message("a", 8));
  assert.deepEqual(handlers.log, ["subscribed", "a 2-4 conflated", "a=5", "a 6-7 unknown", "a=8"]);
  assert.deepEqual(gaps, ["conflated", "unknown"]);
});

test("what is removed is told to the subscription of its topic", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const removed = [];
  const handlers = (name) => ({ onRemoved: ({ topic, offset }) => removed.push(`${name} ${topic} ${offset}`) });
  client.subscribe("a", handlers("own"));
  await socket.accept({ epoch: "e1", offset: 1 });
  await socket.receive({ type: "removed", topic: "a", offset: 1 });
  await socket.receive({ type: "removed", topic: "b", offset: 1 });
  assert.deepEqual(removed, ["own a 1"]);
});

test("what is published without echo is no hole, whether its answer or the next message comes first", async () => {
  const fake = await connectedClient();
  const { client, sockets } = fake;
  const handlers = recorder();
  client.publish("a", 0, { echo: false });
  const subscription = client.subscribe("a", handlers);
  const [first] = sockets[0].sent.splice(0, 1);
  await sockets[0].accept({ epoch: "e1", offset: 1 });
  await sockets[0].receive({ type: "ok", id: first.id, position: { epoch: "e1", offset: 1 } });
  client.publish("a", 0, { echo: false });
  await sockets[0].receive(message("a", 3));
  await sockets[0].reply({ position: { epoch: "e1", offset: 2 } });
  client.publish("a", 0, { echo: false });
  await sockets[0].reply({ position: { epoch: "e1", offset: 4 } });
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 4 });
  const socket = await reconnect(fake);
  assert.equal(socket.sent[0].since.offset, 4);
  assert.deepEqual(handlers.log, ["subscribed", "a=3"]);
});

test("the last messages of a topic may be fewer than asked for: that is no hole", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  const subscription = client.subscribe("a", handlers, { last: 10 });
  await socket.reply({ topic: "a", position: { epoch: "e1", offset: 20 }, more: false });
  for (const offset of [19, 20, 21]) await socket.receive(message("a", offset));
  assert.deepEqual(handlers.log, ["subscribed", "a=19", "a=20", "a=21"]);
  assert.deepEqual(subscription.position, { epoch: "e1", offset: 21 });
});

test("a message that a topic and patterns match reaches each of their handlers once", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const log = [];
  const named = (name) => ({ onMessage: ({ topic, data }) => log.push(`${name} ${topic}=${data}`) });
  client.subscribe("chat.lobby", named("exact"));
  client.subscribeAll(["chat.*", "*.lobby"], named("pattern"));
  client.subscribe(">", named("all"));
  client.subscribe("chat.>", named("below"));
  await socket.accept();
  await socket.receive(message("chat.lobby", 1));
  await socket.receive(message("chat", 1));
  await socket.receive(message("chat.a.b", 1));
  assert.deepEqual(log, [
    "exact chat.lobby=1", "pattern chat.lobby=1", "pattern chat.lobby=1", "all chat.lobby=1", "below chat.lobby=1",
    "all chat=1", "all chat.a.b=1", "below chat.a.b=1",
  ]);
  log.length = 0;
  client.unsubscribeAll([">", "chat.lobby", "chat.*", "*.lobby", "nothing"]);
  await socket.receive(message("chat.lobby", 2));
  assert.deepEqual(log, ["below chat.lobby=2"]);
});

test("patterns are live only: nothing repeated for a topic is theirs, and they return after the topics", async () => {
  const fake = await connectedClient();
  const { client, sockets } = fake;
  const exact = recorder();
  const pattern = recorder();
  client.subscribe("a.b", exact);
  client.subscribe("a.c", {});
  client.subscribe("a.*", pattern);
  await sockets[0].accept({ epoch: "e1", offset: 1 });
  const socket = await reconnect(fake);
  assert.deepEqual(socket.sent.map(({ topics }) => topics.map(({ topic }) => topic)), [["a.b", "a.c"]]);
  const head = { epoch: "e1", offset: 3 };
  await socket.reply({ topics: ["a.b", "a.c"].map((topic) => ({ topic, position: head, recovered: true })) });
  const { id, ...request } = socket.takeSent();
  assert.deepEqual(request, { type: "subscribe", topic: "a.*" });
  await socket.receive({ type: "ok", id, topic: "a.*" });
  for (const offset of [2, 3, 4]) await socket.receive(message("a.b", offset));
  assert.deepEqual(exact.log, ["subscribed", "recovered", "a.b=2", "a.b=3", "a.b=4"]);
  assert.deepEqual(pattern.log, ["subscribed", "subscribed", "a.b=4"]);
});

test("what only a pattern asked for is not taken for the topic that is being subscribed to", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const exact = recorder();
  const pattern = recorder();
  client.subscribe("a.*", pattern);
  await socket.accept();
  client.subscribeAll(["a.b", "a.c", "x", "y"], exact, { last: 3 });
  assert.deepEqual(socket.sent.map(({ topic, topics }) => topic ?? topics.length), ["a.b", "a.c", 2]);
  await socket.receive(message("a.b", 9));
  await socket.reply({ topic: "a.b", position: { epoch: "e1", offset: 9 } });
  for (const offset of [7, 8, 9, 10]) await socket.receive(message("a.b", offset));
  assert.deepEqual(exact.log, ["subscribed", "a.b=7", "a.b=8", "a.b=9", "a.b=10"]);
  assert.deepEqual(pattern.log, ["subscribed", "a.b=9", "a.b=10"]);
});

test("members come with the reply, then joins and leaves, and only their number in large topics", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  client.subscribe("a", handlers, { presence: true });
  const ada = { session: "s1", user: "ada" };
  const bo = { session: "s2", user: "bo" };
  await socket.reply({ topic: "a", position: { epoch: "e1", offset: 0 }, count: 1, members: [ada] });
  await socket.receive({ type: "join", topic: "a", member: bo });
  await socket.receive({ type: "leave", topic: "a", member: ada });
  await socket.receive({ type: "presence", topic: "a", count: 201 });
  await socket.receive({ type: "presence", topic: "a", count: 1, members: [bo] });
  assert.deepEqual(handlers.log, ["subscribed", "1 ada", "a +bo", "a -ada", "201 many", "1 bo"]);
});

test("a member comes with the info of its token", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const seen = [];
  const onJoin = ({ info }) => seen.push(info);
  client.subscribe("a", { onJoin }, { presence: true });
  await socket.reply({ topic: "a", position: { epoch: "e1", offset: 0 }, count: 0, members: [] });
  await socket.receive({ type: "join", topic: "a", member: { session: "s1", user: "ada", info: { name: "Ada" } } });
  await socket.receive({ type: "join", topic: "a", member: { session: "s2", user: "bo" } });
  assert.deepEqual(seen, [{ name: "Ada" }, undefined]);
});

test("subscribing again with other options sends the change, and repeats no message", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const handlers = recorder();
  const problems = [];
  client.on("error", (error) => problems.push(error.code));
  client.subscribe("a", {}, { last: 3 });
  await socket.accept();
  client.subscribe("a", handlers, { presence: true, last: 50, delivery: "latest" });
  const { id, ...request } = socket.takeSent();
  assert.deepEqual(request, { type: "subscribe", topic: "a", delivery: "latest", presence: true });
  await socket.receive({ type: "ok", id, topic: "a", position: { epoch: "e1", offset: 0 }, count: 0, members: [] });
  await socket.receive(message("a", 1));
  client.subscribe("a", handlers, { delivery: "latest" });
  assert.deepEqual(socket.sent, [], "nothing is new");
  client.subscribe("a", handlers, { delivery: "queue" });
  await socket.receive({ type: "error", id: socket.takeSent().id, code: "forbidden", message: "no" });
  await socket.receive(message("a", 2));
  assert.deepEqual(handlers.log, ["0 ", "a=1", "a=2"]);
  assert.deepEqual(problems, ["forbidden"]);
});

test("bytes and the publisher arrive with a message", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const seen = [];
  client.subscribe("a", { onMessage: (each) => seen.push(each) });
  await socket.accept();
  const from = { session: "s9", user: "ada" };
  await socket.receive({ type: "message", topic: "a", offset: 1, time: 5, bytes: "AP8=", from });
  assert.deepEqual(seen, [{ topic: "a", offset: 1, time: 5, bytes: Uint8Array.of(0, 255), from }]);
});

test("a handler may end its own and other subscriptions while replies are read", async () => {
  const { client, sockets: [socket] } = await connectedClient();
  const log = [];
  const [first, second] = client.subscribeAll(["a", "b"], {
    onSubscribed: () => {
      log.push("subscribed");
      client.unsubscribeAll([first, second]);
    },
    onMessage: () => log.push("message"),
  });
  await socket.receive(message("a", 1));
  await socket.accept();
  await assert.rejects(second.ready, { code: "unsubscribed" });
  assert.deepEqual(log, ["subscribed"]);
  assert.equal(socket.sent[0].topics.length, 2);
});

test("connected, disconnected and status agree", async () => {
  const fake = fakeClient();
  const { client, sockets } = fake;
  const reported = [];
  client.on("connected", ({ session, isReturn }) => reported.push(["connected", session, isReturn]));
  client.on("disconnected", ({ code, willReturn }) => reported.push(["disconnected", code, willReturn]));
  client.connect();
  await sockets[0].end(1006);
  await fake.clock.advance(1000);
  await sockets[1].welcome();
  const third = await reconnect(fake);
  await third.accept();
  await third.end(4003);
  client.connect();
  await sockets[3].welcome();
  client.close();
  assert.deepEqual(reported, [
    ["connected", "s2", false], ["disconnected", 1006, true],
    ["connected", "s3", true], ["disconnected", 4003, false],
    ["connected", "s4", true], ["disconnected", 1000, false],
  ]);
});
