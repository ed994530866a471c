/** Vercel's AI SDK with its own mock models: what it returns is untouched, and what it did is in the log. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { recordAI, recordModel, recordTools } from "towerlog/ai";

import { client, eventsOf, typesOf, unique, until } from "./support/rig.js";

const LIBRARY = process.env.TOWERLOG_TESTS_AI ?? "ai";
const VERSION = Number(process.env.TOWERLOG_TESTS_AI_VERSION ?? "6");
// Of whichever version: each is a library of its own to the compiler.
const ai = (await import(LIBRARY)) as any;
const mocks = (await import(`${LIBRARY}/test`)) as any;
const Mock = mocks.MockLanguageModelV4 ?? mocks.MockLanguageModelV3 ?? mocks.MockLanguageModelV2;

const NESTED = VERSION >= 6;
const USAGE = NESTED
  ? { inputTokens: { total: 1200, noCache: 200, cacheRead: 1000, cacheWrite: 0 }, outputTokens: { total: 90, text: 50, reasoning: 40 } }
  : { inputTokens: 1200, outputTokens: 90, totalTokens: 1290, cachedInputTokens: 1000, reasoningTokens: 40 };
const reason = (unified: string): unknown => (NESTED ? { unified, raw: unified } : unified);

const answer = (text: string): object => ({ content: [{ type: "text", text }], finishReason: reason("stop"), usage: USAGE, warnings: [] });
const call = (toolName: string, input: object): object => ({
  content: [{ type: "tool-call", toolCallId: "call_1", toolName, input: JSON.stringify(input) }],
  finishReason: reason("tool-calls"), usage: USAGE, warnings: [],
});
const PIECES = [
  { type: "stream-start", warnings: [] },
  { type: "response-metadata", id: "r1", modelId: "mock-named" },
  { type: "reasoning-start", id: "0" }, { type: "reasoning-delta", id: "0", delta: "cold?" }, { type: "reasoning-end", id: "0" },
  { type: "text-start", id: "1" }, { type: "text-delta", id: "1", delta: "It is " }, { type: "text-delta", id: "1", delta: "cold." }, { type: "text-end", id: "1" },
  { type: "finish", finishReason: reason("stop"), usage: USAGE },
];
const streamed = (pieces: object[]): object => ({ stream: ai.simulateReadableStream({ chunks: pieces, initialDelayInMs: null, chunkDelayInMs: null }) });
const weather = {
  description: "The weather", inputSchema: ai.jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
  execute: async ({ city }: { city: string }) => ({ city, degrees: -3 }),
};

/** Answers one after the other. */
function model(...answers: unknown[]): any {
  const next = async (): Promise<unknown> => {
    const one = answers.shift();
    if (one instanceof Error) throw one;
    return one;
  };
  return new Mock({ modelId: "mock-model", provider: "mock.chat", doGenerate: next, doStream: next });
}

test("an agent with a tool is a run with two model calls and the tool between them", async () => {
  const { tl, problems } = client();
  const agent = unique("forecaster");
  const { generateText } = recordAI(ai, tl, { agent });
  const result = await generateText({ model: model(call("weather", { city: "Oslo" }), answer("-3 degrees.")), prompt: "Oslo?", tools: { weather }, stopWhen: ai.stepCountIs(3) });
  assert.equal(result.text, "-3 degrees.");
  assert.ok(await tl.flush());
  const [row] = await rows(tl, agent);
  const run = await tl.get(row?.run_id ?? "");
  assert.deepEqual([run.status, run.input, run.result], ["completed", "Oslo?", "-3 degrees."]);
  assert.deepEqual([run.usage.input_tokens, run.usage.cached_input_tokens, run.usage.output_tokens, run.usage.reasoning_tokens], [400, 2000, 100, 80]);
  const events = await eventsOf(tl, run.run_id);
  assert.deepEqual(typesOf(events), ["run.started", "model.call", "tool.call", "tool.result", "model.call", "run.completed"]);
  const [, first, told, toldResult, second] = events.map((event) => event.data as any);
  assert.deepEqual([first.model, first.provider, first.finish_reason, first.messages[0].role], ["mock-model", "mock", "tool-calls", "user"]);
  assert.deepEqual([told.tool, told.tool_call_id, told.arguments, toldResult.result], ["weather", "call_1", { city: "Oslo" }, { city: "Oslo", degrees: -3 }]);
  assert.deepEqual([second.messages_after, second.messages.map((one: any) => one.role)], [{ span_id: first.span_id, count: 1 }, ["assistant", "tool"]]);
  assert.deepEqual(problems, []);
  await tl.close();
});

