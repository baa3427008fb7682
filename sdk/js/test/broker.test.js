/** The client in Node against a real broker: killed, started again, behind a network that fails, asked for all it has. */

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { WebSocket as WsSocket } from "ws";

import { Broker } from "../../../tests/browser/broker.mjs";
import { Proxy } from "../../../tests/browser/proxy.mjs";
import { becomes } from "../../../tests/browser/window.mjs";
import { RialtoClient } from "../index.js";

const SCENARIO = { timeout: 60_000 };
const RULES = `
[[topic]]
pattern = "news.>"
history = { messages = 10000 }
presence = true

[[topic]]
pattern = "short.*"
history = { messages = 5 }
`;
/** A killed broker is noticed at once; what waits for it must outlast its absence. */
const PATIENT = { requestTimeoutMs: 60_000, backoff: { initialMs: 50, maxMs: 500 }, retriesMax: 1000 };

assert.ok(globalThis.WebSocket, "Node's own WebSocket is missing: node --experimental-websocket");
const KINDS = { "the ws package": WsSocket, "Node's own WebSocket": globalThis.WebSocket };

let broker;
const clients = [];
const proxies = [];

before(async () => {
  broker = await Broker.start(RULES);
}, SCENARIO);

after(async () => {
  await broker?.stop();
});

function clientAt(port, WebSocket = WsSocket, options = {}) {
  const client = new RialtoClient(`ws://127.0.0.1:${port}/ws`, { WebSocket, ...PATIENT, ...options });
  client.on("error", (error) => assert.fail(error));
  clients.push(client);
  return client;
}

// Also after one that took too long: what stays open keeps the test run from ending.
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const proxy of proxies.splice(0)) await proxy.stop();
});

/** A scenario with a network of its own that can fail. */
function scenario(name, play) {
  test(name, SCENARIO, async () => {
    const proxy = await Proxy.start(broker.port);
    proxies.push(proxy);
    await play(proxy);
  });
}

/** What the handlers of a subscription received, and a promise for the moment when there are so many messages. */
function record() {
  const received = { data: [], gaps: [], subscribed: [] };
  let waiting = [];
  const handlers = {
    onMessage: ({ data }) => {
      received.data.push(data);
      for (const { count, resolve } of waiting) if (received.data.length >= count) resolve();
      waiting = waiting.filter(({ count }) => received.data.length < count);
    },
    onGap: (gap) => received.gaps.push(gap),
    onSubscribed: (subscribed) => received.subscribed.push(subscribed),
  };
  const has = (count) => new Promise((resolve) => {
    if (received.data.length >= count) resolve();
    else waiting.push({ count, resolve });
  });
  return { received, handlers, has };
}

const event = (client, type) => new Promise((resolve) => {
  const stop = client.on(type, (detail) => {
    stop();
    resolve(detail);
  });
});

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

for (const [kind, WebSocket] of Object.entries(KINDS)) {
  const topic = `news.${kind.replace(/\W/g, "-")}`;

  scenario(`${kind}: the broker is killed, others publish meanwhile: all arrives in order, once`, async (proxy) => {
    const { received, handlers, has } = record();
    const follower = clientAt(proxy.port, WebSocket);
    follower.subscribe(topic, handlers);
    const publisher = clientAt(broker.port, WebSocket);
    await Promise.all([follower.connect(), publisher.connect()]);
    const publish = (from, to) => Promise.all(numbers(from, to).map((number) => publisher.publish(topic, number)));
    await publish(1, 20);
    await has(20);
    proxy.down();
    const gone = event(publisher, "disconnected");
    await broker.kill();
    await gone;
    const queued = publish(21, 40);
    await broker.launch();
    await queued;
    const live = publish(41, 60);
    proxy.up();
    await live;
    await publish(61, 80);
    await has(80);
    await publish(81, 81);
    await has(81);
    assert.deepEqual(received.data, numbers(1, 81));
    assert.deepEqual(received.gaps, []);
    assert.deepEqual(received.subscribed.map(({ recovered }) => recovered), [false, false]);
    assert.notEqual(received.subscribed[1].position.epoch, received.subscribed[0].position.epoch);
  });

  scenario(`${kind}: away while others publish, the broker stays: recovered without a gap`, async (proxy) => {
    const { received, handlers, has } = record();
    const follower = clientAt(proxy.port, WebSocket);
    follower.subscribe(`${topic}.away`, handlers);
    const publisher = clientAt(broker.port, WebSocket);
    await Promise.all([follower.connect(), publisher.connect()]);
    const recovered = event(follower, "recovered");
    proxy.down();
    // More than a page of them.
    for (const number of numbers(1, 900)) publisher.publish(`${topic}.away`, number);
    await publisher.publish(`${topic}.away`, 901);
    proxy.up();
    await recovered;
    await publisher.publish(`${topic}.away`, 902);
    await has(902);
    assert.deepEqual(received.data, numbers(1, 902));
    assert.deepEqual(received.gaps, []);
    assert.equal(received.subscribed[1].recovered, true);
  });
}

