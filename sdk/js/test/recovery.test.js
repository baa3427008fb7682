/** The recovery cases that every client must pass: `sdk/protocol/cases/recovery.json` says what is in them. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { connectedClient } from "./fake.js";

const { cases } = JSON.parse(readFileSync(new URL("../../protocol/cases/recovery.json", import.meta.url), "utf8"));
/** What this client asks for to get all that a topic keeps. */
const ALL = 1000;

const handlersFor = (/** @type {string} */ name, /** @type {string[]} */ reports) => {
  let isFirst = true;
  return {
    onMessage: ({ topic, offset }) => reports.push(`message ${topic} ${offset}`),
    onGap: ({ topic, from, to, reason }) => reports.push(`gap ${topic} ${from}-${to} ${reason}`),
    onSubscribed: ({ position, recovered }) => {
      if (!isFirst) reports.push(`resumed ${name} ${recovered} ${position.epoch} ${position.offset}`);
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
  let pending = [];
  const actions = {
    subscribe: (topics) => {
      // Topics of one call get options of their own only one by one; cases with several topics use none.
      const [{ topic, ...options }] = topics;
      if (topics.length === 1) client.subscribe(topic, handlersFor(topic, reports), options);
      else {
        const each = new Map(topics.map((one) => [one.topic, handlersFor(one.topic, reports)]));
        const subscriptions = client.subscribeAll(each.keys(), {});
        for (const one of subscriptions) client.subscribe(one.topic, each.get(one.topic));
      }
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
    receive: (frame) => sockets.at(-1).receive(frame),
    cut: async () => {
      await sockets.at(-1).end(1006);
      await clock.advance(client.status.retryInMs);
      await sockets.at(-1).greet();
    },
    reports: (expected) => assert.deepEqual(reports.splice(0), expected),
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

test("every recovery case ran", () => assert.ok(cases.length >= 12 && ran === cases.length, `${ran}`));
