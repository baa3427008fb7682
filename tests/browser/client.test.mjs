/** The JavaScript client in Chromium, while its broker is killed and its network fails. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Broker } from "./broker.mjs";
import { Proxy } from "./proxy.mjs";
import { becomes, launchChromium, Window } from "./window.mjs";

const SCENARIO = { timeout: 120_000 };
const RULES = `
[[topic]]
pattern = "news.*"
history = { messages = 1000 }
`;

let broker;
let proxy;
let browser;

before(async () => {
  [broker, browser] = await Promise.all([Broker.start(RULES), launchChromium()]);
  proxy = await Proxy.start(broker.port);
}, SCENARIO);

after(async () => {
  await browser?.close();
  await proxy?.stop();
  await broker?.stop();
});

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** A page with a client of its own at this port; what a topic brings is in `window.received`. */
async function open(port, topic) {
  const window = await Window.open(browser, `http://127.0.0.1:${port}/`);
  await window.page.evaluate(async (followed) => {
    const { RialtoClient } = await import("/sdk/index.js");
    const received = { data: [], gaps: [], recovered: [] };
    const client = new RialtoClient("/ws", { requestTimeoutMs: 60_000, backoff: { initialMs: 50, maxMs: 500 } });
    client.subscribe(followed, {
      onMessage: ({ data }) => received.data.push(data),
      onGap: (gap) => received.gaps.push(gap),
      onSubscribed: ({ recovered }) => received.recovered.push(recovered),
    });
    await client.connect();
    Object.assign(globalThis, { received, client });
  }, topic);
  return window.page;
}

const publish = (page, topic, list) =>
  page.evaluate(([to, all]) => Promise.all(all.map((number) => globalThis.client.publish(to, number))), [topic, list]);

const receivedIn = (page) => page.evaluate(() => globalThis.received);

test("the broker is killed, another window publishes meanwhile: all arrives in order, once", SCENARIO, async () => {
  const topic = "news.restart";
  const follower = await open(proxy.port, topic);
  const publisher = await open(broker.port, topic);
  await publish(publisher, topic, numbers(1, 20));
  await becomes(async () => (await receivedIn(follower)).data.length, 20);
  proxy.down();
  await broker.kill();
  await becomes(() => publisher.evaluate(() => globalThis.client.status.status !== "connected"), true);
  const queued = publish(publisher, topic, numbers(21, 40));
  await broker.launch();
  await queued;
  const live = publish(publisher, topic, numbers(41, 60));
  proxy.up();
  await live;
  await becomes(async () => (await receivedIn(follower)).data.length, 60);
  await publish(publisher, topic, [61]);
  const expected = { data: numbers(1, 61), gaps: [], recovered: [false, false] };
  await becomes(() => receivedIn(follower), expected);
});

test("the network fails while another window publishes: recovered, without a gap", SCENARIO, async () => {
  const topic = "news.network";
  const follower = await open(proxy.port, topic);
  const publisher = await open(broker.port, topic);
  await publish(publisher, topic, numbers(1, 5));
  await becomes(async () => (await receivedIn(follower)).data.length, 5);
  proxy.down();
  // More than a page of them.
  await publish(publisher, topic, numbers(6, 500));
  proxy.up();
  await becomes(async () => (await receivedIn(follower)).data.length, 500);
  await publish(publisher, topic, [501]);
  await becomes(() => receivedIn(follower), { data: numbers(1, 501), gaps: [], recovered: [false, true] });
});
