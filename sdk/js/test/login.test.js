/** Name and password: what `connect` is sent, what a refusal does, and that nothing else ever shows the password. */

import assert from "node:assert/strict";
import { inspect } from "node:util";
import { test } from "node:test";

import { RialtoClient } from "../index.js";
import { fakeClient } from "./fake.js";

const PASSWORD = "correct horse";
const LOGIN = { user: "ada", password: PASSWORD };
const REFUSAL = { type: "error", code: "unauthorized", message: "no" };

test("name and password go first, on every connection", async () => {
  const { client, clock, sockets } = fakeClient({ login: LOGIN });
  client.connect();
  client.subscribe("a", {});
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await sockets[attempt].greet();
    assert.deepEqual(sockets[attempt].sent, [
      { id: 1, type: "connect", user: "ada", password: PASSWORD, client: "rialto-client-js/0.1.0" },
    ]);
    await sockets[attempt].reply({ user: "ada" });
    await sockets[attempt].accept();
    assert.deepEqual([client.status.status, client.welcome.user], ["connected", "ada"]);
    await sockets[attempt].end(1006);
    await clock.advance(client.status.retryInMs);
  }
});

test("a password that is always the same is refused once; one that was good before is sent again", async () => {
  const { client, clock, sockets } = fakeClient({ login: LOGIN });
  const connected = client.connect();
  await sockets[0].greet();
  await sockets[0].receive({ ...REFUSAL, id: 1 });
  await assert.rejects(connected, { code: "closed" });
  assert.deepEqual(client.status, { status: "closed", code: 4001, reason: "no" });

  client.connect();
  await sockets[1].greet();
  await sockets[1].reply({ user: "ada" });
  await sockets[1].end(4001);
  assert.equal(client.status.status, "disconnected");
  await clock.advance(client.status.retryInMs);
  await sockets[2].greet();
  await sockets[2].receive({ ...REFUSAL, id: 1 });
  assert.equal(client.status.status, "closed");
  assert.equal(sockets.length, 3);
});

test("a function is asked on every connection, and after a refusal, at most three times in a row", async () => {
  let count = 0;
  const { client, clock, sockets } = fakeClient({ login: async () => ({ user: "ada", password: `p${(count += 1)}` }) });
  client.connect();
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await sockets[attempt].greet();
    assert.equal(sockets[attempt].takeSent().password, `p${attempt + 1}`);
    await sockets[attempt].receive({ ...REFUSAL, id: 1 });
    if (attempt < 2) await clock.advance(client.status.retryInMs);
  }
  assert.deepEqual([client.status.status, count], ["closed", 3]);
});

test("a session that is about to end is renewed by another connect, on the same connection", async () => {
  const { client, sockets } = fakeClient({ login: LOGIN });
  client.connect();
  await sockets[0].greet();
  await sockets[0].reply({ user: "ada" });
  await sockets[0].receive({ type: "token_expiring", expires_at: 1 });
  assert.deepEqual(sockets[0].sent.map(({ type, password }) => [type, password]), [["connect", PASSWORD]]);
  assert.equal(sockets.length, 1);
});

test("the password is in no error, event, status or printed client", async () => {
  const answers = [
    () => { throw new Error("vault closed"); },
    () => ({ user: "ada" }),
    () => ({ password: PASSWORD }),
    () => ({ user: "ada", password: PASSWORD, more: PASSWORD }),
  ];
  const { client, clock, sockets } = fakeClient({ login: () => answers.shift()() });
  const seen = [];
  for (const type of ["error", "status", "connected", "disconnected", "closing"]) {
    client.on(type, (detail) => seen.push(inspect(detail, { depth: 10 })));
  }
  client.connect();
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await sockets[attempt].greet();
    await clock.advance(client.status.retryInMs);
  }
  await sockets[3].greet();
  assert.deepEqual(Object.keys(sockets[3].sent[0]).sort(), ["client", "id", "password", "type", "user"]);
  await sockets[3].receive({ ...REFUSAL, code: "forbidden", id: 1 });
  const codes = seen.join("\n").match(/no_login/g);
  assert.ok(codes?.length >= 3, seen.join("\n"));
  seen.push(inspect(client, { depth: 10, showHidden: true }));
  for (const text of seen) assert.ok(!text.includes(PASSWORD), text);
});

test("one way to sign in, and what it should be: else nothing is made, and nothing of it repeated", () => {
  const WebSocket = class {};
  const make = (options) => new RialtoClient("ws://broker.test/ws", { WebSocket, network: null, ...options });
  const token = () => "t";
  for (const options of [
    { token, cookie: true },
    { token, login: LOGIN },
    { cookie: {}, login: () => LOGIN },
    { token, cookie: true, login: LOGIN },
    { token: PASSWORD },
    { cookie: false },
    { cookie: PASSWORD },
    { cookie: { refresh: PASSWORD } },
    { login: PASSWORD },
    { login: {} },
    { login: { user: "ada", password: 1 } },
  ]) {
    const isRefusal = (error) => error instanceof TypeError && !inspect(error).includes(PASSWORD);
    assert.throws(() => make(options), isRefusal, Object.keys(options).join());
  }
  assert.throws(() => make({ token, login: LOGIN }), { message: /options\.token and options\.login exclude each/ });
  for (const options of [{}, { token }, { cookie: true }, { cookie: {} }, { login: LOGIN }, { login: () => LOGIN }]) {
    assert.equal(make({ token: undefined, cookie: null, login: undefined, ...options }).status.status, "closed");
  }
});
