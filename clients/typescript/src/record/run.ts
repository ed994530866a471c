/** A run inside its own program: the events that it reports, and the commands that it receives. It sends nothing itself. */

import { Fit, count, dollars, labels, list, mapping, milliseconds } from "../values/figures.js";
import { describe, nameOf, textOf } from "../values/texts.js";
import { BUCKETS, TOTAL, type Usage, usageOf } from "../values/usage.js";
import type { Command } from "../wire/batch.js";
import { digestOf } from "../wire/ids.js";
import type { Watch } from "./backlog.js";
import { Inbox, NO_ANSWER } from "./commands.js";
import type { AskOptions, CallOptions, CheckpointOptions, ModelCallMembers, RunOptions } from "./options.js";
import { type Pending, within } from "./pending.js";
import { ModelCall, type OpenCall, Span, type SpanRun, Step, ToolCall, idOf, isCancellation } from "./spans.js";

/** How long an `ask` whose time is over waits for the server to say whether an answer was first. */
const SETTLE_MS = 5_000;
/** Calls that are remembered while they are open, to be told as interrupted at the run's end. */
const MAX_OPEN_CALLS = 10_000;
/** Wordings of questions that are counted. */
const MAX_WORDINGS = 10_000;
/** Members of data that are content, which is left out where only metadata is told. */
const CONTENT: Readonly<Record<string, readonly string[]>> = {
  "tool.call": ["arguments"],
  "tool.result": ["result"],
  "model.call": ["messages", "response"],
};
/** How the counts of a model call are called here and in its event. */
const COUNTS = {
  input_tokens: "inputTokens",
  cached_input_tokens: "cachedInputTokens",
  cache_write_tokens: "cacheWriteTokens",
  output_tokens: "outputTokens",
  reasoning_tokens: "reasoningTokens",
} as const;

/** What takes a run's events, and says what is around it. */
export interface Sink {
  put(run: Run, type: string, data: Record<string, unknown>, agent: string | undefined, watch?: Watch): void;
  openSpan(run: Run): Span | undefined;
  /** Runs work with a span as the innermost one. */
  inside<R>(run: Run, span: Span, work: () => R): R;
  expect(run: Run): () => void;
  ended(run: Run): void;
  urlOf(runId: string): string;
}

export class Run implements SpanRun {
  /** The server's id, once its first event is delivered. */
  id: string | null = null;
  hasEnded = false;
  readonly #calls = new Set<OpenCall>();
  readonly #inbox = new Inbox((command, taken) => this.#acknowledge(command, taken));
  /** Wording of a question after a step → how often it was asked. */
  readonly #asked = new Map<string, number>();
  #steps = 0;
  /** Ends the wait for a cancel. */
  #listening: (() => void) | null = null;

  constructor(
    private readonly sink: Sink,
    readonly key: string,
    readonly agent: string | undefined,
    readonly thread: string | undefined,
    /** Whether what was said is told, or only that something was. */
    readonly capturesContent: boolean,
    /** Whether the program waits for this run's work, so that a cancel is listened for while it does. */
    private readonly isAwaited: boolean,
  ) {}

  /** The run's page on the dashboard, once its id is known. */
  get url(): string | null {
    return this.id === null ? null : this.sink.urlOf(this.id);
  }

  // Reporting: nothing here throws, waits or asks the network

  /** An event of a type that has no method of its own. */
  tell(type: string, data: Record<string, unknown>, agent?: string): void {
    this.#put(type, data, agent);
  }

