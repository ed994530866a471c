/** Reports runs: gives each its place, and has its events delivered. Nothing here throws into the program. */

import type { Platform, Scope } from "../platform.js";
import { nameOf, runKeyOf, threadOf } from "../values/texts.js";
import { BATCH_EVENTS, type Command, type Wire, sendBatch } from "../wire/batch.js";
import type { Http } from "../wire/http.js";
import { uuid7 } from "../wire/ids.js";
import { Backlog, type Overflow, type Watch } from "./backlog.js";
import { Delivery } from "./delivery.js";
import { EventEncoder, noticeOf } from "./encoder.js";
import { Listener, MAX_RUNS } from "./listener.js";
import { Losses } from "./losses.js";
import type { RunOptions } from "./options.js";
import type { TellProblem } from "./problems.js";
import { Run, type Sink } from "./run.js";
import type { Span } from "./spans.js";

export const QUEUE_BYTES = 32 * 1024 * 1024;
export const EXIT_MS = 2_000;
/** After how long without an event a heartbeat is sent for a run that has not ended. */
const BEAT_MS = 60_000;

export interface RecorderOptions {
  queueBytes: number;
  overflow: Overflow;
  exitMs: number;
  capturesContent: boolean;
  problem: TellProblem;
}

/** Where the events are. */
export interface Status {
  /** Waiting, or being sent. */
  readonly queued: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly duplicates: number;
  readonly refused: number;
  /** Will never be delivered: rejected, or no room. */
  readonly dropped: number;
  readonly lastError: string | null;
}

/** The run, and the span in it, that code is a part of. */
interface Frame {
  readonly run: Run;
  readonly span: Span | undefined;
  readonly outer: Frame | undefined;
}

/** A run while this program reports it. It is held weakly: one that nobody ends and nobody holds is forgotten. */
interface Reported {
  readonly run: WeakRef<Run>;
  readonly encoder: EventEncoder;
  toldAt: number;
}

export class Recorder implements Sink {
  readonly #clientId = uuid7();
  readonly #losses = new Losses();
  readonly #backlog: Backlog;
  readonly #delivery: Delivery;
  readonly #listener: Listener;
  readonly #scope: Scope<Frame>;
  readonly #reported = new Map<string, Reported>();
  readonly #encoders = new WeakMap<Run, EventEncoder>();
  readonly #forgotten = new FinalizationRegistry<string>((key) => this.#forget(key));

  constructor(
    private readonly http: Http,
    private readonly platform: Platform,
    readonly options: RecorderOptions,
  ) {
    const { whyNot, apiKey } = http.destination;
    const without = apiKey === null ? "there is no API key: set TOWERLOG_API_KEY, or give `apiKey`" : null;
    this.#scope = platform.makeScope<Frame>();
    this.#backlog = new Backlog(options.queueBytes, options.overflow, this.#losses);
    this.#listener = new Listener(this.#clientId, http, (command) => this.#commanded(command));
    const wire: Wire = {
      maxEvents: BATCH_EVENTS,
      send: (lines, runs) => sendBatch(http, { clientId: this.#clientId, lines, runs }),
      notice: (range) => noticeOf(range, platform.byteLength),
    };
    this.#delivery = new Delivery(wire, whyNot ?? without, this.#backlog, this.#losses, platform, options.exitMs, {
      openRuns: () => this.#openRuns(),
      beat: () => this.#beat(),
      commanded: (command) => this.#commanded(command),
      problem: options.problem,
    });
  }

