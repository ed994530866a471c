/** Spans: the time between two events of a run. A span that is open when another begins inside it is its parent. */

import { describe, nameOf, textOf } from "../values/texts.js";
import { uuid7 } from "../wire/ids.js";
import type { CallOptions, ModelCallMembers } from "./options.js";

/** What a span needs from its run. */
export interface SpanRun {
  tell(type: string, data: Record<string, unknown>, agent?: string): void;
  modelCall(model: string, members: ModelCallMembers): void;
  messageDelta(content: string, options: { span?: Span; channel?: string; agent?: string | undefined }): void;
  /** The innermost open span of the code that calls; undefined where there is none. */
  openSpan(): Span | undefined;
  /** Notes a call that has begun, or has ended: one that is open when the run ends was interrupted. */
  began(call: OpenCall): void;
  ended(call: OpenCall): void;
}

export interface OpenCall {
  interrupt(reason: unknown): void;
}

/** Whether an error means that the work was cancelled, not that it failed. */
export function isCancellation(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

export class Span {
  readonly spanId: string;
  readonly parentId: string | undefined;
  isEnded = false;
  readonly #beganAt = performance.now();

  constructor(
    readonly run: SpanRun,
    protected readonly options: CallOptions,
  ) {
    this.spanId = options.spanId ?? uuid7();
    this.parentId = options.parent === undefined ? run.openSpan()?.spanId : idOf(options.parent) || undefined;
  }

  /** Milliseconds since it began; null if its end has been told already. */
  protected close(): number | null {
    if (this.isEnded) return null;
    this.isEnded = true;
    return this.elapsedMs();
  }

  protected elapsedMs(): number {
    return Math.round(performance.now() - this.#beganAt);
  }

  protected get place(): Record<string, unknown> {
    return this.parentId === undefined ? {} : { parent_span_id: this.parentId };
  }
}

export function idOf(span: Span | string): string {
  return typeof span === "string" ? span : span.spanId;
}

/** A step with a beginning and an end. */
export class Step extends Span {
  constructor(
    run: SpanRun,
    readonly name: string,
    private readonly payload: unknown,
    options: CallOptions,
  ) {
    super(run, options);
    this.#tell({ phase: "start" });
  }

  finish(error?: unknown): void {
    const duration = this.close();
    if (duration === null) return;
    this.#tell({ phase: "end", duration_ms: duration, ...(error === undefined ? {} : { error: describe(error) }) });
  }

  #tell(members: Record<string, unknown>): void {
    const data = { name: this.name, span_id: this.spanId, ...this.place, ...members };
    this.run.tell("step", this.payload === undefined ? data : { ...data, payload: this.payload }, this.options.agent);
  }
}

/** A call of a tool and its result. */
export class ToolCall extends Span implements OpenCall {
  /** What it gave; told with its end. */
  result: unknown = undefined;
  readonly tool: string;
  #error: string | undefined;

  constructor(run: SpanRun, tool: unknown, args: unknown, options: CallOptions) {
    super(run, options);
    this.tool = nameOf(tool);
    run.began(this);
    run.tell("tool.call", { ...this.#head(), ...(args === undefined ? {} : { arguments: args }) }, options.agent);
  }

  /** The id that pairs the call with its result: the model's own where that is given. */
  get toolCallId(): string {
    return this.options.toolCallId || this.spanId;
  }

  /** Marks the call as failed. */
  fail(error: unknown): void {
    this.#error = describe(error);
  }

  finish(error?: unknown): void {
    if (error !== undefined) this.fail(error);
    this.#finish({});
  }

  /** The call was given up before it had a result. */
  interrupt(reason: unknown = "interrupted"): void {
    this.fail(reason);
    this.#finish({ interrupted: true });
  }

  #finish(more: Record<string, unknown>): void {
    const duration = this.close();
    if (duration === null) return;
    this.run.ended(this);
    const data: Record<string, unknown> = { ...this.#head(), success: this.#error === undefined, duration_ms: duration, ...more };
    if (this.result !== undefined) data.result = this.result;
    if (this.#error !== undefined) data.error = this.#error;
    this.run.tell("tool.result", data, this.options.agent);
  }

  #head(): Record<string, unknown> {
    const own = this.options.toolCallId ? { span_id: this.spanId } : {};
    return { tool: this.tool, tool_call_id: this.toolCallId, ...own, ...this.place };
  }
}

/** A call of a model: told as one event at its end, and its text as it comes before that. */
export class ModelCall extends Span implements OpenCall {
  response: unknown = undefined;
  /** What the provider says that it has used, as it says it. */
  usage: unknown = undefined;
  finishReason: string | undefined = undefined;
  costUsd: number | string | undefined = undefined;
  #firstMs: number | undefined;

  constructor(
    run: SpanRun,
    public model: string,
    private readonly members: ModelCallMembers,
    options: CallOptions,
  ) {
    super(run, options);
    run.began(this);
  }

  /** Notes that the first of its text has come; only the first time counts. */
  firstToken(): void {
    this.#firstMs ??= this.elapsedMs();
  }

  /** A piece of its text, or of its thoughts. */
  delta(content: string, channel: "text" | "thinking" = "text"): void {
    this.firstToken();
    this.run.messageDelta(content, { span: this, channel, agent: this.options.agent });
  }

  finish(error?: unknown): void {
    this.#finish(error === undefined ? {} : { status: "error", error: describe(error) });
  }

  /** Nobody waited for the rest of it. */
  interrupt(reason: unknown = "interrupted"): void {
    this.#finish({ status: "client_disconnect", error: reason instanceof Error ? describe(reason) : textOf(reason) });
  }

  #finish(more: Record<string, unknown>): void {
    const duration = this.close();
    if (duration === null) return;
    this.run.ended(this);
    this.run.modelCall(this.model, {
      ...this.members,
      ...more,
      usage: this.usage ?? this.members.usage,
      costUsd: this.costUsd ?? this.members.costUsd,
      response: this.response,
      finish_reason: this.finishReason,
      timeToFirstTokenMs: this.#firstMs,
      durationMs: duration,
      span: this,
      parent: this.parentId ?? "",
      agent: this.options.agent,
    });
  }
}
