// Writes corpus/: small inputs, each named after what it is, from which libFuzzer starts. Run it with `node seeds.mjs` after
// a change; what is written is committed. Regressions are no seeds: they are inputs that once failed, kept as they were.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("corpus/", import.meta.url));
const text = (string) => Buffer.from(string, "utf8");
const bytes = (...parts) => Buffer.concat(parts.map((part) => (typeof part === "string" ? text(part) : Buffer.from(part))));

function corpus(target, seeds) {
  rmSync(folder + target, { recursive: true, force: true });
  mkdirSync(folder + target, { recursive: true });
  for (const [name, content] of Object.entries(seeds)) {
    writeFileSync(`${folder}${target}/${name}`, content);
  }
}

const nested = (open, inner, close, depth) => open.repeat(depth) + inner + close.repeat(depth);

corpus("json", {
  null: text("null"),
  numbers: text('[0,-0,1,-1,1.5,1e2,1E-2,18446744073709551615,-9223372036854775808]'),
  "number-beyond-64-bits": text("18446744073709551616"),
  "number-below-64-bits": text("-9223372036854775809"),
  "number-beyond-a-double": text("1e999"),
  "number-smallest": text("5e-324"),
  "number-with-leading-zero": text("01"),
  "number-many-digits": text("0.1000000000000000055511151231257827"),
  escapes: text('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00"'),
  "lone-surrogate": text('"\\ud83d"'),
  "surrogates-reversed": text('"\\ude00\\ud83d"'),
  "not-utf-8": bytes('"', [0xff], '"'),
  "control-character-in-text": text('"a\nb"'),
  "byte-order-mark": bytes([0xef, 0xbb, 0xbf], "1"),
  map: text('{"a":1,"b":[true,false,null],"":{}}'),
  "key-twice": text('{"a":1,"a":2}'),
  "sixteen-items": text(JSON.stringify(Array(16).fill(0))),
  "text-of-256-bytes": text(JSON.stringify("a".repeat(256))),
  "as-deep-as-may-be": text(nested("[", "1", "]", 32)),
  "too-deep": text(nested("[", "1", "]", 33)),
  "too-deep-and-not-json": text("[".repeat(40)),
  "maps-as-deep-as-may-be": text(nested('{"a":', "1", "}", 32)),
  space: text(" \t\r\n[ 1 , 2 ] \n"),
  "trailing-comma": text("[1,]"),
  "bytes-after-the-value": text("1 2"),
  empty: text(""),
});

