/** Events arrive once and in order, over failures; what is lost is counted and told. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

import { Relay } from "./support/relay.js";
import { KEY, URL_OF_SERVER, client, eventsOf, server, typesOf, unique } from "./support/rig.js";

test("events go in batches, numbered in each run", async () => {
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  const keys = [unique("one"), unique("two")];
  const runs = keys.map((runKey) => tl.startRun({ runKey }));
  for (let n = 0; n < 250; n += 1) for (const run of runs) run.step(`s${n}`);
  runs.forEach((run) => run.finish());
  assert.ok(await tl.flush());
  const batches = relay.batches();
  assert.ok(batches.length <= 10, `${batches.length} requests for 504 events`);
  assert.ok(batches.every((batch) => batch.events.length <= 100));
  for (const key of keys) {
    const seqs = batches.flatMap((batch) => batch.events.filter((event) => event.run_key === key).map((event) => event.client_seq));
    assert.deepEqual(seqs, Array.from({ length: 252 }, (_, n) => n + 1));
    assert.equal((await tl.get(key)).delivery?.complete, true);
  }
  await Promise.all([tl.close(), relay.stop()]);
});

test("a reply that was lost makes no event twice", async () => {
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  let lost = 0;
  relay.fault = (one) => {
    lost += one.path === "/api/v1/events" ? 1 : 0;
    return one.path === "/api/v1/events" && lost <= 3 ? { losesReply: true } : undefined;
  };
  const runKey = unique("twice");
  await tl.run({ runKey }, (run) => run.step("once"));
  assert.ok(await tl.flush());
  assert.deepEqual(typesOf(await eventsOf(tl, runKey)), ["run.started", "step", "run.completed"]);
  assert.ok(tl.status().duplicates >= 3);
  await Promise.all([tl.close(), relay.stop()]);
});

test("Retry-After is heeded, and the pauses grow without it", async () => {
  const relay = await new Relay().start();
  const { tl, problems } = client({ url: relay.url });
  const faults = [
    { status: 429, headers: { "Retry-After": "1" } },
    { status: 503 }, { status: 500 }, { refuses: true as const }, { status: 200, body: "not json" }, { status: 302, headers: { Location: "/" } },
  ];
  const left = [...faults];
  relay.fault = () => left.shift();
  await tl.run({ runKey: unique("later") }, (run) => run.step("mark"));
  assert.ok(await tl.flush(30_000));
  const at = relay.seen.map((one) => one.at);
  assert.ok((at[1] ?? 0) - (at[0] ?? 0) >= 1_000, "told to wait a second");
  assert.equal(relay.seen.length, faults.length + 1);
  assert.ok(problems.length >= 1 && problems.length <= faults.length);
  assert.equal(tl.status().acknowledged, 3);
  await Promise.all([tl.close(), relay.stop()]);
});

test("an outage of the server costs nothing, and nothing waits for it", async () => {
  const { tl } = client();
  const runKey = unique("outage");
  const run = tl.startRun({ runKey });
  assert.ok(await tl.flush());
  await server("kill");
  const began = performance.now();
  for (let n = 0; n < 1_000; n += 1) run.step(`s${n}`);
  const perEvent = (performance.now() - began) / 1_000;
  run.finish();
  assert.equal(await tl.flush(500), false);
  await server("start");
  assert.ok(await tl.flush(60_000));
  const told = await tl.get(runKey);
  assert.deepEqual([told.status, told.delivery?.complete, told.delivery?.clients?.[0]?.received], ["completed", true, 1_002]);
  console.log(`an event costs its program ${(perEvent * 1_000).toFixed(0)} µs`);
  await tl.close();
});

for (const overflow of ["oldest", "newest"] as const) {
  test(`a queue that is full drops the ${overflow}, and says which`, async () => {
    const relay = await new Relay().start();
    const { tl } = client({ url: relay.url, queueBytes: 20_000, overflow });
    const [runKey, thread] = [unique("full"), unique("full")];
    relay.fault = () => ({ status: 503 });
    const run = tl.startRun({ runKey, thread });
    for (let n = 0; n < 2_000; n += 1) run.step(`s${n}`, { text: "x".repeat(100) });
    run.finish();
    assert.ok(tl.status().queued < 200);
    const { dropped } = tl.status();
    assert.ok(dropped > 1_800);
    relay.fault = () => undefined;
    assert.equal(await tl.flush(60_000), true, "nothing more was dropped meanwhile");
    const told = await tl.get(runKey);
    const [numbers] = told.delivery?.clients ?? [];
    assert.deepEqual([numbers?.dropped, numbers?.missing, told.thread_id], [dropped, [], thread]);
    assert.equal(told.delivery?.complete, false);
    assert.equal(tl.status().dropped, dropped);
    await Promise.all([tl.close(), relay.stop()]);
  });
}

test("a call that fails for a moment is made again, and changes nothing twice", async () => {
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  const left = [{ losesReply: true as const }, { status: 503, headers: { "Retry-After": "0" } }];
  relay.fault = () => left.shift();
  const thread = unique("again");
  const made = await tl.create(thread, { input: "go" });
  assert.equal(relay.seen.length, 3);
  const found: string[] = [];
  for await (const run of tl.list({ thread_id: thread })) found.push(run.run_id);
  assert.deepEqual(found, [made.run_id]);
  relay.fault = () => ({ status: 429, headers: { "Retry-After": "60" } });
  await assert.rejects(tl.get(made.run_id), { status: 429, retryAfterMs: 60_000 });
  const stop = AbortSignal.timeout(50);
  relay.fault = () => ({ status: 503 });
  await assert.rejects(tl.request("GET", "/api/v1/whoami", { signal: stop }), { status: 503 });
  await Promise.all([tl.close(), relay.stop()]);
});

test("one event that is refused costs no other", async () => {
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  relay.fault = (one) => (one.body.includes("poison") ? { status: 422, body: '{"code": "validation_failed"}' } : undefined);
  const runKey = unique("refused");
  await tl.run({ runKey }, (run) => {
    for (let n = 0; n < 50; n += 1) run.step(n === 31 ? "poison" : `s${n}`);
  });
  assert.equal(await tl.flush(30_000), false);
  const told = await tl.get(runKey);
  assert.deepEqual([told.status, told.delivery?.clients?.[0]?.dropped, told.delivery?.clients?.[0]?.missing], ["completed", 1, []]);
  assert.deepEqual([tl.status().refused, tl.status().dropped], [1, 1]);
  await Promise.all([tl.close(), relay.stop()]);
});

/** A program of its own, in a process of its own. */
async function program(code: string, environment: Record<string, string> = {}): Promise<{ code: number; said: string; took: number }> {
  const began = performance.now();
  const child = spawn(process.execPath, ["--input-type=module", "-e", `import { Towerlog } from "towerlog"; ${code}`], {
    env: { ...process.env, TOWERLOG_URL: URL_OF_SERVER, TOWERLOG_API_KEY: KEY, ...environment },
    cwd: new URL("..", import.meta.url),
  });
  let said = "";
  child.stderr.on("data", (piece: Buffer) => (said += piece.toString()));
  const [status] = (await once(child, "close")) as [number];
  return { code: status, said, took: performance.now() - began };
}

test("a program that ends without a flush has delivered what it told", async () => {
  const runKey = unique("brief");
  const done = await program(`const tl = new Towerlog(); await tl.run({ runKey: "${runKey}" }, (run) => run.step("mark"));`);
  assert.deepEqual([done.code, done.said], [0, ""]);
  const { tl } = client();
  assert.equal((await tl.get(runKey)).status, "completed");
  await tl.close();
});

test("a program ends though its server is away, and says what was lost", async () => {
  const away = { TOWERLOG_URL: "http://127.0.0.1:1" };
  const open = await program('const tl = new Towerlog(); tl.startRun().step("mark");', away);
  assert.equal(open.code, 0);
  assert.match(open.said, /2 events lost: .*cannot be reached/);
  const none = await program('const tl = new Towerlog(); tl.startRun().step("mark");', { TOWERLOG_API_KEY: "" });
  assert.match(none.said, /2 events lost: .*no API key/s);
});

test("a client that is closed counts what it is told afterwards", async () => {
  const { tl } = client();
  const run = tl.startRun();
  assert.ok(await tl.close());
  run.step("too late");
  assert.equal(tl.status().dropped, 1);
});
