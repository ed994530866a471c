/** Values on their way into an event: figures, usage, texts. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { encodeEvent, wholeText } from "../dist/values/encoding.js";
import { count, dollars } from "../dist/values/figures.js";
import { runKeyOf, threadOf } from "../dist/values/texts.js";
import { usageOf } from "../dist/values/usage.js";
import { digestOf, uuid7 } from "../dist/wire/ids.js";
import { retryAfterMs } from "../dist/wire/retries.js";
import { FrameReader } from "../dist/wire/sse.js";

const measure = (text: string): number => Buffer.byteLength(text);

/** What the SDK for Python makes of usages: written by `tests/clients/test_typescript.py`. */
const USAGES = process.env.TOWERLOG_TESTS_USAGES ?? "";

test("usage is what the SDK for Python makes of it", { skip: USAGES === "" }, () => {
  const known = JSON.parse(readFileSync(USAGES, "utf8")) as [unknown, unknown][];
  assert.ok(known.length > 100);
  for (const [given, expected] of known) {
    let found: unknown = null;
    try {
      found = usageOf(given) ?? null;
    } catch {
      // As unusable as one that says nothing known.
    }
    assert.deepEqual(found, expected, JSON.stringify(given));
  }
});

test("a figure is exact, or it is not used", () => {
  assert.deepEqual([150, "150", 150n, " 7 ", 2 ** 53].map(count), [150, 150, 150, 7, 2 ** 53]);
  assert.deepEqual([-1, 1.5, "", "x", true, Number.NaN, 2 ** 54, null, {}].map(count), Array(9).fill(undefined));
  assert.deepEqual(["0.0023", 1e-9, "999999.123456789"].map(dollars), [0.0023, 1e-9, 999999.123456789]);
  assert.equal(JSON.stringify(dollars("999999.123456789")), "999999.123456789");
  assert.deepEqual([-1, "1,5", Number.POSITIVE_INFINITY, 1_000_001, true].map(dollars), Array(5).fill(undefined));
});

test("an event has a bound, whatever hangs on its data", () => {
  const shared = { text: "x".repeat(100_000) };
  const many = Array.from({ length: 100 }, () => Array.from({ length: 100 }, () => shared));
  let deep: unknown = 1;
  for (let n = 0; n < 100_000; n += 1) deep = [deep];
  let wide: unknown = {};
  for (let n = 0; n < 40; n += 1) wide = { left: wide, right: wide };
  for (const value of [many, deep, wide, "\u0000".repeat(3_000_000)]) {
    const line = encodeEvent({ type: "step" }, { name: "s", value }, measure);
    assert.ok(measure(line) <= 4 * 1024 * 1024);
    assert.equal((JSON.parse(line) as { data: { name: string } }).data.name, "s");
  }
  assert.equal(wholeText(wide), null, "state is not sent in part");
});

test("names that the wire does not allow are changed, and two stay two", () => {
  assert.deepEqual(["a", "", undefined, "."].map(threadOf), ["a", undefined, undefined, `.-${digestOf(".").slice(0, 8)}`]);
  assert.notEqual(threadOf("a/b"), threadOf("a-b"));
  assert.ok((threadOf("ü".repeat(500)) ?? "").length <= 200);
  assert.equal(runKeyOf("letter-7", uuid7), "letter-7");
  assert.match(runKeyOf("two words", uuid7), /^two-words-[0-9a-f]{16}$/);
  assert.ok(runKeyOf("x".repeat(1_000), uuid7).length <= 128);
});

test("ids are fresh, and sort by time", () => {
  const made = Array.from({ length: 10_000 }, uuid7);
  assert.equal(new Set(made).size, made.length);
  for (const one of made.slice(0, 100)) assert.match(one, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Set(Array.from({ length: 10_000 }, (_, n) => digestOf(`text ${n}`))).size, 10_000);
});

test("Retry-After is seconds or a date, and bounded", () => {
  assert.deepEqual(["1", " 5 ", "99999", "soon", "", null].map(retryAfterMs), [1_000, 5_000, 300_000, null, null, null]);
  const inTwo = retryAfterMs(new Date(Date.now() + 2_500).toUTCString());
  assert.ok(inTwo !== null && inTwo > 500 && inTwo <= 3_000);
});

test("frames come whole, however their bytes are cut", () => {
  const bytes = new TextEncoder().encode(': ping\n\nevent: gap\r\ndata: {"a":1}\r\ndata: two\nid: 7\n\ndata: é😀\n\nid: 9\n\ndata: cut off');
  const whole = [{ event: "gap", data: '{"a":1}\ntwo', id: "7" }, { event: "message", data: "é😀", id: null }];
  for (let size = 1; size < bytes.length; size += 1) {
    const reader = new FrameReader();
    const frames = [];
    for (let at = 0; at < bytes.length; at += size) frames.push(...reader.feed(bytes.subarray(at, at + size)));
    assert.deepEqual(frames, whole);
  }
  const endless = new FrameReader();
  const piece = new TextEncoder().encode("x".repeat(1024 * 1024));
  assert.throws(() => { for (let n = 0; n < 20; n += 1) endless.feed(piece); }, { code: "bad_answer" });
});
