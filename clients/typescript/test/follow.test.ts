/** A follower sees each event once and in order, to the run's end, whatever becomes of its connection. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { client, unique, until, server } from "./support/rig.js";
import { Relay } from "./support/relay.js";

test("a connection that breaks anywhere in a frame costs nothing and repeats nothing", async () => {
  const { tl } = client();
  const relay = await new Relay().start();
  const follower = client({ url: relay.url });
  const runKey = unique("cut");
  await tl.run({ runKey }, (run) => {
    for (let n = 0; n < 20; n += 1) run.messageDelta(`naïve Å 中文 😀 ${n}`);
  });
  assert.ok(await tl.flush());
  const { run_id: id } = await tl.get(runKey);
  let cuts = 0;
  relay.fault = () => {
    cuts += 1;
    return cuts <= 12 ? { cutsAfter: 150 + cuts * 97 } : undefined;
  };
  const seqs: number[] = [];
  for await (const event of follower.tl.follow(id)) {
    assert.ok("seq" in event);
    seqs.push(event.seq);
  }
  assert.deepEqual(seqs, Array.from({ length: 22 }, (_, n) => n + 1));
  assert.ok(cuts >= 2, "it was cut, and came back");
  await Promise.all([tl.close(), follower.tl.close(), relay.stop()]);
});

test("what a server repeats is given once", async () => {
  const { tl } = client();
  const relay = await new Relay().start();
  const follower = client({ url: relay.url });
  const runKey = unique("repeats");
  await tl.run({ runKey }, (run) => run.step("mark"));
  assert.ok(await tl.flush());
  const { run_id: id } = await tl.get(runKey);
  relay.fault = () => (relay.seen.length === 1 ? { cutsAfter: 500 } : { hides: "last-event-id" });
  const seqs: number[] = [];
  for await (const event of follower.tl.follow(id)) if ("seq" in event) seqs.push(event.seq);
  assert.deepEqual(seqs, [1, 2, 3]);
  assert.equal(relay.seen.length, 2);
  await Promise.all([tl.close(), follower.tl.close(), relay.stop()]);
});

test("a restart of the server is no end of the run", async () => {
  const { tl } = client();
  const run = tl.startRun({ runKey: unique("restart") });
  assert.ok(await tl.flush());
  const seqs: number[] = [];
  const followed = (async () => {
    for await (const event of tl.follow(run.id ?? "")) if ("seq" in event) seqs.push(event.seq);
  })();
  await until("the first event", () => seqs.length === 1);
  await server("restart");
  run.step("after it");
  run.finish();
  await followed;
  assert.deepEqual(seqs, [1, 2, 3]);
  await tl.close();
});

test("who stops reading, or aborts, ends the stream", async () => {
  const { tl } = client();
  const run = tl.startRun({ runKey: unique("left") });
  assert.ok(await tl.flush());
  for await (const event of tl.follow(run.id ?? "")) {
    assert.equal(event.type, "run.started");
    break;
  }
  const stop = new AbortController();
  const seen: string[] = [];
  for await (const event of tl.follow(run.id ?? "", { signal: stop.signal })) {
    seen.push(event.type);
    setImmediate(() => stop.abort());
  }
  assert.deepEqual(seen, ["run.started"]);
  run.finish();
  assert.ok(await tl.flush());
  const rest: string[] = [];
  for await (const event of tl.follow(run.id ?? "", { afterSeq: 1 })) rest.push(event.type);
  assert.deepEqual(rest, ["run.completed"]);
  await tl.close();
});

test("a stream that a proxy ends whole counts as contact, however long it was", async () => {
  const patienceMs = 1_000;
  const relay = await new Relay().start();
  const beganAt = performance.now();
  let [seq, refused] = [0, false];
  relay.fault = () => {
    const isLong = performance.now() - beganAt > 1.5 * patienceMs;
    if (isLong && !refused) return ((refused = true), { refuses: true });
    seq += 1;
    const frame = `id: ${seq}\ndata: ${JSON.stringify({ seq, type: "step", data: {} })}\n\n`;
    const end = isLong ? 'event: end\ndata: {"status": "completed"}\n\n' : "";
    return { status: 200, headers: { "Content-Type": "text/event-stream" }, body: frame + end };
  };
  const { tl } = client({ url: relay.url });
  const seqs: number[] = [];
  for await (const event of tl.follow("0196b2c4-5d1e-7c3a-9f10-000000000000", { patienceMs })) if ("seq" in event) seqs.push(event.seq);
  assert.ok(refused && seqs.length === seq);
  await tl.close();
  await relay.stop();
});

test("a server that is away at first is waited for, and given up when the time is over", async () => {
  const { tl } = client({ url: "http://127.0.0.1:1" });
  const beganAt = performance.now();
  const followed = tl.follow("0196b2c4-5d1e-7c3a-9f10-000000000000", { patienceMs: 6_000 });
  await assert.rejects(followed.next(), { code: "unreachable" });
  assert.ok(performance.now() - beganAt >= 6_000);
  await tl.close();
});
