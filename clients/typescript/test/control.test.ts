/** Asking a server: create, answer, cancel, read; and a run that asks, is cancelled and is paused. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { type Run, type Towerlog, TowerlogError } from "towerlog";

import { client, eventsOf, unique, until } from "./support/rig.js";

test("a run is created once, listed, read and cancelled", async () => {
  const { tl } = client();
  const thread = unique("thread");
  const [first, again] = [await tl.create(thread, { input: "go", agent: "a" }, { idempotencyKey: thread }), await tl.create(thread, { input: "go", agent: "a" }, { idempotencyKey: thread })];
  assert.equal(first.run_id, again.run_id);
  for (let made = 0; made < 3; made += 1) await tl.create(thread, { input: { n: made } });
  const listed: string[] = [];
  for await (const row of tl.list({ thread_id: thread, page_size: 2 })) listed.push(row.run_id);
  assert.equal(new Set(listed).size, 4);
  assert.equal(listed[3], first.run_id);
  await tl.cancel(first.run_id, "never mind");
  const run = await tl.get(first.run_id);
  assert.deepEqual([run.status, run.cancel?.reason, run.input], ["cancelled", "never mind", "go"]);
  await tl.close();
});

test("every refusal is one class of error, with its code", async () => {
  const { tl } = client();
  const made = await tl.create(unique("thread"));
  await tl.cancel(made.run_id);
  const refusals: [() => Promise<unknown>, number | null, string][] = [
    [() => tl.input(made.run_id, "too late"), 409, "runs.not_active"],
    [() => tl.get("0196b2c4-5d1e-7c3a-9f10-000000000000"), 404, "not_found"],
    [() => tl.create(unique("t"), { nonsense: 1 } as never), 422, "validation.failed"],
    [() => tl.get(".."), null, "invalid_argument"],
    [() => tl.follow("0196b2c4-5d1e-7c3a-9f10-000000000000").next(), 404, "not_found"],
    [() => tl.request("POST", "/v1/threads", { body: { circle: 1n } }), null, "invalid_argument"],
    [() => client({ apiKey: "wrong" }).tl.get(made.run_id), 401, "auth.invalid"],
    [() => client({ url: "http://127.0.0.1:1" }).tl.request("GET", "/", { timeoutMs: 500 }), null, "unreachable"],
  ];
  for (const [refused, status, code] of refusals) {
    const error = await refused().then(() => assert.fail(`no refusal: ${code}`), (one: unknown) => one);
    assert.ok(error instanceof TowerlogError, String(error));
    assert.equal(error.status, status, code);
    assert.ok(error.code.endsWith(code), `${error.code} is not ${code}`);
  }
  await tl.close();
  await assert.rejects(tl.get(made.run_id), { code: "closed" });
});

test("a page of a member's session names no key, and says that it asks on purpose", async () => {
  const sent: RequestInit[] = [];
  const { tl } = client({ apiKey: "", fetch: (url, init) => (sent.push(init), fetch(url, init)) });
  await assert.rejects(tl.get("0196b2c4-5d1e-7c3a-9f10-000000000000"), { status: 401 });
  await assert.rejects(tl.create(unique("t")), { status: 401 });
  const headers = sent.map((init) => init.headers as Record<string, string>);
  assert.deepEqual(headers.map((one) => [one.Authorization, one["X-Towerlog-Request"]]), [[undefined, undefined], [undefined, "1"]]);
  await tl.close();
});

test("a question gets its own answer, in the type that its schema says", async () => {
  const { tl } = client();
  const runKey = unique("asks");
  const done = tl.run({ runKey }, async (run) => {
    const [name, size] = await Promise.all([run.ask("Name?"), run.ask<number>("Size?", { schema: { type: "integer" } })]);
    return { name, size };
  });
  const run = await until("two questions", async () => {
    const found = await tl.get(runKey).catch(() => undefined);
    return found?.questions?.length === 2 ? found : undefined;
  });
  const [name, size] = run.questions ?? [];
  await assert.rejects(tl.input(run.run_id, "large", { questionId: Number(size?.question_id) }), { status: 422 });
  await tl.input(run.run_id, "7", { questionId: Number(size?.question_id) });
  await tl.input(run.run_id, "Pisa", { questionId: Number(name?.question_id) });
  assert.deepEqual(await done, { name: "Pisa", size: 7 });
  assert.ok(await tl.flush());
  const told = (await eventsOf(tl, runKey)).filter((event) => event.type === "command.acknowledged");
  assert.equal(told.length, 2);
  await tl.close();
});

test("a question that nobody answers in time is withdrawn", async () => {
  const { tl } = client();
  const runKey = unique("alone");
  await tl.run({ runKey }, async (run) => {
    await assert.rejects(run.ask("Anybody?", { timeoutMs: 200 }), { code: "timeout", name: "TimeoutError" });
    const stop = AbortSignal.timeout(200);
    await assert.rejects(run.ask("And now?", { signal: stop }), { name: "TimeoutError" });
  });
  assert.ok(await tl.flush());
  const run = await tl.get(runKey);
  assert.deepEqual(run.closed_questions?.map((one) => one.state), ["withdrawn", "withdrawn"]);
  await tl.close();
});

test("a question that the server refuses is told at once", async () => {
  const { tl } = client();
  await tl.run({ runKey: unique("many") }, async (run) => {
    const open = Array.from({ length: 64 }, (_, n) => run.ask(`Question ${n}?`));
    open.forEach((one) => one.catch(() => undefined));
    await assert.rejects(run.ask("One more?"), { code: "question_refused" });
  });
  await tl.close();
});

test("a cancel aborts the signal, and the run says why it has stopped", async () => {
  const { tl } = client();
  const runKey = unique("stops");
  const done = tl.run({ runKey }, async (run) => {
    await run.tool("wait", () => new Promise((_, reject) => run.signal.addEventListener("abort", () => reject(run.signal.reason))));
  });
  done.catch(() => undefined);
  const run = await until("the run", () => tl.get(runKey).catch(() => undefined));
  await tl.cancel(run.run_id, "changed my mind");
  await assert.rejects(done, { code: "cancelled", message: "changed my mind", name: "AbortError" });
  assert.ok(await tl.flush());
  const ended = await tl.get(runKey);
  assert.equal(ended.status, "cancelled");
  assert.equal(ended.cancel?.reason, "changed my mind");
  assert.ok(ended.cancel?.acknowledged_at);
  const [result] = (await eventsOf(tl, runKey)).filter((event) => event.type === "tool.result");
  assert.equal(result?.data.interrupted, true);
  await tl.close();
});

test("a cancel that the program does not look at is not acknowledged", async () => {
  const { tl } = client();
  const run = tl.startRun({ runKey: unique("deaf") });
  assert.ok(await tl.flush());
  await tl.cancel(run.id ?? "");
  run.step("goes on");
  assert.ok(await tl.flush());
  const told = await tl.get(run.key);
  assert.deepEqual([Boolean(told.cancel?.delivered_at), told.cancel?.acknowledged_at], [true, null]);
  assert.ok(run.isCancelled);
  assert.throws(() => run.check(), { code: "cancelled" });
  assert.ok(await tl.flush());
  assert.ok((await tl.get(run.key)).cancel?.acknowledged_at);
  run.fail(new Error("stopped"));
  await tl.close();
});

test("a run is paused, reads what was written to it, and goes on", async () => {
  const { tl } = client();
  const runKey = unique("pauses");
  const run = tl.startRun({ runKey });
  assert.ok(await tl.flush());
  const id = run.id ?? "";
  await tl.request("POST", `/api/v1/runs/${id}:pause`, { body: {} });
  await tl.input(id, "look left", { kind: "message" });
  for (const name of ["hears of it", "hears of it again"]) {
    run.step(name);
    assert.ok(await tl.flush());
  }
  assert.deepEqual(run.messages(), ["look left"], "once, however often the server says it");
  const paused = run.pausePoint();
  await until("the pause", async () => (await tl.get(id)).status === "paused");
  await tl.request("POST", `/api/v1/runs/${id}:resume`, { body: {} });
  await paused;
  run.finish();
  assert.ok(await tl.flush());
  assert.equal((await tl.get(id)).status, "completed");
  await tl.close();
});

test("a pause outlives its program: the one that goes on with the run is told again", async () => {
  const [{ tl: before }, { tl }] = [client(), client()];
  const runKey = unique("again");
  const first = before.startRun({ runKey });
  assert.ok(await before.flush());
  const id = first.id ?? "";
  await tl.request("POST", `/api/v1/runs/${id}:pause`, { body: {} });
  first.step("hears of it");
  assert.ok(await before.flush());
  const left = first.pausePoint().catch(() => undefined);
  await until("the pause", async () => (await tl.get(id)).status === "paused");
  const again = tl.startRun({ runKey });
  assert.ok(await tl.flush());
  assert.equal((await tl.get(id)).status, "paused", "nobody has resumed it");
  const paused = again.pausePoint();
  await tl.request("POST", `/api/v1/runs/${id}:resume`, { body: {} });
  await paused;
  again.finish();
  assert.ok(await tl.flush());
  const told = (await eventsOf(tl, runKey)).map((event) => event.type).filter((type) => type === "run.paused");
  assert.equal(told.length, 2, "by each of the two");
  await before.close();
  await left;
  await tl.close();
});

test("whoever waits or looks learns that somebody has ended the run", async () => {
  const { tl } = client();
  const ways: Record<string, (run: Run) => Promise<unknown>> = {
    asks: (run) => run.ask("Pay?"),
    pauses: (run) => run.pausePoint(),
    checks: (run) => until("a cancel", () => (run.step("works"), run.check())),
    reads: (run) => until("a cancel", () => run.messages().length > 0),
  };
  for (const [way, wait] of Object.entries(ways)) {
    const run = tl.startRun({ runKey: unique(way) });
    assert.ok(await tl.flush());
    if (way === "pauses") {
      await tl.request("POST", `/api/v1/runs/${run.id}:pause`, { body: {} });
      run.step("hears of it");
      assert.ok(await tl.flush());
    }
    const waiting = wait(run);
    const ended = assert.rejects(waiting, { code: "cancelled", message: "the run has ended as cancelled: too dear" }, way);
    if (way === "asks" || way === "pauses") {
      const status = way === "asks" ? "waiting_for_input" : "paused";
      await until(status, async () => (await tl.get(run.id ?? "")).status === status);
    }
    await tl.request("POST", `/api/v1/runs/${run.id}:kill`, { body: { reason: "too dear" } });
    await ended;
    await assert.rejects(run.ask("And now?"), { code: "cancelled" });
  }
  await tl.close();
});

test("a question ends with its run, so that the program can end", async () => {
  const { tl } = client();
  let open: Promise<string> | undefined;
  let left: Run | undefined;
  await tl.run({ runKey: unique("leaves") }, async (run) => {
    open = run.ask("Pay?");
    open.catch(() => undefined);
    left = run;
  });
  await assert.rejects(open ?? Promise.resolve(), { code: "cancelled", message: "the run has ended" });
  await assert.rejects(left?.ask("And now?") ?? Promise.resolve(), { code: "cancelled" });
  await tl.close();
});

interface Away {
  tl: Towerlog;
  runKey: string;
  runId: string;
  /** Ids of its open questions, in the order of their texts. */
  questions: number[];
}

