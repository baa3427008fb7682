/** Signing in to a real broker: tokens of the jose library, by callback and by cookie, and passwords. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { WebSocket } from "ws";

import { Broker } from "../../../tests/browser/broker.mjs";
import { becomes } from "../../../tests/browser/window.mjs";
import { RialtoClient } from "../index.js";

const SCENARIO = { timeout: 60_000 };
const ALGORITHMS = ["RS256", "ES256", "EdDSA"];
const PASSWORD = "password";
/** Of that password, from the tests of the reference implementation. */
const HASH = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

let broker;
let folder;
const keys = {};
const clients = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "rialto-tokens-"));
  let rules = `
[auth]
anonymous = true
leeway_ms = 0
warn_ms = 2000
cookie = "session"
jwks = ${JSON.stringify(join(folder, "keys.json"))}
`;
  for (const algorithm of ALGORITHMS) {
    const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
    keys[algorithm] = privateKey;
    const file = join(folder, `${algorithm}.pem`);
    await writeFile(file, await exportSPKI(publicKey));
    rules += `
[[auth.key]]
id = "${algorithm}"
algorithm = "${algorithm}"
public_key = { file = ${JSON.stringify(file)} }
`;
  }
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  keys.published = privateKey;
  const jwk = { ...(await exportJWK(publicKey)), kid: "published", alg: "ES256", use: "sig" };
  await writeFile(join(folder, "keys.json"), JSON.stringify({ keys: [jwk] }));
  rules += `
[[auth.user]]
name = "bob"
password = "${HASH}"

[[topic]]
pattern = "account.{user}"
subscribe = "user"
publish = "role:trader"

[[topic]]
pattern = "kept.{user}"
history = { messages = 1000 }
`;
  broker = await Broker.start(rules, { market: false });
}, SCENARIO);

after(async () => {
  for (const client of clients) client.close();
  await broker?.stop();
  await rm(folder, { recursive: true, force: true });
});

function signed(kid, user, expires, claims = {}) {
  const algorithm = kid === "published" ? "ES256" : kid;
  const token = new SignJWT(claims).setProtectedHeader({ alg: algorithm, kid }).setSubject(user).setIssuedAt();
  return token.setExpirationTime(expires).sign(keys[kid]);
}

function clientBy(options) {
  const client = new RialtoClient(`ws://127.0.0.1:${broker.port}/ws`, { WebSocket, ...options });
  clients.push(client);
  return client;
}

const clientWith = (token) => clientBy({ token });

/** What stands for a browser that has cookies. */
function socketWith(cookieOf) {
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { headers: { cookie: cookieOf() } });
    }
  };
}

for (const kid of [...ALGORITHMS, "published"]) {
  test(`a token that is signed by ${kid} says who the client is`, SCENARIO, async () => {
    const client = clientWith(() => signed(kid, "ann@example.com", "1h", { roles: ["trader"] }));
    client.on("error", (error) => assert.fail(error));
    await client.connect();
    assert.equal(client.welcome.user, "ann@example.com");
    const received = [];
    const own = "account.ann@example%2Ecom";
    await client.subscribe(own, { onMessage: ({ data }) => received.push(data) }).ready;
    await client.publish(own, kid);
    await becomes(() => received.length, 1);
    await assert.rejects(client.publish("account.bob", 1), { code: "forbidden" });
    client.close();
  });
}

test("a client with short tokens stays connected, and is renewed in time", SCENARIO, async () => {
  let count = 0;
  const client = clientWith(() => {
    count += 1;
    return signed("ES256", "ann", `${4 * count} s`);
  });
  const lost = [];
  client.on("disconnected", (detail) => lost.push(detail));
  client.on("error", (error) => assert.fail(error));
  await client.connect();
  await becomes(() => count >= 3, true, 30_000);
  assert.deepEqual(lost, []);
  client.close();
});

test("a token that is refused is not tried for ever", SCENARIO, async () => {
  const client = clientWith(() => "a.b.c");
  client.on("error", () => {});
  await assert.rejects(client.connect(), { code: "closed" });
  assert.equal(client.status.code, 4001);
});

test("a client with short cookies continues on other connections: all arrives once, in order", SCENARIO, async () => {
  let count = 0;
  let cookie;
  const refresh = async () => {
    count += 1;
    cookie = `theme=dark; session=${await signed("ES256", "ann", `${4 * count} s`)}`;
  };
  await refresh();
  const client = clientBy({ WebSocket: socketWith(() => cookie), cookie: { refresh } });
  const sessions = new Set();
  const received = [];
  client.on("error", (error) => assert.fail(error));
  client.on("gap", (gap) => assert.fail(JSON.stringify(gap)));
  client.on("connected", ({ session, user }) => {
    assert.equal(user, "ann");
    sessions.add(session);
  });
  client.subscribe("kept.ann", { onMessage: ({ data }) => received.push(data) });
  await client.connect();
  let published = 0;
  while (sessions.size < 3) {
    published += 1;
    await client.publish("kept.ann", published);
    await setTimeout(5);
  }
  await becomes(() => received.length, published);
  assert.deepEqual(received, Array.from({ length: published }, (_, index) => index + 1));
  assert.equal(count, 3);
  client.close();
});

test("a cookie that is refused, or none, is not tried for ever", SCENARIO, async () => {
  for (const cookie of ["session=a.b.c", "theme=dark"]) {
    const client = clientBy({ WebSocket: socketWith(() => cookie), cookie: true });
    client.on("error", () => {});
    await assert.rejects(client.connect(), { code: "closed" });
    assert.equal(client.status.code, 4001, cookie);
  }
});

test("a name and a password say who the client is, and a wrong one is sent once", SCENARIO, async () => {
  const client = clientBy({ login: { user: "bob", password: PASSWORD } });
  client.on("error", (error) => assert.fail(error));
  await client.connect();
  assert.equal(client.welcome.user, "bob");
  await client.publish("kept.bob", 1);
  client.close();

  let sockets = 0;
  const Counted = class extends WebSocket {
    constructor(...options) {
      super(...options);
      sockets += 1;
    }
  };
  const wrong = clientBy({ WebSocket: Counted, login: { user: "bob", password: "wrong" } });
  await assert.rejects(wrong.connect(), { code: "closed" });
  assert.deepEqual([wrong.status.code, sockets], [4001, 1]);
});
