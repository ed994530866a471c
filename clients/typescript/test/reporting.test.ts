/** What a program reports is in the log, in its order and at its place. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { TowerlogError } from "towerlog";

import { client, eventsOf, typesOf, unique } from "./support/rig.js";

test("a run is told from its beginning to its end", async () => {
  const { tl, problems } = client();
  const [runKey, thread] = [unique("run"), unique("thread")];
  const found = await tl.run({ agent: "nightly", thread, input: { q: "towers" }, runKey, labels: { tier: "a" } }, async (run) => {
    run.step("mark", { n: 1 });
    await run.step("look around", async () => {
      const hits = await run.tool("search", { q: "towers" }, async () => ["Eiffel"]);
      run.messageDelta(`Found ${hits.length}.`);
    });
    run.messageDelta("cold, I think", { channel: "thinking" });
    return { towers: 1 };
  });
  assert.deepEqual(found, { towers: 1 });
  assert.ok(await tl.flush());
  const run = await tl.get(runKey);
  assert.deepEqual([run.status, run.agent, run.thread_id], ["completed", "nightly", thread]);
  assert.deepEqual([run.input, run.result], [{ q: "towers" }, { towers: 1 }]);
  assert.equal(run.delivery?.complete, true);
  const events = await eventsOf(tl, runKey);
  assert.deepEqual(typesOf(events), [
    "run.started", "step", "step", "tool.call", "tool.result", "message.delta", "step", "message.delta", "run.completed",
  ]);
  const [, mark, begun, call, result, delta, ended] = events.map((event) => event.data);
  assert.deepEqual([mark?.name, mark?.payload], ["mark", { n: 1 }]);
  assert.equal(call?.parent_span_id, begun?.span_id);
  assert.equal(delta?.parent_span_id, begun?.span_id);
  assert.deepEqual([call?.arguments, result?.result, result?.success], [{ q: "towers" }, ["Eiffel"], true]);
  assert.equal(result?.tool_call_id, call?.tool_call_id);
  assert.deepEqual([begun?.phase, ended?.phase], ["start", "end"]);
  assert.deepEqual(problems, []);
  await tl.close();
});

test("what the work throws ends the run, and is thrown to the caller", async () => {
  const { tl } = client();
  const [failed, stopped] = [unique("failed"), unique("stopped")];
  const wrong = new RangeError("no towers");
  await assert.rejects(
    tl.run({ runKey: failed }, (run) => run.tool("search", () => Promise.reject(wrong))),
    wrong,
  );
  const abort = new AbortController();
  await assert.rejects(
    tl.run({ runKey: stopped }, async (run) => {
      await run.tool("fetch", async () => {
        abort.abort();
        abort.signal.throwIfAborted();
      });
    }),
    { name: "AbortError" },
  );
  assert.ok(await tl.flush());
  assert.equal((await tl.get(failed)).status, "failed");
  assert.equal((await tl.get(stopped)).status, "cancelled");
  const [, , result, end] = (await eventsOf(tl, failed)).map((event) => event.data);
  assert.deepEqual([result?.success, result?.error, end?.error], [false, "RangeError: no towers", "RangeError: no towers"]);
  const broken = (await eventsOf(tl, stopped)).find((event) => event.type === "tool.result");
  assert.equal(broken?.data.interrupted, true);
  await tl.close();
});

test("a run inside another is its child, over awaits and in parallel", async () => {
  const { tl } = client();
  const [parent, ...children] = [unique("parent"), unique("one"), unique("two")];
  await tl.run({ runKey: parent, thread: unique("family") }, async (run) => {
    await Promise.all(
      children.map(async (runKey, index) => {
        await new Promise((resolve) => setImmediate(resolve));
        await tl.run({ runKey, agent: `helper-${index}` }, async (child) => {
          await new Promise((resolve) => setImmediate(resolve));
          assert.equal(tl.currentRun(), child);
        });
        assert.equal(tl.currentRun(), run);
      }),
    );
  });
  assert.equal(tl.currentRun(), undefined);
  assert.ok(await tl.flush());
  const whole = await tl.get(parent);
  for (const key of children) {
    const child = await tl.get(key);
    assert.deepEqual([child.parent_run_id, child.thread_id], [whole.run_id, whole.thread_id]);
  }
  await tl.close();
});

test("usage and cost are exact, or unknown", async () => {
  const { tl } = client();
  const runKey = unique("usage");
  await tl.run({ runKey }, (run) => {
    run.modelCall("some-model", {
      usage: { prompt_tokens: 2006, completion_tokens: 300, prompt_tokens_details: { cached_tokens: 1920 } },
      costUsd: "0.123456789",
    });
    run.modelCall("some-model", { inputTokens: 1, outputTokens: -3, costUsd: 0.000000001 });
    run.modelCall("some-model", { usage: { nonsense: true } });
  });
  assert.ok(await tl.flush());
  const run = await tl.get(runKey);
  assert.deepEqual(
    [run.usage.input_tokens, run.usage.cached_input_tokens, run.usage.output_tokens, run.usage.reasoning_tokens],
    [87, 1920, 300, null],
  );
  assert.equal(run.total_cost_usd, 0.12345679);
  const calls = (await eventsOf(tl, runKey)).filter((event) => event.type === "model.call");
  assert.deepEqual(calls[1]?.data.towerlog_invalid, { output_tokens: -3 });
  assert.deepEqual(calls[2]?.data.towerlog_invalid, { usage: { nonsense: true } });
  await tl.close();
});

test("a model call tells its text as it comes, and what it was when it ends", async () => {
  const { tl } = client();
  const runKey = unique("model");
  await tl.run({ runKey }, async (run) => {
    await run.model("some-model", { messages: [{ role: "user", content: "Oslo?" }], provider: "house" }, async (call) => {
      call.delta("Cold, ", "thinking");
      call.delta("It is cold.");
      call.response = { role: "assistant", content: "It is cold." };
      call.usage = { input_tokens: 12, output_tokens: 3 };
      call.finishReason = "stop";
    });
    run.startModelCall("left-open");
  });
  assert.ok(await tl.flush());
  const events = await eventsOf(tl, runKey);
  const calls = events.filter((event) => event.type === "model.call").map((event) => event.data);
  const [pieces] = [events.filter((event) => event.type === "message.delta").map((event) => event.data)];
  assert.deepEqual(pieces.map((piece) => piece.span_id), [calls[0]?.span_id, calls[0]?.span_id]);
  assert.deepEqual([calls[0]?.finish_reason, calls[0]?.input_tokens, calls[0]?.provider], ["stop", 12, "house"]);
  assert.equal(typeof calls[0]?.time_to_first_token_ms, "number");
  assert.deepEqual([calls[1]?.model, calls[1]?.status], ["left-open", "client_disconnect"]);
  await tl.close();
});

test("without content, names, figures and errors stay", async () => {
  const { tl } = client({ captureContent: false });
  const runKey = unique("silent");
  await tl.run({ runKey }, async (run) => {
    await run.tool("search", { q: "secret" }, () => "secret");
    run.modelCall("some-model", { messages: ["secret"], response: "secret", inputTokens: 3 });
    run.messageDelta("secret");
  });
  assert.ok(await tl.flush());
  const events = await eventsOf(tl, runKey);
  assert.deepEqual(typesOf(events), ["run.started", "tool.call", "tool.result", "model.call", "run.completed"]);
  assert.ok(!JSON.stringify(events).includes("secret"));
  assert.equal((await tl.get(runKey)).usage.input_tokens, 3);
  await tl.close();
});

test("nothing that a program passes raises into it, and its events arrive", async () => {
  const { tl, problems } = client();
  const runKey = unique("strange");
  const circle: Record<string, unknown> = { name: "circle" };
  circle.itself = circle;
  const hostile = { get secret(): never { throw new Error("boom"); } };
  const values: unknown[] = [
    circle, hostile, 10n ** 30n, Number.NaN, undefined, () => 1, Symbol("s"), new Map([["a", new Set([1])]]), new Error("e"),
    new Date(Number.NaN), Buffer.alloc(10), "half \ud83d of a character", new Proxy({}, { ownKeys: () => { throw new Error("no"); } }),
    Object.assign(Object.create(null) as object, { ["__proto__"]: 1 }), Array.from({ length: 5 }),
  ];
  await tl.run({ runKey, agent: "x".repeat(500), thread: `${unique("a")}/b\n`, metadata: 3 as never, input: circle }, async (run) => {
    values.forEach((value, index) => run.step(`value ${index}`, value));
    values.forEach((value) => run.modelCall(value as string, { inputTokens: value as number, costUsd: value as number, usage: value }));
    await run.tool(undefined as never, values, () => values);
    run.messageDelta(circle as never);
    run.checkpoint(values, { state: circle, stepIndex: "no" as never });
    run.tell("lane.lost", {});
    run.tell("other", {});
  });
  assert.ok(!(await tl.flush()), "two events were refused");
  const run = await tl.get(runKey);
  assert.equal(run.status, "completed");
  assert.equal(tl.status().refused, 2);
  assert.equal(problems.length, 2);
  assert.deepEqual([run.delivery?.complete, run.delivery?.clients?.[0]?.dropped, run.delivery?.clients?.[0]?.missing], [false, 2, []]);
  const steps = (await eventsOf(tl, runKey)).filter((event) => event.type === "step").map((event) => event.data);
  assert.deepEqual(steps[0]?.payload, { name: "circle", itself: "<Object inside itself>" });
  assert.equal(steps[2]?.payload, "1000000000000000000000000000000");
  assert.deepEqual(steps[2]?.towerlog_converted, { payload: "bigint" });
  assert.deepEqual([steps[3]?.payload, steps[11]?.payload], [null, "half \ufffd of a character"]);
  await tl.close();
});

test("state is sent whole or not at all, and what is not sent is counted", async () => {
  const { tl, problems } = client();
  const runKey = unique("large");
  const five = "x".repeat(5 * 1024 * 1024);
  await tl.run({ runKey, input: five, thread: unique("large") }, (run) => {
    run.step("too large", { text: five });
    run.checkpoint([{ role: "user", content: "x".repeat(3 * 1024 * 1024) }], { state: { n: 1 } });
    run.checkpoint(Array.from({ length: 3 }, () => ({ role: "user", content: "x".repeat(6 * 1024 * 1024) })));
  });
  assert.ok(await tl.flush(60_000));
  assert.equal(tl.status().dropped, 2);
  const run = await tl.get(runKey);
  assert.deepEqual([run.status, run.input], ["completed", null]);
  assert.equal(run.delivery?.clients?.[0]?.dropped, 2);
  assert.deepEqual(run.delivery?.clients?.[0]?.missing, []);
  const step = (await eventsOf(tl, runKey)).find((event) => event.type === "step");
  assert.ok((step?.data.towerlog_truncated as { bytes: number }).bytes > five.length);
  const made = await tl.request<{ data: { step_index: number }[] }>("GET", `/api/v1/runs/${run.run_id}/checkpoints`);
  assert.deepEqual(made.data.map((one) => one.step_index), [1]);
  assert.equal(problems.length, 2);
  await tl.close();
});

test("a run without a callback ends with its first end", async () => {
  const { tl } = client();
  const run = tl.startRun({ agent: "callbacks", runKey: unique("loose") });
  assert.equal(tl.currentRun(), undefined);
  assert.equal(tl.within(run, () => tl.currentRun()), run);
  run.finish({ n: 1 });
  run.fail(new Error("too late"));
  assert.ok(await tl.flush());
  assert.equal((await tl.get(run.key)).status, "completed");
  assert.match(run.url ?? "", new RegExp(`/runs/${run.id}$`));
  await tl.close();
});

test("a client that cannot send keeps the program going", async () => {
  for (const options of [{ url: "not a url" }, { apiKey: "two words" }, { url: "http://127.0.0.1:1" }]) {
    const { tl, problems } = client(options);
    assert.equal(await tl.run({}, (run) => run.tool("t", () => 1)), 1);
    assert.equal(await tl.flush(50), false);
    await assert.rejects(tl.request("GET", "/api/v1/whoami", { timeoutMs: 300 }), TowerlogError);
    await tl.close(10);
    assert.equal(problems.length >= 1, true);
  }
});