async function rows(tl: ReturnType<typeof client>["tl"], agent: string): Promise<{ run_id: string }[]> {
  const found = [];
  for await (const row of tl.list({ agent })) found.push(row);
  return found;
}

test("a stream is told as it is read, with its thoughts, its figures and its end", async () => {
  const { tl } = client();
  const agent = unique("streamer");
  const { streamText } = recordAI(ai, tl, { agent });
  const pieces: string[] = [];
  let finished = "";
  const result = streamText({ model: model(streamed(PIECES)), prompt: "Oslo?", onFinish: ({ text }: any) => { finished = text; } });
  for await (const piece of result.textStream) pieces.push(piece);
  assert.deepEqual([pieces, finished, await result.text], [["It is ", "cold."], "It is cold.", "It is cold."]);
  assert.ok(await tl.flush());
  const [row] = await rows(tl, agent);
  const events = await eventsOf(tl, row?.run_id ?? "");
  assert.deepEqual(typesOf(events), ["run.started", "message.delta", "message.delta", "message.delta", "model.call", "run.completed"]);
  const [, thought, , , told, end] = events.map((event) => event.data as any);
  assert.deepEqual([thought.channel, thought.content], ["thinking", "cold?"]);
  assert.deepEqual([told.model, told.cached_input_tokens, told.reasoning_tokens, told.finish_reason], ["mock-named", 1000, 40, "stop"]);
  assert.deepEqual(told.response.content, [{ type: "reasoning", text: "cold?" }, { type: "text", text: "It is cold." }]);
  assert.equal(end.result, "It is cold.");
  await tl.close();
});

test("a stream that is left early ends its run", async () => {
  const { tl } = client();
  const agent = unique("leaver");
  const { streamText } = recordAI(ai, tl, { agent });
  for (const read of ["textStream", "fullStream"] as const) {
    const result = streamText({ model: model(streamed(PIECES)), prompt: "Oslo?" });
    for await (const _ of result[read]) break;
  }
  const whole = streamText({ model: model(streamed(PIECES)), prompt: "Oslo?" });
  assert.equal(await new Response(whole.textStream.pipeThrough(new TextEncoderStream())).text(), "It is cold.");
  assert.ok(await tl.flush());
  const found = await rows(tl, agent);
  assert.deepEqual((await Promise.all(found.map((row) => tl.get(row.run_id)))).map((run) => run.status), ["completed", "completed", "completed"]);
  await tl.close();
});

test("failures are the program's, and are told", async () => {
  const { tl } = client();
  const agent = unique("unlucky");
  const { generateText, streamText } = recordAI(ai, tl, { agent });
  const wrong = new Error("no network");
  await assert.rejects(generateText({ model: model(wrong), prompt: "p", maxRetries: 0 }), wrong);
  const said: unknown[] = [];
  const result = streamText({ model: model(streamed([{ type: "stream-start", warnings: [] }, { type: "error", error: wrong }])), prompt: "p", onError: ({ error }: any) => said.push(error) });
  await result.consumeStream();
  assert.deepEqual(said, [wrong]);
  assert.ok(await tl.flush());
  for (const row of await rows(tl, agent)) {
    const events = await eventsOf(tl, row.run_id);
    assert.deepEqual(typesOf(events), ["run.started", "model.call", "run.failed"]);
    assert.deepEqual([events[1]?.data.status, events[1]?.data.error], ["error", "Error: no network"]);
  }
  await tl.close();
});

