/** Sessions by the browser's cookie: when it is renewed, how the next connection takes over, what is a refusal. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fakeClient, settled } from "./fake.js";

/** A client by cookie; `renewals` counts the calls of `refresh`, `problems` are the errors that it emitted. */
function cookieClient({ refresh = () => {}, ...options } = {}) {
  const renewals = [];
  const problems = [];
  const renew = () => {
    renewals.push(renewals.length + 1);
    return refresh(renewals.length);
  };
  const fake = fakeClient({ cookie: { refresh: renew }, ...options });
  fake.client.on("error", ({ code, message }) => problems.push([code, message]));
  return { ...fake, renewals, problems };
}

/** The broker greets a session of a user, and accepts what it subscribes to. */
const greet = (socket, more = {}) => socket.welcome({ user: "ada", ...more });

test("the session has the user of the cookie, and nothing is sent for it", async () => {
  const { client, sockets, renewals } = cookieClient();
  const connected = [];
  client.on("connected", (detail) => connected.push(detail));
  client.connect();
  await greet(sockets[0]);
  assert.deepEqual(connected, [{ session: "s1", user: "ada", isReturn: false }]);
  assert.deepEqual([sockets[0].sent, renewals, client.welcome.user], [[], [], "ada"]);
});

test("the broker warns: the cookie is renewed, and the next connection continues the subscriptions", async () => {
  let renewed;
  const { client, clock, sockets, statuses, renewals } = cookieClient({
    refresh: () => new Promise((resolve) => (renewed = resolve)),
  });
  const disconnected = [];
  client.on("disconnected", (detail) => disconnected.push(detail));
  client.connect();
  client.subscribe("a", {});
  await greet(sockets[0], { expires_at: clock.unixMs() + 60_000 });
  await sockets[0].receive({ type: "message", topic: "a", offset: 1, time: 0, data: 0 });
  for (let time = 0; time < 2; time += 1) await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  assert.deepEqual([renewals.length, sockets.length, client.status.status], [1, 1, "connected"]);
  renewed();
  await settled();
  assert.deepEqual([sockets.length, sockets[0].isClosed, client.status.status], [2, true, "connecting"]);
  await sockets[1].greet({ user: "ada", expires_at: clock.unixMs() + 120_000 });
  assert.deepEqual(sockets[1].sent.map(({ topic, since }) => [topic, since]), [["a", { epoch: "e1", offset: 1 }]]);
  await sockets[1].accept({ epoch: "e1", offset: 1 }, { recovered: true });
  assert.deepEqual(statuses, ["connecting", "connected", "connecting", "connected"]);
  assert.deepEqual(disconnected.map(({ willReturn }) => willReturn), [true]);
});

test("what is under way is answered before the next connection, and what is new waits for it", async () => {
  const { client, sockets } = cookieClient({ retriesMax: 0 });
  client.connect();
  await greet(sockets[0]);
  const first = client.publish("a", 1);
  await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  const second = client.publish("a", 2);
  await settled();
  assert.deepEqual(sockets[0].sent.map(({ data }) => data), [1]);
  assert.equal(sockets.length, 1);
  await sockets[0].reply({ position: { epoch: "e1", offset: 1 } });
  assert.equal((await first).position.offset, 1);
  assert.equal(sockets.length, 2);
  await greet(sockets[1]);
  assert.deepEqual(sockets[1].sent.map(({ data }) => data), [2]);
  await sockets[1].reply({ position: { epoch: "e1", offset: 2 } });
  assert.equal((await second).position.offset, 2);
});

test("a reply that does not come holds up the next connection for the longest wait, not for ever", async () => {
  const { client, clock, sockets } = cookieClient({ requestTimeoutMs: 2000 });
  client.connect();
  await greet(sockets[0]);
  client.publish("a", 1, { timeoutMs: 30_000 });
  await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  await clock.advance(1999);
  assert.equal(sockets.length, 1);
  await clock.advance(1);
  assert.equal(sockets.length, 2);
  await greet(sockets[1]);
  assert.deepEqual(sockets[1].sent.map(({ data }) => data), [1], "with its key, by which it takes effect once");
});

test("a broker that closes meanwhile is obeyed", async () => {
  let renewed;
  const { client, sockets } = cookieClient({ refresh: () => new Promise((resolve) => (renewed = resolve)) });
  client.connect();
  await greet(sockets[0]);
  await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  await sockets[0].receive({ type: "closing", code: 1001, message: "drain", retry_after_ms: 3000 });
  renewed();
  await settled();
  assert.equal(sockets.length, 1);
  await sockets[0].end(1001);
  assert.equal(client.status.retryInMs, 3250);
});

