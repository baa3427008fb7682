/** Tokens: when the application is asked for one, what the broker is sent, and what a refusal does. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fakeClient, settled } from "./fake.js";

/** A client with tokens t1, t2, …; `problems` are the errors that it emitted. */
function tokenClient(options = {}) {
  const problems = [];
  let count = 0;
  const fake = fakeClient({ token: async () => `t${(count += 1)}`, ...options });
  fake.client.on("error", (error) => problems.push(error));
  return { ...fake, problems, count: () => count };
}

/** The broker takes the token that waits. */
async function authorize(socket, fields = {}) {
  const { type, token } = socket.sent[0];
  assert.equal(type, "connect");
  await socket.reply({ user: "ada", ...fields });
  return token;
}

test("the token goes first, then the subscriptions, then what waits", async () => {
  const { client, sockets } = tokenClient();
  client.connect();
  client.subscribe("a", {});
  client.publish("a", 1);
  await sockets[0].greet();
  assert.deepEqual(sockets[0].sent, [{ id: 1, type: "connect", token: "t1", client: "rialto-client-js/0.1.0" }]);
  await authorize(sockets[0]);
  assert.deepEqual(sockets[0].sent.map(({ type }) => type), ["subscribe", "publish"]);
  const connected = [];
  client.on("connected", (detail) => connected.push(detail));
  await sockets[0].accept();
  assert.deepEqual(connected, [{ session: "s1", user: "ada", isReturn: false }]);
  assert.equal(client.welcome.user, "ada");
});

test("a new token is shown before the old one expires, on the same connection", async () => {
  const { client, clock, sockets, count } = tokenClient();
  client.connect();
  await sockets[0].greet();
  await authorize(sockets[0], { expires_at: clock.unixMs() + 30_000 });
  assert.equal(client.status.status, "connected");
  await clock.advance(26_999);
  assert.equal(count(), 1);
  await clock.advance(1);
  const second = sockets[0].sent.find(({ type }) => type === "connect");
  assert.equal(second.token, "t2");
  assert.equal(sockets.length, 1);
});

test("the broker warns of a token that is about to expire: another one is shown at once", async () => {
  const { client, sockets, count } = tokenClient();
  client.connect();
  await sockets[0].greet();
  await authorize(sockets[0]);
  await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  const [renewal] = sockets[0].sent.filter(({ type }) => type === "connect");
  assert.equal(renewal.token, "t2");
  assert.deepEqual([count(), sockets.length, client.status.status], [2, 1, "connected"]);
});

test("a token that lasts for years sets no timer that browsers take for none", async () => {
  const { client, clock, sockets, count } = tokenClient();
  client.connect();
  await sockets[0].greet();
  const waits = [];
  const { setTimeout } = clock;
  clock.setTimeout = (callback, delayMs) => {
    waits.push(delayMs);
    return setTimeout(callback, delayMs);
  };
  await authorize(sockets[0], { expires_at: clock.unixMs() + 10 ** 12 });
  assert.equal(Math.max(...waits), 2 ** 31 - 1);
  assert.equal(count(), 1);
});

test("closed because the token expired: back with another one", async () => {
  const { client, clock, sockets } = tokenClient();
  client.connect();
  await sockets[0].greet();
  await authorize(sockets[0]);
  await sockets[0].end(4002);
  assert.equal(client.status.status, "disconnected");
  await clock.advance(client.status.retryInMs);
  await sockets[1].greet();
  assert.equal(await authorize(sockets[1]), "t2");
  assert.equal(client.status.status, "connected");
});

for (const [code, close] of [["unauthorized", 4001], ["expired", 4002]]) {
  test(`a token refused with ${code} is replaced, and given up after three`, async () => {
    const { client, clock, sockets, count } = tokenClient();
    const connected = client.connect();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await sockets[attempt].greet();
      const { id } = sockets[attempt].takeSent();
      await sockets[attempt].receive({ type: "error", id, code, message: "no" });
      assert.ok(sockets[attempt].isClosed);
      if (attempt < 2) await clock.advance(client.status.retryInMs);
    }
    await assert.rejects(connected, { code: "closed" });
    assert.deepEqual(client.status, { status: "closed", code: close, reason: "no" });
    assert.equal(count(), 3);
  });
}

test("a callback that fails, returns nothing or takes too long is asked again later, and its error emitted", async () => {
  const answers = [
    () => { throw new Error("thrown"); },
    () => Promise.reject(new Error("offline")),
    () => "",
    () => new Promise(() => {}),
    () => "good",
  ];
  const { client, clock, sockets, problems } = tokenClient({ token: () => answers.shift()() });
  client.connect();
  for (let attempt = 0; attempt < 4; attempt += 1) {
    await sockets[attempt].greet();
    if (attempt === 3) await clock.advance(10_000);
    assert.equal(client.status.status, "disconnected");
    await clock.advance(client.status.retryInMs);
  }
  await sockets[4].greet();
  assert.equal(await authorize(sockets[4]), "good");
  assert.deepEqual(problems.map(({ code, cause }) => [code, cause?.message]), [
    ["no_token", "thrown"], ["no_token", "offline"], ["no_token", undefined], ["no_token", undefined],
  ]);
});

test("a refresh that is refused is reported and tried again, and the connection goes on", async () => {
  const { client, clock, sockets, problems } = tokenClient();
  client.connect();
  await sockets[0].greet();
  await authorize(sockets[0], { expires_at: clock.unixMs() + 20_000 });
  await clock.advance(18_000);
  const { id } = sockets[0].takeSent();
  await sockets[0].receive({ type: "error", id, code: "unauthorized", message: "no" });
  assert.deepEqual(problems.map(({ code }) => code), ["unauthorized"]);
  await clock.advance(5000);
  assert.equal(await authorize(sockets[0]), "t3");
  assert.equal(client.status.status, "connected");
  assert.equal(sockets.length, 1);
});

test("an error without a request that says the token is no good asks for another, once", async () => {
  const { client, sockets, count } = tokenClient();
  client.connect();
  await sockets[0].greet();
  await authorize(sockets[0]);
  for (let time = 0; time < 2; time += 1) {
    await sockets[0].receive({ type: "error", code: "expired", message: "the token expired" });
  }
  assert.equal(count(), 2);
  assert.equal(await authorize(sockets[0]), "t2");
});

test("refused for good, or with a hint: the client does what the broker says", async () => {
  const { client, clock, sockets } = tokenClient();
  client.connect();
  await sockets[0].greet();
  const refusal = { type: "error", id: 1, code: "busy", message: "later", retry_after_ms: 7000 };
  await sockets[0].receive(refusal);
  assert.equal(client.status.retryInMs, 7250);
  await clock.advance(7250);
  await sockets[1].greet();
  await sockets[1].receive({ type: "error", id: 1, code: "forbidden", message: "banned" });
  assert.equal(client.status.status, "closed");
  assert.equal(client.status.reason, "banned");
});

test("a connection that ends while the token is fetched is left alone", async () => {
  let resolveToken;
  const { client, clock, sockets } = fakeClient({ token: () => new Promise((resolve) => (resolveToken = resolve)) });
  client.connect();
  await sockets[0].greet();
  await sockets[0].end(1006);
  const late = resolveToken;
  await clock.advance(250);
  await sockets[1].greet();
  late("old");
  await settled();
  assert.deepEqual(sockets[0].sent, []);
  assert.deepEqual(sockets[1].sent, []);
  resolveToken("new");
  await settled();
  assert.equal(sockets[1].sent[0].token, "new");
});