scenario("history too short for what was missed: the gap is reported, the rest comes", async (proxy) => {
  const { received, handlers, has } = record();
  const follower = clientAt(proxy.port);
  follower.subscribe("short.a", handlers);
  const publisher = clientAt(broker.port);
  await Promise.all([follower.connect(), publisher.connect()]);
  await publisher.publish("short.a", 1);
  await has(1);
  proxy.down();
  for (const number of numbers(2, 20)) await publisher.publish("short.a", number);
  proxy.up();
  await has(6);
  await publisher.publish("short.a", 21);
  await has(7);
  assert.deepEqual(received.data, [1, ...numbers(16, 21)]);
  assert.deepEqual(received.gaps, [{ topic: "short.a", from: 2, to: 15, reason: "expired" }]);
  assert.equal(received.subscribed[1].recovered, false);
});

scenario("only what comes from now on, where the past is lost: the gap is reported, also in a new epoch", async (proxy) => {
  const { received, handlers, has } = record();
  const [kept, live] = [clientAt(proxy.port), clientAt(proxy.port)];
  const replayed = record();
  live.subscribe("short.live", handlers, { onLost: "live" });
  kept.subscribe("short.live", replayed.handlers);
  const publisher = clientAt(broker.port);
  await Promise.all([live, kept, publisher].map((client) => client.connect()));
  await publisher.publish("short.live", 1);
  await Promise.all([has(1), replayed.has(1)]);
  const away = async (from, to) => {
    const back = [live, kept].map((client) => event(client, "connected"));
    for (const number of numbers(from, to)) await publisher.publish("short.live", number);
    proxy.up();
    await Promise.all(back);
  };
  proxy.down();
  await away(2, 10);
  await publisher.publish("short.live", 11);
  await Promise.all([has(2), replayed.has(7)]);
  proxy.down();
  await broker.kill();
  await broker.launch();
  await away(12, 20);
  await publisher.publish("short.live", 21);
  await Promise.all([has(3), replayed.has(13)]);
  assert.deepEqual(received.data, [1, 11, 21]);
  assert.deepEqual(replayed.received.data, [1, ...numbers(6, 11), ...numbers(16, 21)]);
  const spans = ({ gaps }) => gaps.map(({ from, to, reason }) => `${from}-${to} ${reason}`);
  assert.deepEqual(spans(received), ["2-10 expired", "1-9 reset"]);
  assert.deepEqual(spans(replayed.received), ["2-5 expired", "1-4 reset"]);
});

scenario("a network that fails all the time: every message of two publishers once, in their order", async (proxy) => {
  const { received, handlers, has } = record();
  const follower = clientAt(proxy.port);
  const patterns = record();
  follower.subscribe("news.storm", handlers);
  follower.subscribe("news.*", patterns.handlers);
  const publishers = [clientAt(proxy.port), clientAt(proxy.port, globalThis.WebSocket)];
  await Promise.all([follower, ...publishers].map((client) => client.connect()));
  // Cut in the middle of a batch, so that some of it was answered, some acted on, and some never read.
  let cuts = 0;
  let answered = 0;
  const publish = async (publisher, data) => {
    const { position } = await publisher.publish("news.storm", data);
    answered += 1;
    if (answered % 35 === 0) {
      cuts += 1;
      proxy.cut();
    }
    return position;
  };
  const acks = await Promise.all(publishers.map(async (publisher, who) => {
    const positions = [];
    for (const batch of numbers(0, 29)) {
      const all = numbers(batch * 10 + 1, batch * 10 + 10);
      positions.push(...(await Promise.all(all.map((number) => publish(publisher, { who, number })))));
    }
    return positions;
  }));
  await has(600);
  await publishers[0].publish("news.storm", "end");
  await has(601);
  assert.equal(cuts, 17);
  assert.ok(received.subscribed.length > 3, "the follower was cut off too");
  for (const who of [0, 1]) {
    assert.deepEqual(received.data.filter((each) => each.who === who).map(({ number }) => number), numbers(1, 300));
    const offsets = acks[who].map(({ offset }) => offset);
    assert.deepEqual(offsets, [...offsets].sort((a, b) => a - b));
  }
  assert.deepEqual(received.gaps, []);
  assert.equal(received.data.length, 601);
  const seen = patterns.received.data.map((data) => JSON.stringify(data));
  assert.ok(seen.length > 0);
  assert.equal(new Set(seen).size, seen.length, "a pattern's handler got a message twice");
});