  /** Begins a run, which is nowhere the current one. */
  start(options: RunOptions, isAwaited = false): Run {
    const parent = options.parent ?? this.currentRun();
    const parentKey = typeof parent === "string" ? runKeyOf(parent, uuid7) : parent?.key;
    // As the server names the thread of a run that has none.
    const inherited = parent instanceof Run ? (parent.thread ?? threadOf(parent.key)) : undefined;
    const agent = options.agent === undefined ? undefined : nameOf(options.agent);
    const thread = threadOf(options.thread) ?? inherited;
    const run = new Run(this, runKeyOf(options.runKey, uuid7), agent, thread, this.options.capturesContent, isAwaited);
    this.#guarded("a run", () => {
      this.#report(run);
      run.begin(options, parentKey);
      this.#delivery.watch();
    });
    return run;
  }

  /** Work as a run: what it returns is the result, what it throws ends the run and goes on. */
  async record<T>(options: RunOptions, work: (run: Run) => T | Promise<T>): Promise<T> {
    const run = this.start(options, true);
    try {
      const result = await this.within(run, () => work(run));
      run.finish(result);
      return result;
    } catch (error) {
      run.fail(error ?? "failed");
      throw error;
    }
  }

  /** Work as a part of a run that was begun elsewhere. */
  within<T>(run: Run, work: () => T): T {
    return this.#scope.run({ run, span: undefined, outer: this.#scope.get() }, work);
  }

  /** The run that the calling code is part of. One that has ended is nobody's any more. */
  currentRun(): Run | undefined {
    let frame = this.#scope.get();
    while (frame !== undefined && frame.run.hasEnded) frame = frame.outer;
    return frame?.run;
  }

  flush(timeoutMs: number): Promise<boolean> {
    return this.#delivery.flush(timeoutMs);
  }

  async close(timeoutMs: number): Promise<boolean> {
    const isDelivered = await this.#delivery.flush(timeoutMs);
    this.#listener.stop();
    const lost = this.#delivery.stop();
    if (lost > 0) this.options.problem(`${lost} events lost: ${this.#delivery.whyLate()}`);
    return isDelivered;
  }

  status(): Status {
    const { counts, lastError } = this.#delivery;
    return { queued: this.#backlog.pending, ...counts, dropped: this.#losses.dropped, lastError };
  }

  // For the runs

  put(run: Run, type: string, data: Record<string, unknown>, agent: string | undefined, watch?: Watch): void {
    this.#guarded(`an event of run ${run.key}`, () => {
      const encoder = this.#encoders.get(run);
      if (encoder === undefined) return;
      const thread = encoder.seq === 0 || type === "run.started" ? run.thread : undefined;
      const { lines, lost } = encoder.encode({ type, data, agent, thread });
      const place = { runKey: run.key, thread: run.thread, nextSeq: encoder.nextSeq };
      const named = run.id === null ? (id: string): void => void (run.id ??= id) : undefined;
      for (const { seq, line } of lines) {
        this.#take({ ...place, seq, line, bytes: this.platform.byteLength(line), watch, named });
      }
      for (const { seq, reason } of lost) {
        this.options.problem(`run ${run.key}: ${reason}; it is counted as dropped`);
        this.#losses.note({ ...place, seq }, reason);
      }
      this.#noteTold(run.key);
      this.#delivery.noticed();
    });
  }

  #take(entry: Parameters<Backlog["put"]>[0]): void {
    if (this.#delivery.isStopped) this.#losses.note(entry, "the client is closed");
    else this.#backlog.put(entry);
  }

  openSpan(run: Run): Span | undefined {
    let frame = this.#scope.get();
    while (frame !== undefined && (frame.run !== run || frame.span === undefined || frame.span.isEnded)) frame = frame.outer;
    return frame?.span;
  }

  inside<R>(run: Run, span: Span, work: () => R): R {
    return this.#scope.run({ run, span, outer: this.#scope.get() }, work);
  }

  expect(run: Run): () => void {
    this.#delivery.hurry();
    return this.#listener.expect(run.key);
  }

  ended(run: Run): void {
    this.#reported.delete(run.key);
  }

  urlOf(runId: string): string {
    return `${this.http.destination.url}/runs/${runId}`;
  }

  #report(run: Run): void {
    // One key has one encoder while its run is open, so that its numbers have no gap.
    const encoder = this.#reported.get(run.key)?.encoder ?? new EventEncoder(run.key, this.platform.byteLength);
    this.#encoders.set(run, encoder);
    this.#reported.set(run.key, { run: new WeakRef(run), encoder, toldAt: performance.now() });
    this.#forgotten.register(run, run.key);
  }

  #forget(key: string): void {
    if (this.#reported.get(key)?.run.deref() === undefined) this.#reported.delete(key);
  }

  #noteTold(key: string): void {
    const reported = this.#reported.get(key);
    if (reported !== undefined) reported.toldAt = performance.now();
  }

  // For delivery

  /** Keys of the runs that have not ended; of more than fit into a request, those begun last, which are likelier at work. */
  #openRuns(): string[] {
    return [...this.#reported.keys()].slice(-MAX_RUNS);
  }

  #beat(): void {
    for (const { run, toldAt } of [...this.#reported.values()]) {
      if (performance.now() - toldAt >= BEAT_MS) run.deref()?.beat();
    }
  }

  /** Hands a command to its run; whether it was new to that. */
  #commanded(command: Command): boolean {
    let isNew = false;
    this.#guarded("a command", () => (isNew = this.#reported.get(command.run_key)?.run.deref()?.deliver(command) ?? false));
    return isNew;
  }

  /** Does something that must never break the program. */
  #guarded(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.options.problem(`${what} could not be recorded: ${String(error)}`);
    }
  }
}