test("a warning that comes together with the welcome is not missed", async () => {
  const { client, clock, sockets, renewals } = cookieClient();
  client.connect();
  const expires_at = clock.unixMs() + 1000;
  const welcome = { type: "welcome", session: "s1", user: "ada", expires_at, features: [], limits: {} };
  await Promise.all([sockets[0].receive(welcome), sockets[0].receive({ type: "token_expiring", expires_at })]);
  assert.deepEqual([renewals.length, sockets.length], [1, 2]);
});

test("a renewed cookie that is no newer is reported, renewed again three times, and then left to end", async () => {
  const { client, clock, sockets, renewals, problems } = cookieClient();
  client.connect();
  const expires_at = clock.unixMs() + 60_000;
  await greet(sockets[0], { expires_at });
  await sockets[0].receive({ type: "token_expiring", expires_at });
  for (let renewal = 1; renewal <= 3; renewal += 1) {
    assert.deepEqual([renewals.length, sockets.length], [renewal, renewal + 1]);
    await greet(sockets[renewal], { expires_at });
    await sockets[renewal].receive({ type: "token_expiring", expires_at });
    await clock.advance(4999);
    assert.equal(sockets.length, renewal + 1, "not at once");
    await clock.advance(1);
  }
  assert.deepEqual([renewals.length, sockets.length, client.status.status], [3, 4, "connected"]);
  assert.deepEqual(problems, Array(3).fill(["no_cookie", "the refresh callback brought no newer cookie"]));
});

test("a refresh that fails or takes too long is reported and tried again, and the connection goes on", async () => {
  const refresh = (time) => {
    if (time === 1) throw new Error("offline");
    return time === 2 ? new Promise(() => {}) : undefined;
  };
  const { client, clock, sockets, renewals, problems } = cookieClient({ refresh });
  client.connect();
  await greet(sockets[0]);
  await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  assert.deepEqual(problems, [["no_cookie", "the refresh callback failed"]]);
  await clock.advance(5000);
  await clock.advance(10_000);
  assert.deepEqual(problems.slice(1), [["no_cookie", "the refresh callback took too long"]]);
  assert.deepEqual([renewals.length, sockets.length, client.status.status], [2, 1, "connected"]);
  await clock.advance(5000);
  assert.deepEqual([renewals.length, sockets.length], [3, 2]);
});

test("closed because the cookie ended or was revoked: renewed before the next handshake", async () => {
  for (const code of [4001, 4002]) {
    let renewed;
    const { client, clock, sockets } = cookieClient({ refresh: () => new Promise((resolve) => (renewed = resolve)) });
    client.connect();
    await greet(sockets[0]);
    await sockets[0].end(code);
    await clock.advance(client.status.retryInMs);
    assert.deepEqual([sockets.length, client.status.status], [1, "connecting"]);
    renewed();
    await settled();
    await greet(sockets[1]);
    assert.equal(client.status.status, "connected");
  }
});

test("a refresh that fails before a handshake is an attempt that failed, and no refusal", async () => {
  const refresh = (time) => (time <= 5 ? Promise.reject(new Error("offline")) : undefined);
  const { client, clock, sockets, renewals } = cookieClient({ refresh });
  client.connect();
  await greet(sockets[0]);
  await sockets[0].end(4002);
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    await clock.advance(client.status.retryInMs);
    assert.deepEqual([renewals.length, client.status.status], [attempt, "disconnected"]);
    assert.equal(client.status.reason, "the refresh callback failed");
  }
  await clock.advance(client.status.retryInMs);
  await greet(sockets[1]);
  assert.equal(client.status.status, "connected");
});

test("sessions without a user, closes, and handshakes that fail after them: three in a row end it", async () => {
  const refusals = [
    (socket) => socket.greet(),
    (socket) => socket.end(4001),
    (socket) => socket.greet({ user: "ada" }).then(() => socket.end(4001)),
    (socket) => socket.end(1006),
  ];
  for (const first of refusals.slice(0, 3)) {
    for (const later of refusals) {
      const { client, clock, sockets, renewals } = cookieClient();
      const connected = client.connect();
      connected.catch(() => {});
      client.subscribe("a", {});
      for (const [attempt, refuse] of [first, later, later].entries()) {
        await refuse(sockets[attempt]);
        assert.deepEqual(sockets[attempt].sent.filter(({ type }) => type !== "subscribe"), []);
        if (attempt < 2) await clock.advance(client.status.retryInMs);
      }
      assert.deepEqual([client.status.status, client.status.code, renewals.length], ["closed", 4001, 2]);
      await clock.advance(600_000);
      assert.equal(sockets.length, 3);
    }
  }
});

