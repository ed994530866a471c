/** Models of Vercel's AI SDK whose calls are reported: what they return is handed on untouched. */

import { isCancellation } from "../record/spans.js";
import type { ModelCall, Run } from "../node.js";
import { type JsonObject, isObject } from "../wire/refusals.js";
import { linked } from "../wire/http.js";
import { uuid7 } from "../wire/ids.js";
import { Answer } from "./answer.js";
import { overlay } from "./overlay.js";
import { ToldMessages } from "./told_messages.js";

/** What a model takes. */
interface CallOptions {
  prompt?: unknown;
  abortSignal?: AbortSignal;
}

/** A language model, of whichever version of the interface. */
export interface Model {
  readonly modelId: string;
  readonly provider: string;
  doGenerate(options: CallOptions): PromiseLike<unknown>;
  doStream(options: CallOptions): PromiseLike<unknown>;
}

export function isModel(value: unknown): value is Model {
  return isObject(value) && typeof value.doGenerate === "function" && typeof value.doStream === "function";
}

/** Which run a call belongs to, and whether it was begun for that call alone. */
export interface Place {
  run: Run;
  isOwn: boolean;
}

const toldOf = new WeakMap<Run, ToldMessages>();

/** The model, whose calls are reported in the run that `place` names. */
export function reported<M extends Model>(model: M, place: (input: unknown) => Place): M {
  const doGenerate = async (options: CallOptions): Promise<unknown> => {
    const call = new Call(model, options, place);
    try {
      const result = await model.doGenerate(call.options);
      call.end(() => call.answer.take(result));
      return result;
    } catch (error) {
      call.fail(error);
      throw error;
    }
  };
  const doStream = async (options: CallOptions): Promise<unknown> => {
    const call = new Call(model, options, place);
    try {
      const result = await model.doStream(call.options);
      return isObject(result) && result.stream instanceof ReadableStream ? { ...result, stream: call.seen(result.stream) } : result;
    } catch (error) {
      call.fail(error);
      throw error;
    }
  };
  return overlay(model, { doGenerate, doStream });
}

/** One call that goes on. */
class Call {
  readonly answer: Answer;
  readonly options: CallOptions;
  readonly #told: ModelCall;
  readonly #place: Place;
  readonly #unlink: () => void;

  /** Throws where the run was cancelled: a call is not made then. */
  constructor(model: Model, options: CallOptions, place: (input: unknown) => Place) {
    const prompt = Array.isArray(options.prompt) ? (options.prompt as unknown[]) : [];
    this.#place = place(contentOf(prompt.at(-1)));
    const { run } = this.#place;
    run.check();
    const abort = new AbortController();
    this.#unlink = linked(abort, options.abortSignal, run.signal);
    this.options = { ...options, abortSignal: abort.signal };
    const spanId = uuid7();
    const provider = String(model.provider).split(".")[0] || undefined;
    this.#told = run.startModelCall(model.modelId, { provider, ...messagesOf(run, model.modelId, spanId, prompt) }, { spanId });
    this.answer = new Answer(this.#told);
  }

  /** Ends it, after what `last` finds out about it. */
  end(last: () => void): void {
    quietly(last);
    this.#unlink();
    if (this.answer.error !== undefined) this.#told.finish(this.answer.error);
    else this.#told.finish();
    if (this.#place.isOwn) finishRun(this.#place.run, this.answer.text, this.answer.error);
  }

  fail(error: unknown): void {
    this.#unlink();
    if (isCancellation(error)) this.#told.interrupt(error);
    else this.#told.finish(error ?? "failed");
    if (this.#place.isOwn) this.#place.run.fail(error);
  }

  /** A stream of what the model says, which is looked at as it is read. */
  seen(stream: ReadableStream<unknown>): ReadableStream<unknown> {
    const reader = stream.getReader();
    return new ReadableStream<unknown>(
      {
        pull: async (to) => {
          try {
            const { done, value } = await reader.read();
            if (done) {
              this.end(() => this.answer.close());
              to.close();
            } else {
              quietly(() => this.answer.piece(value));
              // At once: whoever gets the error may end the run.
              if (this.answer.error !== undefined) this.end(() => this.answer.close());
              to.enqueue(value);
            }
          } catch (error) {
            this.fail(error);
            to.error(error);
          }
        },
        cancel: async (reason) => {
          quietly(() => this.answer.close());
          this.#unlink();
          this.#told.interrupt("the rest of it was not read");
          if (this.#place.isOwn) finishRun(this.#place.run, this.answer.text);
          await reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
  }
}

/** The end of a run that is one call. */
export function finishRun(run: Run, result: unknown, error?: unknown): void {
  if (error !== undefined) run.fail(error);
  else run.finish(run.capturesContent ? result : undefined);
}

function messagesOf(run: Run, conversation: string, spanId: string, prompt: unknown[]): JsonObject {
  if (!run.capturesContent) return {};
  const told = toldOf.get(run) ?? new ToldMessages();
  toldOf.set(run, told);
  return told.members(conversation, spanId, prompt);
}

/** What a message says: its text, or its parts. */
export function contentOf(message: unknown): unknown {
  if (!isObject(message)) return message;
  const { content } = message;
  const texts = Array.isArray(content) ? content.filter((part) => isObject(part) && part.type === "text") : [];
  const isText = texts.length > 0 && texts.length === (content as unknown[]).length;
  return isText ? texts.map((part) => String((part as JsonObject).text)).join("") : content;
}

/** Looks at something of others, which may be of any form. */
export function quietly(look: () => void): void {
  try {
    look();
  } catch {
    // What it would have told is missing; the program goes on.
  }
}