corpus("msgpack", {
  nil: bytes([0xc0]),
  "never-used": bytes([0xc1]),
  "never-used-in-an-array": bytes([0x91, 0xc1]),
  booleans: bytes([0x92, 0xc2, 0xc3]),
  "whole-numbers": bytes([0x98, 0x7f, 0xcc, 0xff, 0xcd, 1, 0, 0xce, 0, 1, 0, 0, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0xe0, 0xd0, 0x80, 0xd1, 0x80, 0]),
  "whole-numbers-in-long-forms": bytes([0x93, 0xd3, 0, 0, 0, 0, 0, 0, 0, 5, 0xcf, 0, 0, 0, 0, 0, 0, 0, 5, 0xd2, 0xff, 0xff, 0xff, 0xff]),
  "smallest-number": bytes([0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
  "float-32": bytes([0xca, 0x3f, 0x80, 0, 0]),
  "float-64": bytes([0xcb, 0xbf, 0xf0, 0, 0, 0, 0, 0, 1]),
  "minus-zero": bytes([0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0]),
  "not-a-number": bytes([0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
  infinity: bytes([0xca, 0x7f, 0x80, 0, 0]),
  text: bytes([0xa2], "é"),
  "text-in-a-long-form": bytes([0xda, 0, 2], "é"),
  "text-not-utf-8": bytes([0xa1, 0xff]),
  "half-a-character": bytes([0xa1, 0xc3]),
  bin: bytes([0xc4, 3, 0, 0xff, 16]),
  "bin-in-long-forms": bytes([0x92, 0xc5, 0, 1, 7, 0xc6, 0, 0, 0, 1, 8]),
  map: bytes([0x82, 0xa1], "a", [1, 0xa1], "b", [0x92, 0xc0, 0xc4, 1, 9]),
  "map-in-long-forms": bytes([0xde, 0, 1, 0xd9, 1], "a", [0xdf, 0, 0, 0, 0]),
  "key-twice": bytes([0x82, 0xa1], "a", [1, 0xa1], "a", [2]),
  "key-that-is-a-number": bytes([0x81, 1, 2]),
  "array-in-long-forms": bytes([0xdc, 0, 1, 0xdd, 0, 0, 0, 0]),
  "array-that-promises-everything": bytes([0xdd, 0xff, 0xff, 0xff, 0xff]),
  "sixteen-items": bytes([0xdc, 0, 16], Array(16).fill(0)),
  extension: bytes([0xd4, 1, 0]),
  timestamp: bytes([0xd6, 0xff, 0, 0, 0, 0]),
  "extension-of-any-size": bytes([0xc7, 3, 1, 0, 0, 0]),
  "as-deep-as-may-be": bytes(Array(32).fill(0x91), [1]),
  "too-deep": bytes(Array(33).fill(0x91), [1]),
  "bytes-after-the-value": bytes([1, 2]),
  empty: bytes(),
});

// MessagePack of a plain value, in short forms; a Buffer is bin.
function pack(value) {
  if (value === null) return bytes([0xc0]);
  if (typeof value === "boolean") return bytes([value ? 0xc3 : 0xc2]);
  if (typeof value === "number") return value < 128 ? bytes([value]) : bytes([0xcd, value >> 8, value & 255]);
  if (typeof value === "string") return bytes([0xd9, text(value).length], value);
  if (Buffer.isBuffer(value)) return bytes([0xc4, value.length], value);
  if (Array.isArray(value)) return bytes([0x90 | value.length], ...value.map(pack));
  const entries = Object.entries(value);
  return bytes([0x80 | entries.length], ...entries.flatMap(([key, inner]) => [pack(key), pack(inner)]));
}

const requests = {
  connect: { type: "connect", id: 1, token: "t", client: "fuzz/1" },
  subscribe: { type: "subscribe", id: 2, topic: "a.b" },
  "subscribe-since": { type: "subscribe", id: 2, topic: "a", since: { epoch: "e", offset: 300 }, presence: true },
  "subscribe-last": { type: "subscribe", id: 2, topic: "a", last: 5, delivery: "latest" },
  "subscribe-latest-by": { type: "subscribe", id: 2, topic: "a", delivery: { policy: "latest_by", field: "/a~1b/0" } },
  "subscribe-sample": { type: "subscribe", id: 2, topic: "a", delivery: { policy: "sample", every_ms: 250 } },
  "subscribe-list": { type: "subscribe", id: 2, topics: [{ topic: "a" }, { topic: "b", delivery: "drop_oldest" }] },
  "subscribe-empty-list": { type: "subscribe", id: 2, topics: [] },
  unsubscribe: { type: "unsubscribe", id: 3, topic: "a" },
  "unsubscribe-list": { type: "unsubscribe", id: 3, topics: [{ topic: "a" }] },
  "publish-data": { type: "publish", id: 4, topic: "a", data: { x: [1, null, "é"] }, key: "k", echo: false },
  "publish-nothing": { type: "publish", id: 4, topic: "a" },
  "publish-data-and-bytes": { type: "publish", id: 4, topic: "a", data: 1, bytes: Buffer.from([1]) },
  "publish-bytes": { type: "publish", id: 4, topic: "a", bytes: Buffer.from([0, 255, 16]) },
  "call-topic": { type: "call", id: 5, topic: "a", method: "m", data: 1 },
  "call-plugin": { type: "call", id: 5, plugin: "p", method: "m", bytes: Buffer.from([1]) },
  "call-nobody": { type: "call", id: 5, method: "m" },
  history: { type: "history", id: 6, topic: "a", limit: 5 },
  presence: { type: "presence", id: 7, topic: "a" },
  ping: { type: "ping", data: 1 },
  "unknown-type": { type: "nope", id: 8 },
  "unknown-field": { type: "ping", id: 8, unknown: [{ deep: [1] }] },
  "id-zero": { type: "ping", id: 0 },
  "id-text": { type: "ping", id: "1" },
};
const inJson = (value) => JSON.stringify(value, (_, inner) => (inner?.type === "Buffer" ? Buffer.from(inner.data).toString("base64") : inner));
corpus("requests", {
  ...Object.fromEntries(Object.entries(requests).map(([name, value]) => [`json-${name}`, bytes("0", inJson(value))])),
  ...Object.fromEntries(Object.entries(requests).map(([name, value]) => [`msgpack-${name}`, bytes("1", pack(value))])),
  "json-field-twice": text('0{"type":"ping","id":1,"id":2}'),
  "json-escaped-field": text('0{"t\\u0079pe":"p\\u0069ng","id":1}'),
  "json-not-a-map": text("0[1]"),
  "json-text": text('0"text"'),
  "json-data-too-deep": text(`0{"type":"ping","data":${nested("[", "1", "]", 33)}}`),
  "json-unknown-very-deep": text(`0{"type":"ping","x":${nested("[", "1", "]", 200)}}`),
  "json-bytes-not-base64": text('0{"type":"publish","topic":"a","bytes":"!"}'),
  "json-lone-surrogate-in-an-unknown-field": text('0{"type":"ping","x":"\\ud800"}'),
  "msgpack-extension-in-an-unknown-field": bytes("1", [0x82], pack("type"), pack("ping"), pack("x"), [0xc7, 3, 1, 0, 0, 0]),
  "msgpack-bytes-after-the-frame": bytes("1", pack({ type: "ping" }), [0]),
});

corpus("topics", {
  plain: text("chat.lobby\nchat.*\nchat.>\n*.lobby\n>\n*"),
  unicode: text("chat.Zürich.日本\nchat.*.日本\n*.*.*"),
  reserved: text("$sys.a\n$sys.>\n>\n*.a\na$.b"),
  "empty-tokens": text("a..b\n.a\na.\n.\n"),
  "wildcards-in-wrong-places": text("a.>.b\na*\n>a\n**\n*.>"),
  "wildcards-that-cover": text("*.>\n*.*\na.>\na.b.>\na.*.c"),
  invisible: text("a b\na\u200bb\n\u202ea\n\ufeffa\na\u0000\nü\u0085"),
  "sixteen-tokens": text(Array(16).fill("a").join(".")),
  "seventeen-tokens": text(Array(17).fill("a").join(".")),
  "255-bytes": text("x".repeat(255)),
  "256-bytes": text("x".repeat(256)),
  "255-bytes-of-two-byte-characters": text("é".repeat(127) + "x"),
  combining: text("e\u0301.é\né.e\u0301"),
  empty: text(""),
});

// The mask is zero, so that the fuzzer sees and changes the payload itself.
function frame(first, payload = "", { mask = [0, 0, 0, 0], form, length } = {}) {
  const content = bytes(payload);
  const size = length ?? BigInt(content.length);
  const needed = form ?? (size < 126n ? 0 : size < 65536n ? 2 : 8);
  const marked = mask ? 0x80 : 0;
  const long = Buffer.alloc(8);
  long.writeBigUInt64BE(BigInt.asUintN(64, size));
  const code = needed === 2 ? 126 : needed === 8 ? 127 : Number(size);
  const masked = mask ? content.map((byte, at) => byte ^ mask[at % 4]) : content;
  return bytes([first, marked | code], long.subarray(8 - needed), mask ?? [], masked);
}
const [CONTINUE, TEXT, BINARY, CLOSE, PING, PONG, FIN] = [0, 1, 2, 8, 9, 10, 0x80];
const closing = (code, reason = "") => frame(FIN | CLOSE, bytes([code >> 8, code & 255], reason));
const wire = (...frames) => bytes("0", [7], ...frames);
corpus("frames", {
  text: wire(frame(FIN | TEXT, "héllo")),
  binary: wire(frame(FIN | BINARY, [0, 255, 193])),
  empty: wire(frame(FIN | TEXT), frame(FIN | BINARY)),
  "with-a-mask": wire(frame(FIN | TEXT, "hello", { mask: [0x37, 0xfa, 0x21, 0x3d] })),
  "126-bytes": wire(frame(FIN | TEXT, "a".repeat(126))),
  "as-long-as-may-be": wire(frame(FIN | BINARY, "a".repeat(300))),
  "too-long": wire(frame(FIN | BINARY, "a".repeat(301))),
  "promise-of-64-kib": wire(frame(FIN | BINARY, "", { length: 65536n })),
  "promise-of-everything": wire(frame(FIN | BINARY, "", { length: 2n ** 64n - 1n })),
  "promise-of-half-of-it": wire(frame(FIN | BINARY, "", { length: 2n ** 63n })),
  "two-fragments": wire(frame(TEXT, "a"), frame(FIN | CONTINUE, "b")),
  "a-character-in-fragments": wire(frame(TEXT, [0xe2, 0x82]), frame(FIN | CONTINUE, [0xac])),
  "a-ping-between-fragments": wire(frame(TEXT, "a"), frame(FIN | PING, "p"), frame(FIN | CONTINUE, "b")),
  "as-many-fragments-as-may-be": wire(frame(BINARY), ...Array(3).fill(frame(CONTINUE)), frame(FIN | CONTINUE)),
  "too-many-fragments": wire(frame(BINARY), ...Array(4).fill(frame(CONTINUE)), frame(FIN | CONTINUE)),
  "fragments-too-long-together": wire(frame(BINARY, "a".repeat(200)), frame(FIN | CONTINUE, "a".repeat(101))),
  "continuation-of-nothing": wire(frame(FIN | CONTINUE, "a")),
  "message-inside-a-message": wire(frame(TEXT, "a"), frame(FIN | TEXT, "b")),
  "not-utf-8": wire(frame(FIN | TEXT, [0xff])),
  "half-a-character": wire(frame(FIN | TEXT, [0xe2, 0x82])),
  "not-utf-8-in-an-unfinished-text": wire(frame(TEXT, [0xff]), frame(FIN | PING, "p")),
  ping: wire(frame(FIN | PING, "p"), frame(FIN | PING)),
  "ping-of-125-bytes": wire(frame(FIN | PING, "p".repeat(125))),
  "ping-of-126-bytes": wire(frame(FIN | PING, "p".repeat(126))),
  "ping-in-fragments": wire(frame(PING, "p")),
  pong: wire(frame(FIN | PONG, "p")),
  "pong-of-126-bytes": wire(frame(FIN | PONG, "p".repeat(126))),
  close: wire(frame(FIN | CLOSE)),
  "close-1000": wire(closing(1000, "bye")),
  "close-4999": wire(closing(4999)),
  "close-1005": wire(closing(1005)),
  "close-1014": wire(closing(1014)),
  "close-5000": wire(closing(5000)),
  "close-half-a-code": wire(frame(FIN | CLOSE, [3])),
  "close-reason-not-utf-8": wire(closing(1000, [0xff])),
  "frames-after-a-close": wire(closing(1000), frame(FIN | PING, "p"), frame(FIN | TEXT, "a")),
  "reserved-bit": wire(frame(FIN | 0x40 | TEXT, "a")),
  "reserved-opcode": wire(frame(FIN | 3, "a")),
  "reserved-control-opcode": wire(frame(FIN | 11, "a")),
  "not-masked": wire(frame(FIN | TEXT, "a", { mask: null })),
  "not-masked-after-a-good-one": wire(frame(FIN | TEXT, "a"), frame(FIN | TEXT, "b", { mask: null })),
  "length-in-two-bytes-for-nothing": wire(frame(FIN | TEXT, "a", { form: 2 })),
  "length-in-eight-bytes-for-nothing": wire(frame(FIN | TEXT, "a", { form: 8 })),
  "cut-in-a-header": wire(frame(FIN | TEXT, "a"), [0x81]),
  "cut-in-a-mask": wire(frame(FIN | TEXT, "abc").subarray(0, 4)),
  "cut-in-a-payload": wire(frame(FIN | TEXT, "abc").subarray(0, 8)),
});

const good = {
  Host: "a",
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};
// A request for an upgrade; a header that is undefined is left out.
function head(change = {}, line = "GET /ws HTTP/1.1", end = "\r\n") {
  const fields = Object.entries({ ...good, ...change }).filter(([, value]) => value !== undefined);
  return [line, ...fields.map(([name, value]) => `${name}: ${value}`), "", ""].join(end);
}
const http = (...parts) => bytes("0", ...parts);
corpus("upgrade", {
  good: http(head()),
  "good-with-frames-behind": http(head(), frame(FIN | TEXT, '{"type":"ping"}')),
  "good-with-a-request-behind": http(head(), head()),
  "good-after-another-request": http(head({}, "GET / HTTP/1.1"), head()),
  "good-after-a-refused-one": http(head({ Upgrade: undefined }), head()),
  "good-with-a-query": http(head({}, "GET /ws?token=x HTTP/1.1")),
  "good-in-absolute-form": http(head({}, "GET http://a/ws HTTP/1.1")),
  "good-with-a-list-of-options": http(head({ Connection: "keep-alive, Upgrade", Upgrade: "h2c, WebSocket" })),
  "good-for-messagepack": http(head({ "Sec-WebSocket-Protocol": "mqtt, rialto.v1.msgpack" })),
  "good-of-the-own-origin": http(head({ Origin: "http://a" })),
  "other-origin": http(head({ Origin: "http://b" })),
  "other-subprotocol": http(head({ "Sec-WebSocket-Protocol": "mqtt" })),
  "other-path": http(head({}, "GET /other HTTP/1.1")),
  post: http(head({}, "POST /ws HTTP/1.1")),
  "head-and-then-get": http(head({}, "HEAD / HTTP/1.1"), head()),
  "http-1.0": http(head({}, "GET /ws HTTP/1.0")),
  "no-host": http(head({ Host: undefined })),
  "no-key": http(head({ "Sec-WebSocket-Key": undefined })),
  "short-key": http(head({ "Sec-WebSocket-Key": "c2hvcnQ=" })),
  "key-with-loose-bits": http(head({ "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZR==" })),
  "version-8": http(head({ "Sec-WebSocket-Version": "8" })),
  "host-twice": http(head({ host: "b" })),
  "key-twice": http(head({ "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" })),
  "no-body": http(head({ "Content-Length": "0" })),
  "a-body": http(head({ "Content-Length": "5" }), "hello", head()),
  "a-request-in-the-body": http(head({ "Content-Length": String(head().length) }, "POST / HTTP/1.1"), head()),
  "chunked": http(head({ "Transfer-Encoding": "chunked" }, "POST / HTTP/1.1"), "5\r\nhello\r\n0\r\n\r\n", head()),
  "chunked-and-a-length": http(head({ "Content-Length": "5", "Transfer-Encoding": "chunked" }, "POST / HTTP/1.1"), "0\r\n\r\n", head()),
  "a-request-in-a-chunk": http(head({ "Transfer-Encoding": "chunked" }, "POST / HTTP/1.1"), `${head().length.toString(16)}\r\n`, head(), "\r\n0\r\n\r\n"),
  "lengths-that-differ": http(head({ "Content-Length": "5", "content-length": "0" }, "POST / HTTP/1.1"), "hello", head()),
  "lines-without-cr": http(head({}, "GET /ws HTTP/1.1", "\n")),
  "a-line-without-cr-in-between": http("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", head()),
  "a-space-before-the-colon": http(head({ "Content-Length ": "5" }), head()),
  "a-folded-line": http(head({ "X": "a\r\n b" })),
  "empty-lines-first": http("\r\n\r\n", head()),
  "cut-in-a-head": http(head().slice(0, 60)),
  "no-http": http("\x16\x03\x01\x02\x00\x01\x00"),
});
