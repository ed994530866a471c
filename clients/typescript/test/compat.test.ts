/** The names that programs of the dialect `steps` use. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventType, configure, flush, hitlReceived, hitlRequest, sendEvent, trace } from "towerlog/compat";

import { KEY, URL_OF_SERVER, client, eventsOf, typesOf, unique, until } from "./support/rig.js";
import { Relay } from "./support/relay.js";

test("a trace is a run, with its steps, its question and its figures", async () => {
  configure({ url: URL_OF_SERVER, apiKey: KEY });
  const { tl } = client();
  const sdkRunId = unique("sdk");
  const work = async (run: { usage: object }): Promise<object> => {
    sendEvent(EventType.STEP, { node_name: "search_web", phase: "end", duration_ms: 890 });
    await new Promise((resolve) => setImmediate(resolve));
    sendEvent(EventType.TOOL_CALL, { tool_name: "web_search", phase: "end", input_preview: "Zurich", output_preview: "12°C" });
    hitlRequest("Publish?", { context: { page: 1 }, channel: "slack" });
    hitlReceived("yes", { respondedBy: "ann" });
    run.usage = { prompt_tokens: 150, completion_tokens: 45, total_tokens: 195, cost_usd: 0.0023, model: "gpt-4" };
    return { answer: "cloudy" };
  };
  assert.deepEqual(await trace("research-agent", work, { framework: "langgraph", input: { q: 1 }, sdkRunId }), { answer: "cloudy" });
  assert.ok(await flush());
  const run = await until("the run", async () => (await all(tl, { q: sdkRunId }))[0]);
  const whole = await tl.get(run.run_id);
  assert.deepEqual([whole.status, whole.agent, whole.usage.input_tokens, whole.total_cost_usd], ["completed", "research-agent", 150, 0.0023]);
  assert.deepEqual(typesOf(await eventsOf(tl, run.run_id)), ["run.started", "step", "tool.result", "run.waiting_for_input", "run.input", "run.completed"]);
  await tl.close();
});

async function all(tl: ReturnType<typeof client>["tl"], filters: object): Promise<{ run_id: string }[]> {
  const found = [];
  for await (const row of tl.list(filters)) found.push(row);
  return found;
}

test("what a trace throws is its error, and goes on; a rate limit and a lost reply cost nothing", async () => {
  const relay = await new Relay().start();
  const problems: string[] = [];
  configure({ url: relay.url, apiKey: KEY, onProblem: (words) => problems.push(words) });
  const left = [{ status: 429, headers: { "Retry-After": "1" }, body: '{"message": "Too Many Attempts."}' }, { losesReply: true as const }];
  relay.fault = () => left.shift();
  const sdkRunId = unique("sdk");
  const wrong = new TypeError("API rate limit exceeded");
  await assert.rejects(trace("a", () => Promise.reject(wrong), { sdkRunId }), wrong);
  assert.ok(await flush(20_000));
  const { tl } = client();
  const [run] = await all(tl, { q: sdkRunId });
  assert.equal((await tl.get(run?.run_id ?? "")).status, "failed");
  assert.deepEqual(typesOf(await eventsOf(tl, run?.run_id ?? "")), ["run.started", "run.failed"]);
  const sizes = problems.length;
  sendEvent(EventType.STEP, { node_name: "nowhere" });
  sendEvent(EventType.STEP, { get node_name() { throw new Error("boom"); } } as never, { sdkRunId });
  assert.equal(problems.length, sizes + 2);
  await Promise.all([tl.close(), relay.stop()]);
});

test("a cancel that comes with a reply aborts the trace", async () => {
  configure({ url: URL_OF_SERVER, apiKey: KEY });
  const { tl } = client();
  const sdkRunId = unique("sdk");
  await assert.rejects(
    trace("a", async (run) => {
      assert.ok(await flush());
      const [found] = await all(tl, { q: sdkRunId });
      await tl.cancel(found?.run_id ?? "");
      sendEvent(EventType.STEP, { node_name: "next" });
      assert.ok(await flush());
      run.signal.throwIfAborted();
    }, { sdkRunId }),
    { code: "cancelled" },
  );
  await flush();
  await tl.close();
});