test("inside a run the calls belong to it, and its cancel stops them", async () => {
  const { tl } = client();
  const { generateText } = recordAI(ai, tl);
  const runKey = unique("outer");
  let asked = 0;
  const slow = new Mock({
    modelId: "slow", provider: "mock",
    doGenerate: ({ abortSignal }: { abortSignal: AbortSignal }) => {
      asked += 1;
      return new Promise((_, reject) => abortSignal.addEventListener("abort", () => reject(abortSignal.reason)));
    },
  });
  const done = tl.run({ runKey }, () => generateText({ model: slow, prompt: "p" }));
  done.catch(() => undefined);
  await until("the call", () => asked === 1);
  assert.ok(await tl.flush());
  await tl.cancel((await tl.get(runKey)).run_id, "enough");
  await assert.rejects(done, { code: "cancelled" });
  assert.ok(await tl.flush());
  const events = await eventsOf(tl, runKey);
  assert.equal((await tl.get(runKey)).status, "cancelled");
  assert.deepEqual(events.filter((event) => event.type === "model.call").map((event) => event.data.status), ["client_disconnect"]);
  assert.equal(asked, 1, "a cancelled call is not tried again");
  await tl.close();
});

test("a model and tools that are recorded may be used anywhere", async () => {
  const { tl } = client();
  const [agent, runKey] = [unique("alone"), unique("holds")];
  const recorded = recordModel(model(answer("alone"), call("weather", { city: "Oslo" }), answer("inside")), tl, { agent });
  assert.equal(recorded.modelId, "mock-model");
  assert.equal((await ai.generateText({ model: recorded, prompt: "p" })).text, "alone");
  const tools = recordTools(Object.freeze({ weather: Object.freeze(weather) }), tl);
  await tl.run({ runKey }, () => ai.generateText({ model: recorded, tools, prompt: "p", stopWhen: ai.stepCountIs(3) }));
  assert.ok(await tl.flush());
  const [own] = await rows(tl, agent);
  assert.deepEqual(typesOf(await eventsOf(tl, own?.run_id ?? "")), ["run.started", "model.call", "run.completed"]);
  assert.deepEqual(typesOf(await eventsOf(tl, runKey)), ["run.started", "model.call", "tool.call", "tool.result", "model.call", "run.completed"]);
  await tl.close();
});

test("an object is the result of its run", async () => {
  const { tl } = client();
  const agent = unique("objects");
  const { generateObject } = recordAI(ai, tl, { agent });
  const schema = ai.jsonSchema({ type: "object", properties: { degrees: { type: "number" } } });
  const result = await generateObject({ model: model(answer('{"degrees":-3}')), schema, prompt: "p" });
  assert.deepEqual(result.object, { degrees: -3 });
  assert.ok(await tl.flush());
  const [row] = await rows(tl, agent);
  assert.deepEqual((await tl.get(row?.run_id ?? "")).result, { degrees: -3 });
  await tl.close();
});

test("the terms on which a provider has served a call are told with it", async () => {
  const { tl } = client();
  const agent = unique("flexible");
  const served = { providerMetadata: { openai: { serviceTier: "flex" } } };
  const pieces = PIECES.map((piece) => (piece.type === "finish" ? { ...piece, ...served } : piece));
  const { generateText, streamText } = recordAI(ai, tl, { agent });
  await generateText({ model: model({ ...answer("Hm."), ...served }), prompt: "Hm?" });
  await streamText({ model: model(streamed(pieces)), prompt: "Hm?" }).text;
  assert.ok(await tl.flush());
  for (const row of await rows(tl, agent)) {
    const [told] = (await eventsOf(tl, row.run_id)).filter((event) => event.type === "model.call");
    assert.equal((told?.data as any).service_tier, "flex");
  }
});

test("a recorded model in a recorded call tells each of its calls once", async () => {
  const { tl } = client();
  const agent = unique("twice");
  const { generateText, streamText } = recordAI(ai, tl, { agent });
  await generateText({ model: recordModel(model(answer("Hm.")), tl), prompt: "Hm?" });
  await streamText({ model: recordModel(model(streamed(PIECES)), tl), prompt: "Hm?" }).text;
  assert.ok(await tl.flush());
  const found = await rows(tl, agent);
  assert.equal(found.length, 2);
  for (const row of found) assert.equal((await tl.get(row.run_id)).usage.input_tokens, 200);
});