/** A run whose program has asked these questions and is gone. */
async function away(...texts: string[]): Promise<Away> {
  const { tl: gone } = client();
  const runKey = unique("away");
  const run = gone.startRun({ runKey });
  for (const text of texts) run.ask(text).catch(() => undefined);
  assert.ok(await gone.flush());
  await gone.close();
  const { tl } = client();
  const row = await tl.get(runKey);
  const found = texts.map((text) => Number(row.questions?.find((one) => one.question === text)?.question_id));
  return { tl, runKey, runId: row.run_id, questions: found };
}

/** Ids of the questions that a run has asked and whose answers it has acknowledged, in the order of its log. */
async function askedAndTaken({ tl, runKey }: Away): Promise<(number | string)[]> {
  const told = await eventsOf(tl, runKey);
  const asked = told.filter((event) => event.type === "run.waiting_for_input").length;
  const taken = told.findIndex((event) => event.type === "command.acknowledged");
  const before = told.slice(0, taken).filter((event) => event.type === "run.waiting_for_input");
  assert.equal(before.length, asked, "each question was told before an answer was acknowledged");
  return before.map((event) => Number(event.data.question_id));
}

for (const [way, options] of Object.entries({ plain: {}, "with a time": { timeoutMs: 60_000 } })) {
  test(`an answer that lay ready is acknowledged after its question, so that nobody else can answer that: ${way}`, async () => {
    const gone = await away("PROD?", "TEST?");
    const { tl, runKey, runId, questions } = gone;
    for (const questionId of questions) await tl.input(runId, `never ${questionId}`, { questionId });
    const said = await tl.run({ runKey }, async (run) => {
      run.step("prepares");
      assert.ok(await tl.flush(), "the reply has carried the answers");
      const found = await Promise.all([run.ask("PROD?", options), run.ask("TEST?", options)]);
      assert.ok(await tl.flush());
      assert.deepEqual((await tl.get(runId)).questions, []);
      for (const questionId of questions) await assert.rejects(tl.input(runId, "do it", { questionId }), { status: 409 });
      return found;
    });
    assert.deepEqual(said, questions.map((one) => `never ${one}`));
    assert.ok(await tl.flush());
    assert.deepEqual(await askedAndTaken(gone), [...questions, ...questions]);
    await tl.close();
  });
}

