/** Tokens of the jose library, taken by a real broker: the callback, renewal before the end, permissions. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { WebSocket } from "ws";

import { Broker } from "../../../tests/browser/broker.mjs";
import { becomes } from "../../../tests/browser/window.mjs";
import { RialtoClient } from "../index.js";

const SCENARIO = { timeout: 60_000 };
const ALGORITHMS = ["RS256", "ES256", "EdDSA"];

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
[[topic]]
pattern = "account.{user}"
subscribe = "user"
publish = "role:trader"
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

function clientWith(token) {
  const client = new RialtoClient(`ws://127.0.0.1:${broker.port}/ws`, { WebSocket, token });
  clients.push(client);
  return client;
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
