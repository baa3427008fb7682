/** Back-off, close codes and the matching of replies: tables, no client. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../backoff.js";
import { meansReconnect } from "../codes.js";
import { ConnectionLostError, RialtoError, TimeoutError } from "../errors.js";
import { Replies } from "../replies.js";
import { FakeClock, settled } from "./fake.js";

test("back-off doubles from half a second to twenty, with jitter over the whole range", () => {
  const ceilings = [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000];
  for (const [share, expected] of [[0, () => 0], [0.5, (ms) => ms / 2], [0.999, (ms) => Math.floor(ms * 0.999)]]) {
    const backoff = new Backoff({ random: () => share });
    assert.deepEqual(ceilings.map(() => backoff.next()), ceilings.map(expected));
  }
});

test("back-off never undercuts the broker's hint and starts small again after a reset", () => {
  const backoff = new Backoff({ random: () => 0.5 });
  assert.equal(backoff.next(3000), 3250);
  assert.equal(backoff.next(3000), 3500);
  assert.equal(backoff.attempts, 2);
  backoff.reset();
  assert.equal(backoff.next(), 250);
});

test("back-off stays within its maximum after very many attempts", () => {
  const backoff = new Backoff({ random: () => 1 });
  for (let attempt = 0; attempt < 2000; attempt += 1) assert.ok(backoff.next() <= 20_000);
});

test("close codes mean what the protocol says", () => {
  const reconnect = [1001, 1006, 1011, 1013, 4000, 4004, 4005, 4006, 4008];
  const stop = [1000, 1002, 1003, 1007, 1008, 1009, 4001, 4002, 4003, 4007, 4999];
  for (const code of reconnect) assert.equal(meansReconnect(code), true, `code ${code}`);
  for (const code of stop) assert.equal(meansReconnect(code), false, `code ${code}`);
});

/** A request, and what becomes of it. */
function open(replies, type, timeoutMs) {
  let id;
  const reply = new Promise((resolve, reject) => {
    id = replies.open(type, timeoutMs, (error, frame) => (error ? reject(error) : resolve(frame)));
  });
  return { id, reply };
}

test("replies find their requests in any order, and ids are positive and never used twice", async () => {
  const replies = new Replies(new FakeClock());
  const first = open(replies, "call", 1000);
  const second = open(replies, "publish", 1000);
  assert.deepEqual([first.id, second.id], [1, 2]);
  assert.equal(replies.settle({ type: "ok", id: 2, data: "second" }), true);
  assert.equal(replies.settle({ type: "ok", id: 1, data: "first" }), true);
  assert.equal((await first.reply).data, "first");
  assert.equal((await second.reply).data, "second");
  assert.equal(open(replies, "ping", 1000).id, 3);
});

test("replies that no request waits for are recognised", () => {
  const replies = new Replies(new FakeClock());
  replies.open("ping", 1000, () => {});
  for (const id of [undefined, null, 0, 2, "1", {}]) {
    assert.equal(replies.settle({ type: "ok", id }), false, `id ${JSON.stringify(id)}`);
  }
  assert.equal(replies.size, 1);
});

test("an error reply keeps code, message, detail and hint", async () => {
  const replies = new Replies(new FakeClock());
  const { id, reply } = open(replies, "call", 1000);
  replies.settle({
    type: "error", id, code: "rejected", message: "taken", retry_after_ms: 250, detail: { kind: "name_taken" },
  });
  const error = await reply.catch((caught) => caught);
  assert.ok(error instanceof RialtoError);
  assert.deepEqual(
    [error.code, error.message, error.retryAfterMs, error.detail],
    ["rejected", "taken", 250, { kind: "name_taken" }],
  );
});

test("a request times out once, and its late reply is ignored", async () => {
  const clock = new FakeClock();
  const replies = new Replies(clock);
  const { id, reply } = open(replies, "call", 1000);
  const outcome = reply.catch((error) => error);
  await clock.advance(999);
  assert.equal(replies.size, 1);
  await clock.advance(1);
  assert.ok((await outcome) instanceof TimeoutError);
  assert.equal(replies.settle({ type: "ok", id }), false);
});

test("a lost connection fails every waiting request, oldest first", async () => {
  const replies = new Replies(new FakeClock());
  const order = [];
  const outcomes = ["publish", "call"].map((type) => open(replies, type, 1000).reply.catch((error) => {
    order.push(type);
    return error;
  }));
  replies.loseConnection();
  for (const error of await Promise.all(outcomes)) assert.ok(error instanceof ConnectionLostError);
  assert.deepEqual(order, ["publish", "call"]);
  assert.equal(replies.size, 0);
});

test("nothing waits any more once each request is answered, forgotten, too late, or lost", async () => {
  const clock = new FakeClock();
  const endings = {
    answered: (replies, id) => replies.settle({ type: "ok", id }),
    forgotten: (replies, id) => replies.forget(id),
    late: () => clock.advance(1000),
    lost: (replies) => replies.loseConnection(),
  };
  for (const [name, end] of Object.entries(endings)) {
    const replies = new Replies(clock);
    await replies.idle();
    const ids = [1, 2].map(() => replies.open("call", 1000, () => {}));
    let isIdle = false;
    const idle = replies.idle().then(() => (isIdle = true));
    if (name === "answered") {
      await end(replies, ids[0]);
      await settled();
      assert.equal(isIdle, false, name);
    }
    for (const id of ids) await end(replies, id);
    await idle;
    assert.equal(replies.size, 0, name);
  }
});

test("waiting requests are bounded", () => {
  const replies = new Replies(new FakeClock(), 2);
  replies.open("ping", 1000, () => {});
  replies.open("ping", 1000, () => {});
  assert.throws(() => replies.open("ping", 1000, () => {}), { code: "too_many" });
});