test("a session without a user subscribes to nothing: its refusals would be final", async () => {
  const { client, sockets } = cookieClient();
  client.connect();
  client.subscribe("a", {});
  await sockets[0].greet();
  assert.deepEqual([sockets[0].sent, sockets[0].isClosed], [[], true]);
});

test("without refresh the application renews the cookie by itself: tried until it is refused three times", async () => {
  const { client, clock, sockets } = fakeClient({ cookie: true });
  client.connect();
  await greet(sockets[0]);
  await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  assert.equal(sockets.length, 1);
  await sockets[0].end(4002);
  await clock.advance(client.status.retryInMs);
  await greet(sockets[1]);
  assert.equal(client.status.status, "connected", "the cookie was new");
  await clock.advance(5000);
  await sockets[1].end(4002);
  for (let attempt = 2; attempt <= 3; attempt += 1) {
    await clock.advance(client.status.retryInMs);
    await sockets[attempt].end(1006);
  }
  assert.deepEqual(client.status, { status: "closed", code: 4002, reason: "the token expired" });
});

test("a cookie that is known to have ended is renewed before a handshake, or refused where that fails", async () => {
  for (const cookie of [true, { refresh: () => {} }]) {
    const { client, clock, sockets } = fakeClient({ cookie });
    client.connect();
    await greet(sockets[0], { expires_at: clock.unixMs() + 8000 });
    await clock.advance(8000);
    await sockets[0].end(1006);
    await clock.advance(client.status.retryInMs);
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      await sockets[attempt].end(1006);
      await clock.advance(client.status.retryInMs ?? 0);
    }
    assert.equal(client.status.status, cookie === true ? "closed" : "connecting");
  }
});

test("handshakes that fail for a minute may mean a cookie that is no good: renewed, once a minute", async () => {
  const { client, clock, sockets, renewals } = cookieClient();
  client.connect();
  await greet(sockets[0]);
  await clock.advance(20_000);
  const startedAt = clock.now();
  const renewedAt = [];
  while (clock.now() - startedAt < 200_000) {
    const before = renewals.length;
    await sockets.at(-1).end(1006);
    await clock.advance(client.status.retryInMs);
    if (renewals.length > before) renewedAt.push(Math.floor((clock.now() - startedAt) / 60_000));
  }
  assert.deepEqual(renewedAt, [1, 2, 3]);
  const first = cookieClient();
  first.client.connect();
  await first.sockets[0].end(1006);
  assert.equal(first.renewals.length, 0);
  await first.clock.advance(first.client.status.retryInMs);
  assert.equal(first.renewals.length, 1, "it was never good");
});

test("a client that is closed while the cookie is renewed stays closed, and later begins anew", async () => {
  const renewed = [];
  const { client, clock, sockets } = cookieClient({ refresh: () => new Promise((resolve) => renewed.push(resolve)) });
  client.connect();
  await greet(sockets[0]);
  await sockets[0].end(4002);
  await clock.advance(client.status.retryInMs);
  client.close();
  client.connect();
  assert.equal(sockets.length, 2, "the application has signed in again: nothing to renew");
  renewed[0]();
  await settled();
  assert.equal(sockets.length, 2);
  await greet(sockets[1]);
  await sockets[1].receive({ type: "token_expiring", expires_at: 1 });
  client.close();
  renewed[1]();
  await settled();
  assert.deepEqual([sockets.length, client.status.status], [2, "closed"]);
});

test("the ws package says that a handshake was refused: that is a refusal, other failures are not", async () => {
  for (const [message, status, code] of [
    ["Unexpected server response: 401", "closed", 4001],
    ["Unexpected server response: 403", "closed", 4001],
    ["Unexpected server response: 503", "disconnected", 1006],
  ]) {
    const { client, clock, sockets } = cookieClient();
    client.connect();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      sockets[attempt].onerror({ message });
      await sockets[attempt].end(1006);
      if (attempt < 2) await clock.advance(client.status.retryInMs);
    }
    assert.deepEqual([client.status.status, client.status.code, sockets.length], [status, code, 3], message);
  }
});
