/**
 * Vercel's AI SDK, whose calls are reported: `const { generateText, streamText } = recordAI(ai, tl)`.
 *
 * Each call belongs to the current run; outside of any it is a run of its own. Nothing here throws into the program but the
 * cancel of its run, and what the AI SDK is asked and answers is handed on as it is.
 */

import type { Run, Towerlog } from "../node.js";
import { linked } from "../wire/http.js";
import { type JsonObject, isObject } from "../wire/refusals.js";
import { watchedResult } from "./leaving.js";
import { type Model, type Place, contentOf, finishRun, isModel, quietly, reported } from "./model.js";
import { reportedTools } from "./tools.js";

export interface RecordOptions {
  /** Whose runs calls outside of any run are. */
  agent?: string;
}

const WHOLE = ["generateText", "generateObject"] as const;
const STREAMED = ["streamText", "streamObject"] as const;
const RECORDED = [...WHOLE, ...STREAMED];

/** Models that report by themselves. */
const recordedBy = new WeakMap<object, Towerlog>();

type Ask = (options: JsonObject) => unknown;
type Recorded = (typeof RECORDED)[number];

/** The functions of the AI SDK that ask a model, reporting. `ai`: all that `import * as ai from "ai"` gives. */
export function recordAI<A extends object>(ai: A, tl: Towerlog, options: RecordOptions = {}): Pick<A, Recorded & keyof A> {
  const found = ai as Partial<Record<Recorded, Ask>> & { gateway?: unknown };
  const made: Partial<Record<Recorded, Ask>> = {};
  for (const name of WHOLE) {
    const ask = found[name];
    if (ask !== undefined) made[name] = (given) => asked(ask, given, found, tl, options, false);
  }
  for (const name of STREAMED) {
    const ask = found[name];
    if (ask !== undefined) made[name] = (given) => asked(ask, given, found, tl, options, true);
  }
  return made as Pick<A, Recorded & keyof A>;
}

/** A model whose calls are reported, wherever it is used: in the current run, else each as a run of its own. */
export function recordModel<M extends object>(model: M, tl: Towerlog, options: RecordOptions = {}): M {
  if (!isModel(model)) return model;
  const made = reported(model as M & Model, (input) => {
    const run = tl.currentRun();
    return run === undefined ? { run: ownRun(tl, options, input), isOwn: true } : { run, isOwn: false };
  });
  recordedBy.set(made, tl);
  return made;
}

/** Tools whose calls are reported in the current run. */
export function recordTools<T extends object>(tools: T, tl: Towerlog): T {
  return reportedTools(tools, () => tl.currentRun());
}

/** A run for a call outside of any. */
function ownRun(tl: Towerlog, options: RecordOptions, input: unknown): Run {
  return tl.startRun({ agent: options.agent ?? "ai", ...(tl.capturesContent ? { input } : {}) });
}

/** One call of the AI SDK. */
function asked(ask: Ask, given: JsonObject, ai: { gateway?: unknown }, tl: Towerlog, options: RecordOptions, isStreamed: boolean): unknown {
  const current = tl.currentRun();
  const run = current ?? ownRun(tl, options, inputOf(given));
  const place: Place = { run, isOwn: false };
  const abort = new AbortController();
  const unlink = linked(abort, given.abortSignal instanceof AbortSignal ? given.abortSignal : undefined, run.signal);
  const watched: JsonObject = { ...given, abortSignal: abort.signal };
  const model = modelOf(given.model, ai);
  // One that reports by itself does so in this run.
  if (model !== undefined && recordedBy.get(model) !== tl) watched.model = reported(model, () => place);
  if (isObject(given.tools)) watched.tools = reportedTools(given.tools, () => run);
  const own = current === undefined ? run : undefined;
  if (isStreamed) {
    const result = tl.within(run, () => ask(withEnds(watched, own, unlink)));
    return own === undefined ? result : watchedResult(result, () => quietly(() => left(own, unlink)));
  }
  return tl.within(run, () => whole(ask, watched, own, unlink));
}

async function whole(ask: Ask, given: JsonObject, own: Run | undefined, unlink: () => void): Promise<unknown> {
  try {
    const result = await ask(given);
    if (own !== undefined) finishRun(own, resultOf(result));
    return result;
  } catch (error) {
    own?.fail(error);
    throw error;
  } finally {
    unlink();
  }
}

/** Nobody reads on: the run ends with what it has by then. */
function left(own: Run, unlink: () => void): void {
  unlink();
  finishRun(own, undefined);
}

/** A streamed call ends where the AI SDK says so, which it does once somebody has read it. */
function withEnds(given: JsonObject, own: Run | undefined, unlink: () => void): JsonObject {
  const ends = (name: string, end: (event: JsonObject) => void, otherwise?: (event: JsonObject) => void) => {
    const theirs = typeof given[name] === "function" ? (given[name] as (event: JsonObject) => unknown) : otherwise;
    return (event: JsonObject): unknown => {
      quietly(() => end(event));
      return theirs?.(event);
    };
  };
  return {
    ...given,
    onFinish: ends("onFinish", (event) => {
      unlink();
      if (own !== undefined) finishRun(own, resultOf(event));
    }),
    // What the AI SDK does where nobody has said what to do.
    onError: ends("onError", (event) => own?.fail(event.error ?? "failed"), (event) => console.error(event.error)),
    onAbort: ends("onAbort", () => {
      unlink();
      const cancel = new Error("aborted");
      cancel.name = "AbortError";
      own?.fail(cancel);
    }),
  };
}

/** The model that is asked: a text names one of the default provider. */
function modelOf(model: unknown, ai: { gateway?: unknown }): Model | undefined {
  if (isModel(model)) return model;
  const provider = (globalThis as { AI_SDK_DEFAULT_PROVIDER?: unknown }).AI_SDK_DEFAULT_PROVIDER ?? ai.gateway;
  if (typeof model !== "string" || provider === null || (typeof provider !== "object" && typeof provider !== "function")) return undefined;
  const { languageModel } = provider as { languageModel?: (id: string) => unknown };
  const found = typeof languageModel === "function" ? languageModel.call(provider, model) : undefined;
  return isModel(found) ? found : undefined;
}

function inputOf(given: JsonObject): unknown {
  const { prompt, messages } = given;
  if (typeof prompt === "string") return prompt;
  const all: unknown = Array.isArray(prompt) ? prompt : messages;
  return Array.isArray(all) ? contentOf(all.at(-1)) : undefined;
}

function resultOf(result: unknown): unknown {
  try {
    if (!isObject(result)) return undefined;
    return "object" in result && result.object !== undefined ? result.object : result.text;
  } catch {
    // Getters of the AI SDK's results throw for what they do not have.
    return undefined;
  }
}
