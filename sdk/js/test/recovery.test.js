/** The cases that every client must pass: the files of `sdk/protocol/cases` say what is in them. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { connectedClient, fakeClient } from "./fake.js";

const table = (name) => JSON.parse(readFileSync(new URL(`../../protocol/cases/${name}`, import.meta.url), "utf8"));
const { cases } = table("recovery.json");
const { codes } = table("close_codes.json");
const { cases: rateCases } = table("rates.json");
/** What this client asks for to get all that a topic keeps. */
const ALL = 1000;

const handlersFor = (/** @type {string} */ name, /** @type {string[]} */ reports) => {
  let isFirst = true;
  return {
    onMessage: ({ topic, offset }) => reports.push(`message ${topic} ${offset}`),
    onGap: ({ topic, from, to, reason }) => reports.push(`gap ${topic} ${from}-${to} ${reason}`),
    onJoin: ({ session }, topic) => reports.push(`join ${topic} ${session}`),
    onLeave: ({ session }, topic) => reports.push(`leave ${topic} ${session}`),
    onPresence: ({ topic, count }) => reports.push(`presence ${topic} ${count}`),
    onSubscribed: ({ position, recovered }) => {
      const at = position ? ` ${position.epoch} ${position.offset}` : "";
      if (!isFirst) reports.push(`resumed ${name} ${recovered}${at}`);
      isFirst = false;
    },
    onRefused: ({ code, retryAfterMs }) => {
      if (retryAfterMs === null) reports.push(`ended ${name} ${code}`);
    },
  };
};

/** One case: the client, and the subscribe frames that are not answered yet. */
async function run({ steps }) {
  const fake = await connectedClient();
  const { client, clock, sockets } = fake;
  const reports = [];
  const events = [];
  let pending = [];
  let publish;
  client.on("gap", ({ topic, from, to, reason }) => events.push(`gap ${topic} ${from}-${to} ${reason}`));
  client.on("pushed", ({ type }) => events.push(`pushed ${type}`));
  const actions = {
    subscribe: (topics) => {
      const [{ topic: _, ...options }] = topics;
      for (const { topic, ...more } of topics) assert.deepEqual(more, options, topic);
      const each = new Map(topics.map(({ topic }) => [topic, handlersFor(topic, reports)]));
      const subscriptions = client.subscribeAll(each.keys(), {}, options);
      for (const one of subscriptions) client.subscribe(one.topic, each.get(one.topic));
    },
    requests: (expected) => {
      pending = sockets.at(-1).sent.splice(0).filter(({ type }) => type === "subscribe");
      const topics = pending.flatMap(({ id, type, topics: list, ...one }) => list ?? [one]);
      assert.deepEqual(topics, expected.map((one) => (one.last === "all" ? { ...one, last: ALL } : one)));
    },
    accept: async (outcomes) => {
      for (const { id, topic, topics } of pending.splice(0)) {
        const items = (topics ?? [{ topic }]).map((one) => ({ topic: one.topic, ...outcomes[one.topic] }));
        const error = topics ? undefined : items[0].error;
        const fields = topics ? { topics: items } : items[0];
        await sockets.at(-1).receive(error ? { type: "error", id, ...error } : { type: "ok", id, ...fields });
      }
    },
    refuse: async (error) => {
      for (const { id } of pending.splice(0)) await sockets.at(-1).receive({ type: "error", id, ...error });
    },
    receive: (frame) => sockets.at(-1).receive(frame),
    flood: async ({ topic, from, to }) => {
      const offsets = Array.from({ length: to - from + 1 }, (_, index) => from + index);
      const sent = offsets.map((offset) => sockets.at(-1).receive({ type: "message", topic, offset, time: 0, data: 0 }));
      await Promise.all(sent);
    },
    publish: (topic) => {
      client.publish(topic, 0, { echo: false });
      publish = sockets.at(-1).sent.splice(0).find(({ type }) => type === "publish");
    },
    published: (position) => sockets.at(-1).receive({ type: "ok", id: publish.id, position }),
    wait_ms: (ms) => clock.advance(ms),
    cut: async () => {
      await sockets.at(-1).end(1006);
      await clock.advance(client.status.retryInMs);
      await sockets.at(-1).greet();
    },
    reports: (expected) => assert.deepEqual(reports, expected),
    report_count: (expected) => assert.equal(reports.length, expected),
    events: (expected) => assert.deepEqual(events, expected),
  };
  for (const step of steps) {
    const [[name, value]] = Object.entries(step);
    await actions[name](value);
  }
}

let ran = 0;
for (const each of cases) {
  test(`recovery: ${each.name}`, async () => {
    await run(each);
    ran += 1;
  });
}

test("every recovery case ran", () => assert.ok(cases.length >= 39 && ran === cases.length, `${ran}`));

test("every close code means what the table says", async () => {
  assert.ok(codes.length >= 26, `${codes.length}`);
  for (const { code, reconnect } of codes) {
    const { client, sockets } = await connectedClient();
    await sockets[0].end(code);
    assert.equal(client.status.status, reconnect ? "disconnected" : "closed", `${code}`);
  }
});

test("every rate that the broker says is shown", async () => {
  assert.ok(rateCases.length >= 6, `${rateCases.length}`);
  for (const { name, welcome, connected, shown } of rateCases) {
    const { client, sockets } = fakeClient({ token: () => "t" });
    client.connect();
    await sockets[0].greet({ limits: { message_bytes: 65_536, ...(welcome && { rates: welcome }) } });
    assert.deepEqual(client.welcome.limits.rates ?? null, welcome, name);
    await sockets[0].reply({ user: "ann", ...(connected && { rates: connected }) });
    assert.equal(client.status.status, "connected", name);
    assert.deepEqual(client.welcome.limits.rates ?? null, shown, name);
    assert.equal(client.welcome.limits.message_bytes, 65_536, name);
  }
});

test("a reset gap of a new epoch is reported although the position is after it", async () => {
  const { client, clock, sockets } = await connectedClient();
  const reports = [];
  const accept = (offset, epoch) => {
    const { id } = sockets.at(-1).sent.splice(0).find(({ type }) => type === "subscribe");
    return sockets.at(-1).receive({ type: "ok", id, topic: "a", position: { epoch, offset }, recovered: false });
  };
  client.subscribe("a", { onGap: ({ from, to, reason }) => reports.push([from, to, reason]) }, { onLost: "live" });
  await accept(7, "e1");
  await sockets.at(-1).end(1006);
  await clock.advance(client.status.retryInMs);
  await sockets.at(-1).greet();
  await accept(3, "e2");
  await sockets.at(-1).receive({ type: "gap", topic: "a", from: 1, to: 3, reason: "reset" });
  assert.deepEqual(reports, [[1, 3, "reset"]]);
});