  #put(type: string, data: Record<string, unknown>, agent?: string, watch?: Watch): void {
    if (!this.capturesContent && type === "message.delta") return;
    const hidden = this.capturesContent ? undefined : CONTENT[type];
    const told = hidden === undefined ? data : Object.fromEntries(Object.entries(data).filter(([name]) => !hidden.includes(name)));
    this.sink.put(this, type, told, agent === undefined ? this.agent : nameOf(agent), watch);
  }

  /** Work in a step, with a start and an end; without work it is one event. */
  step(name: string, payload?: unknown): void;
  step<T>(name: string, work: (step: Step) => T | Promise<T>): Promise<T>;
  step<T>(name: string, payload: unknown, work: (step: Step) => T | Promise<T>, options?: CallOptions): Promise<T>;
  step<T>(name: string, ...rest: unknown[]): Promise<T> | void {
    const [payload, work, options] = typeof rest[0] === "function" ? [undefined, rest[0], rest[1]] : rest;
    if (typeof work !== "function") {
      const parent = this.openSpan()?.spanId;
      const place = parent === undefined ? {} : { parent_span_id: parent };
      this.tell("step", { name: nameOf(name), ...place, ...(payload === undefined ? {} : { payload }) });
      return;
    }
    const step = new Step(this, nameOf(name), payload, (options as CallOptions | undefined) ?? {});
    return this.#inSpan(step, work as (step: Step) => T, (error) => step.finish(error));
  }

  /** Work that is a call of a tool: what it returns is the result, what it throws the failure. */
  tool<T>(name: string, work: (call: ToolCall) => T | Promise<T>): Promise<T>;
  tool<T>(name: string, args: unknown, work: (call: ToolCall) => T | Promise<T>, options?: CallOptions): Promise<T>;
  tool<T>(name: string, ...rest: unknown[]): Promise<T> {
    const [args, work, options] = typeof rest[0] === "function" ? [undefined, rest[0], rest[1]] : rest;
    const call = this.startTool(name, args, options as CallOptions | undefined);
    const watched = async (): Promise<T> => {
      const result = await (work as (call: ToolCall) => T)(call);
      call.result ??= result;
      return result;
    };
    return this.#inSpan(call, watched, (error) => (isCancellation(error) ? call.interrupt(error) : call.finish(error)));
  }

  /** A call of a tool where a callback does not fit; it ends with its `finish`. */
  startTool(name: string, args?: unknown, options: CallOptions = {}): ToolCall {
    return new ToolCall(this, name, args, options);
  }

  /** Work with a span as the innermost one around it. */
  inside<T>(span: Span, work: () => T): T {
    return this.sink.inside(this, span, work);
  }

  /** A call of a model that begins now; it ends with its `finish`. */
  startModelCall(model: string, members: ModelCallMembers = {}, options: CallOptions = {}): ModelCall {
    return new ModelCall(this, nameOf(model), members, options);
  }

  /** Work that is a call of a model. */
  model<T>(model: string, members: ModelCallMembers, work: (call: ModelCall) => T | Promise<T>, options: CallOptions = {}): Promise<T> {
    const call = this.startModelCall(model, members, options);
    return this.#inSpan(call, work, (error) => (isCancellation(error) ? call.interrupt(error) : call.finish(error)));
  }

  /** A call of a model that has ended. */
  modelCall(model: string, members: ModelCallMembers): void {
    const { usage, costUsd, durationMs, timeToFirstTokenMs, span, parent, agent, ...rest } = members;
    const fit = new Fit().take("usage", usage, usageOf);
    const buckets = (fit.data.usage ?? {}) as Usage;
    delete fit.data.usage;
    const more: Record<string, unknown> = { ...rest };
    for (const bucket of BUCKETS) {
      const given = more[COUNTS[bucket]];
      delete more[COUNTS[bucket]];
      // A total that was told beside other figures is not that of these.
      if (given !== undefined && given !== null) delete buckets[TOTAL];
      fit.take(bucket, given, count);
    }
    fit.take("cost_usd", costUsd, dollars).take("duration_ms", durationMs, milliseconds);
    fit.take("time_to_first_token_ms", timeToFirstTokenMs, milliseconds);
    const data = { ...more, model: nameOf(model), ...buckets, ...fit.all(), ...this.#place(span, parent) };
    this.tell("model.call", data, agent);
  }

  /** A piece of what the agent says; on the channel `thinking`, of its thoughts. */
  messageDelta(content: string, options: { span?: Span | string; channel?: string; agent?: string | undefined } = {}): void {
    const { span, channel = "text", agent } = options;
    const place = span === undefined ? this.#place() : { span_id: idOf(span) };
    const data = { content: typeof content === "string" ? content : textOf(content), ...place };
    this.tell("message.delta", channel === "text" ? data : { ...data, channel }, agent);
  }

  /** The whole state after a step, from which a lost run is resumed. Sent whole, or not at all. */
  checkpoint(history: readonly unknown[], options: CheckpointOptions = {}): void {
    const fit = new Fit().take("step_index", options.stepIndex, count).take("history_meta", options.historyMeta, list);
    fit.take("state", options.state, mapping);
    this.#steps = Number(fit.data.step_index ?? this.#steps + 1);
    this.tell("checkpoint", { ...fit.all(), step_index: this.#steps, history });
  }

  /** The run ends: completed with a result. Only the first end counts. */
  finish(result?: unknown): void {
    this.#end("run.completed", result === undefined ? {} : { result });
  }

  /** The run ends by an error: cancelled where that is what it says, else failed. */
  fail(error: unknown): void {
    // The error only carried the cancel to this place: the reason is that of the person who requested it.
    const reason = this.#inbox.hasCancel ? this.#inbox.reason : describe(error);
    if (isCancellation(error)) this.#end("run.cancelled", reason === null ? {} : { reason });
    else this.#end("run.failed", { error: describe(error) });
  }

  #end(type: string, data: Record<string, unknown>): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    for (const call of [...this.#calls].reverse()) call.interrupt("the run has ended");
    this.tell(type, data);
    this.#listenNoMore();
    this.#inbox.close();
    this.sink.ended(this);
  }

  // Commands

  /** Is aborted when somebody cancels the run. */
  get signal(): AbortSignal {
    const { signal } = this.#inbox;
    if (this.isAwaited && !this.hasEnded && !signal.aborted) this.#listening ??= this.sink.expect(this);
    return signal;
  }

  #listenNoMore(): void {
    const ends = this.#listening;
    this.#listening = null;
    ends?.();
  }

  get isCancelled(): boolean {
    return this.#inbox.noticesCancel();
  }

  /** Throws where the run was cancelled: for code that can stop here. */
  check(): void {
    if (this.isCancelled) throw this.#inbox.cancellation();
  }

  /** What people have written to the run, without having been asked, since the last call. */
  messages(): string[] {
    return this.#inbox.messages();
  }

  /** A place where the run can be paused. Throws on a cancel. */
  async pausePoint(): Promise<void> {
    this.check();
    const paused = this.#inbox.pause();
    if (paused === null) return;
    this.tell("run.paused", {});
    await this.#waited(paused);
    this.tell("run.resumed", {});
  }

  /**
   * Asks, and waits for the answer to this question. Throws a `TowerlogError` whose code is `cancelled`, `timeout`,
   * `question_refused` or `question_expired`. An answer that the server took before a withdrawal is returned all the same.
   */
  async ask<T = string>(question: string, options: AskOptions = {}): Promise<T> {
    this.#inbox.checkOpen();
    options.signal?.throwIfAborted();
    const key = this.#keyOf(question);
    const answer = this.#inbox.answer(key);
    const terms = { schema: options.schema, risk: options.risk, expires_in_seconds: options.expiresInSeconds, on_expiry: options.onExpiry };
    const known = Object.fromEntries(Object.entries(terms).filter(([, value]) => value !== undefined));
    this.#put("run.waiting_for_input", { question: textOf(question), question_key: key, ...known }, undefined, {
      stored: () => this.#inbox.stored(key, 0),
      settled: (outcome, words, seq) => (outcome === "stored" ? this.#inbox.stored(key, seq) : this.#inbox.refused(key, words)),
    });
    const abort = (): void => this.#withdraw(key, "its agent stopped waiting", options.signal?.reason);
    options.signal?.addEventListener("abort", abort, { once: true });
    try {
      return valueOf(await this.#answered(key, answer, options.timeoutMs), options.schema) as T;
    } finally {
      options.signal?.removeEventListener("abort", abort);
    }
  }

  async #answered(key: string, answer: Pending<unknown>, timeoutMs: number | undefined): Promise<unknown> {
    try {
      return await this.#waited(answer, timeoutMs);
    } catch (error) {
      if (answer.isSettled) return await answer.promise;
      // Who was first, the withdrawal or an answer, is the server's word.
      this.#withdraw(key, NO_ANSWER, error, true);
      try {
        return await this.#waited(answer, SETTLE_MS);
      } finally {
        this.#inbox.giveUp(key, error);
      }
    }
  }

  /** Withdraws a question that is still waited for; with `settles` the wait goes on until the server has said who was first. */
  #withdraw(key: string, reason: string, error: unknown, settles = false): void {
    if (!this.#inbox.waitsFor(key)) return;
    const settled = (): void => this.#inbox.giveUp(key, error);
    if (!this.hasEnded && !this.#inbox.hasCancel) {
      this.#put("run.question_withdrawn", { question_key: key, reason }, undefined, settles ? { settled } : undefined);
    }
    if (!settles || this.hasEnded) this.#inbox.giveUp(key, error);
  }

  async #waited<T>(pending: Pending<T>, timeoutMs?: number): Promise<T> {
    const ends = this.sink.expect(this);
    try {
      return await within(pending.promise, timeoutMs, NO_ANSWER);
    } finally {
      ends();
    }
  }

  /** A key that is the same when the next attempt comes to the same place, and no two of an attempt are the same. */
  #keyOf(question: string): string {
    const wording = `${this.#steps}.${digestOf(textOf(question))}`;
    const asked = (this.#asked.get(wording) ?? 0) + 1;
    if (this.#asked.size < MAX_WORDINGS || this.#asked.has(wording)) this.#asked.set(wording, asked);
    return `${wording}.${asked}`;
  }

  #acknowledge(command: Command, taken: boolean): void {
    // The end is the answer to all commands.
    if (this.hasEnded) return;
    const said = { command_id: command.command_id, type: command.type };
    this.tell("command.acknowledged", taken ? said : { ...said, taken });
  }

  // For the recorder and the spans

  /** @internal */
  begin(options: RunOptions, parentKey: string | undefined): void {
    const fit = new Fit().take("metadata", options.metadata, mapping).take("labels", options.labels, labels);
    if (options.thread && options.thread !== this.thread) fit.take("thread", options.thread, () => undefined);
    const parent = parentKey === undefined ? {} : { parent_run_key: parentKey };
    this.tell("run.started", { ...(options.input === undefined ? {} : { input: options.input }), ...fit.all(), ...parent });
  }

  /** @internal */
  beat(): void {
    this.tell("other", { name: "heartbeat" });
  }

  /** @internal Whether the command was new. */
  deliver(command: Command): boolean {
    const isNew = this.#inbox.take(command);
    // No command comes after a cancel that the program would have to hear of at once.
    if (this.#inbox.hasCancel) this.#listenNoMore();
    return isNew;
  }

  /** @internal */
  openSpan(): Span | undefined {
    return this.sink.openSpan(this);
  }

  /** @internal */
  began(call: OpenCall): void {
    if (this.#calls.size < MAX_OPEN_CALLS) this.#calls.add(call);
  }

  /** @internal */
  ended(call: OpenCall): void {
    this.#calls.delete(call);
  }

  async #inSpan<S extends Span, T>(span: S, work: (span: S) => T | Promise<T>, ends: (error?: unknown) => void): Promise<T> {
    try {
      const value = await this.inside(span, () => work(span));
      ends();
      return value;
    } catch (error) {
      ends(error ?? "failed");
      throw error;
    }
  }

  #place(span?: Span | string, parent?: Span | string): Record<string, unknown> {
    const above = parent === undefined ? this.openSpan()?.spanId : idOf(parent);
    return { ...(span === undefined ? {} : { span_id: idOf(span) }), ...(above ? { parent_span_id: above } : {}) };
  }
}

/** An answer as the program gets it. One to a schema that the server could not use may be any text. */
function valueOf(content: unknown, schema: unknown): unknown {
  if (schema === undefined || typeof content !== "string") return content;
  try {
    return JSON.parse(content);
  } catch {
    return content;
  }
}