scenario("keys, bytes and history are the broker's", async () => {
  const client = clientAt(broker.port);
  await client.connect();
  const first = await client.publish("news.all", { a: 1 }, { key: "k1" });
  const again = await client.publish("news.all", { a: 1 }, { key: "k1" });
  assert.deepEqual(again, { position: first.position, duplicate: true });
  await assert.rejects(client.publish("news.all", { a: 2 }, { key: "k1" }), { code: "key_reused" });
  await client.publish("news.all", Uint8Array.of(1, 2, 255));
  const { position } = await client.publish("news.all", null);
  const { messages, position: head, more } = await client.history("news.all", { limit: 2 });
  assert.deepEqual(messages.map(({ offset, data, bytes }) => [offset, data, bytes]), [
    [2, undefined, Uint8Array.of(1, 2, 255)], [3, null, undefined],
  ]);
  assert.deepEqual([head, more], [position, true]);
  const before = await client.history("news.all", { before: { ...head, offset: 2 } });
  assert.deepEqual([before.messages.length, before.messages[0].data, before.more], [1, { a: 1 }, false]);
  await assert.rejects(client.history("short.b", { since: { epoch: "none", offset: 1 } }), { code: "expired" });
});

scenario("what is published without echo reaches all others, and is no hole for its publisher", async (proxy) => {
  const publisher = clientAt(proxy.port);
  const other = clientAt(broker.port);
  const [own, others] = [record(), record()];
  const subscription = publisher.subscribe("news.echo", own.handlers);
  other.subscribe("news.echo", others.handlers);
  await Promise.all([publisher.connect(), other.connect()]);
  for (const number of numbers(1, 6)) await publisher.publish("news.echo", number, { echo: number % 2 === 0 });
  await others.has(6);
  await own.has(3);
  await publisher.publish("news.echo", 7, { echo: false });
  assert.equal(subscription.position.offset, 7);
  const recovered = event(publisher, "recovered");
  proxy.cut();
  await recovered;
  await publisher.publish("news.echo", 8);
  await Promise.all([own.has(4), others.has(8)]);
  assert.deepEqual([own.received.data, others.received.data], [[2, 4, 6, 8], numbers(1, 8)]);
  assert.deepEqual([own.received.gaps, others.received.gaps], [[], []]);
});

scenario("a topic that catches up and patterns that select it: each handler has each message once", async (proxy) => {
  const follower = clientAt(proxy.port);
  const [exact, pattern] = [record(), record()];
  follower.subscribe("news.both", exact.handlers);
  follower.subscribeAll(["news.*", "*.both"], pattern.handlers);
  const publisher = clientAt(broker.port);
  await Promise.all([follower.connect(), publisher.connect()]);
  await publisher.publish("news.both", 1);
  await Promise.all([exact.has(1), pattern.has(2)]);
  const publish = (from, to) => Promise.all(numbers(from, to).map((number) => publisher.publish("news.both", number)));
  for (const round of numbers(0, 4)) {
    proxy.down();
    await publish(round * 900 + 2, round * 900 + 701);
    const returned = event(follower, "connected");
    proxy.up();
    // Some of these are published while the missed ones are on their way.
    await publish(round * 900 + 702, round * 900 + 901);
    await returned;
  }
  await publish(4502, 4502);
  await exact.has(4502);
  await becomes(() => pattern.received.data.slice(-2), [4502, 4502]);
  assert.deepEqual(exact.received.data, numbers(1, 4502));
  assert.deepEqual(exact.received.gaps, []);
  // Live only: what was published while away is not theirs; the rest comes to both of them, in order.
  const firsts = pattern.received.data.filter((_, place) => place % 2 === 0);
  assert.deepEqual(pattern.received.data, firsts.flatMap((number) => [number, number]));
  assert.deepEqual(firsts, [...new Set(firsts)].sort((one, other) => one - other));
});

scenario("presence is the broker's", async () => {
  const [client, other, third] = [clientAt(broker.port), clientAt(broker.port), clientAt(broker.port)];
  const joined = [];
  const left = [];
  const counts = [];
  client.subscribe("news.people", {});
  const watching = other.subscribe("news.people", {
    onJoin: ({ session }) => joined.push(session),
    onLeave: ({ session }) => left.push(session),
    onPresence: ({ count }) => counts.push(count),
  }, { presence: true });
  await client.connect();
  await other.connect();
  await watching.ready;
  const { count, members } = await client.presence("news.people");
  const sessions = [client, other].map(({ welcome }) => welcome.session);
  assert.deepEqual([count, members.map(({ session }) => session)], [2, sessions]);
  const subscription = third.subscribe("news.people", {});
  await third.connect();
  await subscription.unsubscribe();
  await becomes(() => left.length, 1);
  assert.deepEqual([counts, joined, left], [[2], [third.welcome.session], [third.welcome.session]]);
});
