/** Tools of Vercel's AI SDK whose calls are reported, with the model's own ids. */

import { isCancellation } from "../record/spans.js";
import type { Run, ToolCall } from "../node.js";
import { isObject } from "../wire/refusals.js";
import { overlay } from "./overlay.js";

type Execute = (input: unknown, options: { toolCallId?: string }) => unknown;

/** The tools, whose calls are reported in the run that is found when they are called; without a run they are not. */
export function reportedTools<T extends object>(tools: T, runOf: () => Run | undefined): T {
  const pairs = Object.entries(tools).map(([name, tool]: [string, unknown]) => [name, reportedTool(name, tool, runOf)]);
  return Object.fromEntries(pairs) as T;
}

function reportedTool(name: string, tool: unknown, runOf: () => Run | undefined): unknown {
  if (!isObject(tool) || typeof tool.execute !== "function") return tool;
  const execute = tool.execute.bind(tool) as Execute;
  const watched: Execute = (input, options) => {
    const run = runOf();
    if (run === undefined) return execute(input, options);
    const toolCallId = typeof options?.toolCallId === "string" ? { toolCallId: options.toolCallId } : {};
    const call = run.startTool(name, input, toolCallId);
    return watch(call, () => run.inside(call, () => execute(input, options)));
  };
  return overlay(tool, { execute: watched });
}

/** A tool gives a value, a promise of one, or values one after the other, of which the last is the result. */
function watch(call: ToolCall, work: () => unknown): unknown {
  let made: unknown;
  try {
    made = work();
  } catch (error) {
    ended(call, error);
    throw error;
  }
  if (isObject(made) && Symbol.asyncIterator in made) return values(call, made as unknown as AsyncIterable<unknown>);
  return whole(call, made);
}

async function whole(call: ToolCall, made: unknown): Promise<unknown> {
  try {
    call.result = await made;
    call.finish();
    return call.result;
  } catch (error) {
    ended(call, error);
    throw error;
  }
}

async function* values(call: ToolCall, made: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  try {
    for await (const value of made) {
      call.result = value;
      yield value;
    }
    call.finish();
  } catch (error) {
    ended(call, error);
    throw error;
  } finally {
    // Only where its reader has stopped before its end.
    call.interrupt("the rest of it was not read");
  }
}

function ended(call: ToolCall, error: unknown): void {
  if (isCancellation(error)) call.interrupt(error);
  else call.finish(error ?? "failed");
}
