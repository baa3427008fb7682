/** Random schedules of drops and restarts: each message once, in order, every loss reported. A failure names its seed. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RialtoClient } from "../index.js";
import { settled } from "./fake.js";
import { Model, randomFrom } from "./model.js";

const SEEDS = 60;
const PUBLISHES = 60;
const TOPICS = ["t.a", "t.b", "t.c"];
/** Enough for every wait between two attempts. */
const HEALED_AFTER_MS = 30_000;

function clientOf(model, random, requestTimeoutMs) {
  const { clock, WebSocket } = model;
  return new RialtoClient("ws://model.test", {
    WebSocket, clock, network: null, backoff: { random }, requestTimeoutMs, retriesMax: 10 ** 6,
  });
}

/** Writes down what an application receives about each topic: messages with their positions, gaps, lost positions. */
function follow(client, log) {
  for (const topic of TOPICS) {
    const entries = [];
    log.set(topic, entries);
    const subscription = client.subscribe(topic, {
      onMessage: ({ data }) => entries.push({ kind: "message", data, ...subscription.position }),
      onGap: (gap) => entries.push({ kind: "gap", ...gap, epoch: subscription.position.epoch }),
      onSubscribed: ({ position, recovered, previous }) => {
        if (previous !== null) entries.push({ kind: recovered ? "recovered" : "lost", position, previous });
      },
      onRefused: ({ code }) => entries.push({ kind: code }),
    });
  }
}

async function run(seed, { kept, restarts = false, patienceMs = 10 ** 9 }) {
  const random = randomFrom(seed);
  const model = new Model(random, kept);
  const publisher = clientOf(model, random, 10 ** 9);
  const follower = clientOf(model, random, patienceMs);
  const log = new Map();
  const patternLog = [];
  follow(follower, log);
  follower.subscribe("t.>", { onMessage: ({ topic, data }) => patternLog.push(`${topic} ${data}`) });
  publisher.connect();
  follower.connect();
  const acks = [];
  let published = 0;
  const isIdle = async () => {
    if (await model.carry()) return false;
    await settled();
    return true;
  };
  // Both are there before anything is published: what comes before cannot be missed.
  while (!(await isIdle()));
  while (published < PUBLISHES) {
    const dice = random();
    if (dice < 0.15) {
      published += 1;
      const topic = TOPICS[Math.floor(random() * TOPICS.length)];
      const data = published;
      publisher.publish(topic, data).then(({ position }) => acks.push({ topic, data, ...position }));
    } else if (dice < 0.75) await model.carry();
    else if (dice < 0.79) await model.cut();
    else if (dice < 0.8 && restarts) await model.restart();
    else await model.clock.advance(Math.floor(random() * 500));
  }
  for (const quietUntil = model.clock.now() + HEALED_AFTER_MS; model.clock.now() < quietUntil;) {
    while (!(await isIdle()));
    await model.clock.advance(500);
  }
  publisher.close();
  follower.close();
  return { model, log, patternLog, acks };
}

/** Per topic and epoch: messages in order, each as it was published, and together with the gaps nothing left out. */
function checkFollower({ model, log }) {
  for (const [topic, entries] of log) {
    let at = null;
    for (const entry of entries) {
      if (entry.kind === "recovered") assert.deepEqual(entry.previous.epoch, entry.position.epoch);
      else if (entry.kind === "timeout") continue;
      else if (entry.kind === "lost") at = at?.epoch === entry.position.epoch ? at : null;
      else {
        const { epoch, offset } = entry.kind === "gap" ? { ...entry, offset: entry.to } : entry;
        const from = entry.kind === "gap" ? entry.from : offset;
        if (at?.epoch === epoch) assert.equal(from, at.offset + 1, `${topic}: a hole or a repetition`);
        assert.notEqual(entry.reason, "unknown");
        if (entry.kind === "message") {
          const source = model.past.find((each) => each.name === topic && each.epoch === epoch);
          assert.equal(entry.data, source.messages[offset - 1], `${topic}: not what was published`);
        }
        at = { epoch, offset };
      }
    }
    const handed = entries.filter(({ kind }) => kind === "message").map(({ epoch, offset }) => `${epoch} ${offset}`);
    assert.equal(new Set(handed).size, handed.length, `${topic}: an offset was handed out twice`);
    const { epoch, offset } = model.topic(topic).head;
    const last = entries.findLast(({ kind }) => kind === "message" || kind === "gap");
    if (offset > 0) assert.deepEqual([last.epoch, last.offset ?? last.to], [epoch, offset], `${topic}: not caught up`);
  }
}

function checkAcks({ model, acks }) {
  for (const { topic, data, epoch, offset } of acks) {
    const source = model.past.find((each) => each.name === topic && each.epoch === epoch);
    assert.equal(source.messages[offset - 1], data, `${topic}: acked and not there`);
  }
  assert.equal(acks.length, PUBLISHES, "every publish was answered");
}

/** Runs all seeds; `kind` is what the schedules must bring about, or they would show nothing. */
function each(name, { kind, ...options }, check) {
  test(name, async () => {
    let seen = 0;
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      try {
        const result = await run(seed, options);
        check(result);
        for (const entries of result.log.values()) seen += entries.filter((entry) => entry.kind === kind).length;
      } catch (error) {
        error.message = `seed ${seed}: ${error.message}`;
        throw error;
      }
    }
    assert.ok(seen >= SEEDS, `${kind} came about ${seen} times only`);
  });
}

const CUTS = { kind: "recovered", kept: 1000 };
each("connections are cut: every message arrives once, in order, and is published once", CUTS, (result) => {
  checkFollower(result);
  checkAcks(result);
  const { model, log, patternLog } = result;
  const ordered = TOPICS.flatMap((topic) => model.topic(topic).messages);
  assert.deepEqual([...ordered].sort((a, b) => a - b), Array.from({ length: PUBLISHES }, (_, index) => index + 1));
  for (const topic of TOPICS) {
    const data = log.get(topic).filter(({ kind }) => kind === "message").map((entry) => entry.data);
    assert.deepEqual(data, model.topic(topic).messages);
    assert.deepEqual(data, [...data].sort((a, b) => a - b), `${topic}: not in the order of the publisher`);
  }
  assert.equal(new Set(patternLog).size, patternLog.length, "a pattern's handler got a message twice");
});

const LATE = { kind: "timeout", kept: 1000, patienceMs: 700 };
each("replies come too late: what is asked for once more arrives once", LATE, (result) => {
  checkFollower(result);
  for (const topic of TOPICS) {
    const data = result.log.get(topic).filter(({ kind }) => kind === "message").map((entry) => entry.data);
    assert.deepEqual(data, result.model.topic(topic).messages);
  }
});

const SHORT = { kind: "gap", kept: 3 };
each("history is short: what has expired is reported, and the rest arrives once, in order", SHORT, (result) => {
  checkFollower(result);
  checkAcks(result);
});

const RESTARTS = { kind: "lost", kept: 1000, restarts: true };
each("the broker forgets everything: each epoch is reported and arrives in order, once", RESTARTS, (result) => {
  checkFollower(result);
  checkAcks(result);
  const { model, log } = result;
  for (const topic of TOPICS) {
    const { epoch, messages } = model.topic(topic);
    const handed = log.get(topic).filter((entry) => entry.kind === "message" && entry.epoch === epoch);
    assert.deepEqual(handed.map(({ data }) => data), messages, `${topic}: all of the newest epoch`);
  }
});