test("an answer that is withdrawn since its question is asked otherwise reaches nobody", async () => {
  const gone = await away("PROD?");
  const { tl, runKey, runId } = gone;
  const questionId = Number(gone.questions[0]);
  await tl.input(runId, "never", { questionId });
  const done = tl.run({ runKey }, async (run) => {
    run.step("prepares");
    assert.ok(await tl.flush());
    return run.ask("PROD?", { schema: { type: "string" } });
  });
  const open = await until("the question", async () => (await tl.get(runId)).questions?.[0]?.question_id);
  assert.notEqual(open, questionId);
  await tl.input(runId, "yes", { questionId: Number(open) });
  assert.equal(await done, "yes");
  await tl.close();
});

/** Counts the requests of a client for a while. */
async function counted(forMs: number, requests: () => number): Promise<number> {
  const [before, endsAt] = [requests(), performance.now() + forMs];
  await until("a while to pass", () => performance.now() > endsAt);
  return requests() - before;
}

test("a program that goes on after the end of its run does not ask in a hurry", async () => {
  let asked = 0;
  const { tl } = client({ fetch: (url, init) => ((asked += 1), fetch(url, init)) });
  const { tl: other } = client();
  await tl.run({ runKey: unique("goes-on") }, async (run) => {
    const { signal } = run;
    assert.ok(await tl.flush());
    await other.request("POST", `/api/v1/runs/${run.id}:kill`, { body: {} });
    await until("the abort", () => signal.aborted);
    assert.ok((await counted(3_000, () => asked)) <= 3);
  });
  await Promise.all([tl.close(), other.close()]);
});

test("what answers a long poll at once is asked more and more rarely", async () => {
  let asked = 0;
  const { tl } = client({
    fetch: (url, init) => {
      asked += 1;
      const body = typeof init?.body === "string" ? init.body.replace(/"wait_seconds":\d+,?/, "") : init?.body;
      return fetch(url, body === undefined ? init : { ...init, body });
    },
  });
  await tl.run({ runKey: unique("hurried") }, async (run) => {
    const answer = run.ask("Pay?");
    assert.ok(await tl.flush());
    assert.ok((await counted(3_000, () => asked)) <= 8);
    await tl.input(run.id ?? "", "no");
    assert.equal(await answer, "no");
  });
  await tl.close();
});
