/** What a model has answered, whole or in pieces, in the words of the interface of the AI SDK's models (versions 2 to 4). */

import type { ModelCall } from "../node.js";
import { type JsonObject, isObject } from "../wire/refusals.js";

/** Characters of an answer that is put together from pieces. */
const MAX_CHARS = 1_000_000;

export class Answer {
  text = "";
  error: unknown = undefined;
  #parts: JsonObject[] = [];
  #chars = 0;

  constructor(private readonly call: ModelCall) {}

  /** A whole answer. */
  take(result: unknown): void {
    if (!isObject(result)) return;
    const content = Array.isArray(result.content) ? (result.content as unknown[]).filter(isObject) : [];
    this.text = content.filter((part) => part.type === "text").map((part) => String(part.text)).join("");
    this.call.response = { role: "assistant", content };
    this.#take(result);
    if (isObject(result.response)) this.#named(result.response);
  }

  /** A piece of a streamed answer. */
  piece(part: unknown): void {
    if (!isObject(part)) return;
    if (part.type === "text-delta") this.#delta("text", String(part.delta));
    else if (part.type === "reasoning-delta") this.#delta("reasoning", String(part.delta));
    else if (part.type === "tool-call") this.#parts.push(part);
    else if (part.type === "response-metadata") this.#named(part);
    else if (part.type === "error") this.error = part.error ?? "failed";
    else if (part.type === "finish") this.#take(part);
  }

  /** The end of a streamed answer. */
  close(): void {
    this.call.response = { role: "assistant", content: this.#parts };
  }

  #delta(type: "text" | "reasoning", delta: string): void {
    this.call.delta(delta, type === "text" ? "text" : "thinking");
    this.#chars += delta.length;
    if (this.#chars > MAX_CHARS) return;
    if (type === "text") this.text += delta;
    const last = this.#parts.at(-1);
    if (last?.type === type) last.text = String(last.text) + delta;
    else this.#parts.push({ type, text: delta });
  }

  #take(said: JsonObject): void {
    const { finishReason, usage } = said;
    const reason = isObject(finishReason) ? finishReason.unified : finishReason;
    if (typeof reason === "string") this.call.finishReason = reason;
    if (isObject(usage)) this.call.usage = withTerms(usageIn(usage), said.providerMetadata);
  }

  #named(said: JsonObject): void {
    if (typeof said.modelId === "string" && said.modelId) this.call.model = said.modelId;
  }
}

/** The usage, with the terms on which a provider has served the call beside it. */
function withTerms(usage: JsonObject | undefined, metadata: unknown): JsonObject | undefined {
  const told = isObject(metadata) ? Object.values(metadata).filter(isObject) : [];
  const tier = told.map((of) => of.serviceTier ?? of.service_tier).find((word) => typeof word === "string");
  return usage === undefined || tier === undefined ? usage : { ...usage, serviceTier: tier };
}

/** Usage as the AI SDK gives it to programs; models of the newer interfaces nest it, and leave out what they do not know. */
function usageIn(usage: JsonObject): JsonObject | undefined {
  const { inputTokens: input, outputTokens: output } = usage;
  if (!isObject(input) && !isObject(output)) return usage;
  const [given, made] = [isObject(input) ? input : {}, isObject(output) ? output : {}];
  const known = {
    inputTokens: given.total,
    outputTokens: made.total,
    inputTokenDetails: { cacheReadTokens: given.cacheRead, cacheWriteTokens: given.cacheWrite },
    outputTokenDetails: { reasoningTokens: made.reasoning },
  };
  // A usage of which nothing is known is unknown, and none that cannot be used.
  const figures = [given.total, given.cacheRead, given.cacheWrite, made.total, made.reasoning];
  return figures.some((figure) => figure !== undefined && figure !== null) ? known : undefined;
}
