/** Positions, patterns, bytes and keys: the pure parts, as tables. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromBase64, toBase64 } from "../bytes.js";
import { newKey } from "../key.js";
import { isPattern, matches } from "../pattern.js";
import { Cursor } from "../cursor.js";

const at = (epoch, offset) => ({ epoch, offset });

for (const [name, own, head, recovered, last, expected] of [
  ["the first time: where the topic stands", null, at("e1", 9), false, 0, at("e1", 9)],
  ["the first time, with the last ones: before them", null, at("e1", 9), false, 4, at("e1", 5)],
  ["more than there are", null, at("e1", 9), false, 40, at("e1", 0)],
  ["recovered: where it was", at("e1", 3), at("e1", 9), true, 1000, at("e1", 3)],
  ["expired: not before where it was", at("e1", 3), at("e1", 9), false, 1000, at("e1", 3)],
  ["expired, and few are kept: the gap is still to be reported", at("e1", 3), at("e1", 9), false, 2, at("e1", 3)],
  ["expired, live only: the gap is still to be reported", at("e1", 3), at("e1", 9), false, 0, at("e1", 3)],
  ["another epoch: all of it is new", at("e1", 8), at("e2", 9), false, 1000, at("e2", 0)],
  ["another epoch, live only", at("e1", 8), at("e2", 9), false, 0, at("e2", 9)],
  ["a future that was lost", at("e1", 20), at("e1", 9), false, 1000, at("e1", 0)],
  ["a pattern has no position", null, null, false, 0, null],
]) {
  test(`after the reply: ${name}`, () => {
    const cursor = new Cursor(own);
    cursor.accept(head, recovered, last);
    assert.deepEqual(cursor.position, expected);
  });
}

test("messages and gaps count every offset once, whatever comes", () => {
  const cursor = new Cursor();
  cursor.accept(at("e1", 3), false, 0);
  const steps = [
    [4, true, null], [4, false, null], [2, false, null], [5, true, null], [9, true, { from: 6, to: 8 }], [7, false, null],
  ];
  for (const [offset, isNew, missed] of steps) assert.deepEqual(cursor.message(offset), { isNew, missed }, `${offset}`);
  cursor.gap({ from: 10, to: 12 });
  assert.deepEqual(cursor.message(12), { isNew: false, missed: null });
  cursor.gap({ from: 1, to: 5 });
  assert.deepEqual(cursor.message(13), { isNew: true, missed: null });
});

test("own messages that are not wanted back are stepped over, whatever comes first, and are no hole", () => {
  const cursor = new Cursor();
  cursor.accept(at("e1", 3), false, 0);
  cursor.leaveOut(at("e1", 4));
  assert.deepEqual(cursor.position, at("e1", 4));
  cursor.leaveOut(at("e1", 6));
  cursor.leaveOut(at("e1", 7));
  cursor.leaveOut(at("e0", 5));
  assert.deepEqual(cursor.message(5), { isNew: true, missed: null });
  assert.deepEqual(cursor.position, at("e1", 7));
  cursor.leaveOut(at("e1", 9));
  cursor.accept(at("e1", 9), true, 1000);
  assert.deepEqual(cursor.message(8), { isNew: true, missed: null });
  assert.deepEqual(cursor.message(9), { isNew: false, missed: null }, "read again after a reconnect");
  assert.deepEqual(cursor.message(10), { isNew: true, missed: null });
  cursor.leaveOut(at("e1", 12));
  cursor.accept(at("e2", 11), false, 0);
  assert.deepEqual(cursor.message(12), { isNew: true, missed: null }, "another epoch");
});

test("positions given out and taken in are copies", () => {
  const own = at("e1", 3);
  const cursor = new Cursor(own);
  own.offset = 7;
  cursor.position.offset = 9;
  assert.deepEqual(cursor.position, at("e1", 3));
});

test("patterns select topics as the protocol says", () => {
  const table = [
    ["a.*", "a.b", true], ["a.*", "a", false], ["a.*", "a.b.c", false], ["*", "a", true], ["*", "a.b", false],
    ["a.>", "a.b", true], ["a.>", "a.b.c", true], ["a.>", "a", false], [">", "a", true], [">", "a.b.c", true],
    ["*.b.>", "a.b.c.d", true], ["*.b.>", "a.c.c", false], ["a.b", "a.b", true], ["a.b", "a.bc", false],
    ["a.*.c", "a.b.c", true], ["a.*.c", "a.b.d", false],
  ];
  for (const [pattern, topic, expected] of table) assert.equal(matches(pattern, topic), expected, `${pattern} ${topic}`);
  assert.deepEqual(["a.b", "a.*", ">", "a.>"].map(isPattern), [false, true, true, true]);
});

test("base64 is Node's own, for every length", () => {
  for (const length of [0, 1, 2, 3, 255, 8191, 8192, 8193, 65_536]) {
    const bytes = Uint8Array.from({ length }, (_, place) => (place * 37 + length) % 256);
    const text = toBase64(bytes);
    assert.equal(text, Buffer.from(bytes).toString("base64"));
    assert.deepEqual(fromBase64(text), bytes);
  }
});

test("keys are short texts that never repeat, on pages that are not secure too", (context) => {
  context.after(() => delete globalThis.crypto.randomUUID);
  const keys = new Set(Array.from({ length: 1000 }, newKey));
  Object.defineProperty(globalThis.crypto, "randomUUID", { value: undefined, configurable: true });
  for (let count = 0; count < 1000; count += 1) keys.add(newKey());
  assert.equal(keys.size, 2000);
  for (const key of keys) assert.ok(key.length >= 32 && key.length <= 128, key);
});
