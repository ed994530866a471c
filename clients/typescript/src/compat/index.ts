/**
 * Names that programs use which report by the dialect `steps`: `trace`, `sendEvent`, `hitlRequest`, `hitlReceived`,
 * `EventType`. They report in the background, with the queue, the repetitions and the count of losses of this package,
 * and throw nothing but what the work of a `trace` throws.
 */

import { NODE } from "../platforms/node.js";
import { Backlog } from "../record/backlog.js";
import { Delivery } from "../record/delivery.js";
import { Losses } from "../record/losses.js";
import { type TellProblem, tellerOf } from "../record/problems.js";
import { EXIT_MS, QUEUE_BYTES } from "../record/recorder.js";
import { isCancellation } from "../record/spans.js";
import { MAX_EVENT_BYTES, dataText } from "../values/encoding.js";
import { describe, nameOf, threadOf } from "../values/texts.js";
import type { Command } from "../wire/batch.js";
import { destinationOf } from "../wire/address.js";
import { TowerlogError } from "../wire/errors.js";
import { Http } from "../wire/http.js";
import { uuid7 } from "../wire/ids.js";
import { StepsWire } from "./wire.js";

export const EventType = {
  RUN_START: "run_start",
  STEP: "step",
  TOOL_CALL: "tool_call",
  ERROR: "error",
  RUN_END: "run_end",
  HUMAN_INPUT_REQUESTED: "human_input_requested",
  HUMAN_INPUT_RECEIVED: "human_input_received",
} as const;
export type EventType = (typeof EventType)[keyof typeof EventType];

export interface Settings {
  /** By default `TOWERLOG_URL` and `TOWERLOG_API_KEY`. */
  url?: string;
  apiKey?: string;
  onProblem?: (words: string) => void;
}

export interface TraceOptions {
  framework?: string;
  input?: unknown;
  /** By default a fresh one. */
  sdkRunId?: string;
}

export interface EventOptions {
  /** By default the run of the `trace` around the call. */
  sdkRunId?: string;
  agentName?: string;
  occurredAt?: Date | string;
}

/** A run that goes on. */
export class Trace {
  /** Told with the end: `prompt_tokens`, `completion_tokens`, `total_tokens`, `cost_usd`, `model`. */
  usage: Readonly<Record<string, unknown>> = {};
  readonly #abort = new AbortController();

  constructor(
    readonly sdkRunId: string,
    readonly agentName: string,
  ) {}

  /** Is aborted when somebody cancels the run. The cancel comes with the reply to an event. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** @internal */
  deliver(command: Command): void {
    if (command.type === "cancel") this.#abort.abort(new TowerlogError("cancelled", "the run was cancelled"));
  }
}

class Reporter {
  readonly traces = new Map<string, Trace>();
  readonly #scope = NODE.makeScope<Trace>();
  readonly #losses = new Losses();
  readonly #backlog = new Backlog(QUEUE_BYTES, "oldest", this.#losses);
  readonly #delivery: Delivery;
  readonly problem: TellProblem;
  #told = 0;

  constructor(settings: Settings) {
    this.problem = tellerOf(settings.onProblem);
    const { environment } = NODE;
    const destination = destinationOf(settings.url ?? environment.TOWERLOG_URL, settings.apiKey ?? environment.TOWERLOG_API_KEY);
    const without = destination.apiKey === null ? "there is no API key: set TOWERLOG_API_KEY" : null;
    const http = new Http(destination, (url, init) => fetch(url, init), new AbortController().signal);
    this.#delivery = new Delivery(new StepsWire(http), destination.whyNot ?? without, this.#backlog, this.#losses, NODE, EXIT_MS, {
      openRuns: () => [],
      beat: () => undefined,
      commanded: (command) => this.traces.get(command.run_key)?.deliver(command),
      problem: this.problem,
    });
  }

  current(): Trace | undefined {
    return this.#scope.get();
  }

  inside<T>(trace: Trace, work: () => T): T {
    return this.#scope.run(trace, work);
  }

  tell(eventType: EventType, payload: Readonly<Record<string, unknown>>, options: EventOptions): void {
    try {
      const trace = this.current();
      const sdkRunId = threadOf(options.sdkRunId) ?? trace?.sdkRunId;
      if (sdkRunId === undefined) throw new TowerlogError("invalid_argument", "an event outside of `trace` needs `sdkRunId`");
      this.#put(sdkRunId, eventType, payload, options.agentName ?? trace?.agentName, options.occurredAt);
    } catch (error) {
      this.problem(`an event could not be recorded: ${describe(error)}`);
    }
  }

  #put(sdkRunId: string, eventType: EventType, payload: object, agentName: string | undefined, at: Date | string | undefined): void {
    const head = {
      event_type: eventType,
      sdk_run_id: sdkRunId,
      event_id: uuid7(),
      ...(agentName === undefined ? {} : { agent_name: nameOf(agentName) }),
      occurred_at: typeof at === "string" ? at : (at ?? new Date()).toISOString(),
    };
    this.#told += 1;
    const line = `${JSON.stringify(head).slice(0, -1)},"payload":${dataText({ ...payload })}}`;
    const bytes = NODE.byteLength(line);
    if (bytes > MAX_EVENT_BYTES) throw new TowerlogError("invalid_argument", `an event of ${bytes} bytes is too large`);
    this.#backlog.put({ runKey: sdkRunId, seq: this.#told, nextSeq: () => (this.#told += 1), line, bytes });
    this.#delivery.noticed();
  }

  flush(timeoutMs: number): Promise<boolean> {
    return this.#delivery.flush(timeoutMs);
  }
}

let reporter: Reporter | undefined;

function theReporter(): Reporter {
  reporter ??= new Reporter({});
  return reporter;
}

/** Says where to report; without it, the environment does. */
export function configure(settings: Settings): void {
  reporter = new Reporter(settings);
}

/** Work as a run: it begins with `run_start`, and ends with `run_end` or, where the work throws, with `error`. */
export async function trace<T>(agentName: string, work: (trace: Trace) => T | Promise<T>, options: TraceOptions = {}): Promise<T> {
  const to = theReporter();
  const one = new Trace(threadOf(options.sdkRunId) ?? uuid7(), nameOf(agentName));
  const { framework, input } = options;
  to.traces.set(one.sdkRunId, one);
  return to.inside(one, async () => {
    sendEvent(EventType.RUN_START, { ...(framework === undefined ? {} : { framework }), ...(input === undefined ? {} : { input }) });
    try {
      const output = await work(one);
      sendEvent(EventType.RUN_END, { ...(output === undefined ? {} : { output }), ...one.usage });
      return output;
    } catch (error) {
      sendEvent(EventType.ERROR, errorPayload(error));
      throw error;
    } finally {
      to.traces.delete(one.sdkRunId);
    }
  });
}

/** Reports an event of the run around the call. */
export function sendEvent(eventType: EventType, payload: Readonly<Record<string, unknown>> = {}, options: EventOptions = {}): void {
  theReporter().tell(eventType, payload, options);
}

/** The run waits for a person: it is `waiting_for_input` until `hitlReceived`. */
export function hitlRequest(question: string, options: EventOptions & { context?: unknown; channel?: string } = {}): void {
  const { context, channel, ...more } = options;
  const said = { question, ...(context === undefined ? {} : { context }), ...(channel === undefined ? {} : { channel }) };
  sendEvent(EventType.HUMAN_INPUT_REQUESTED, said, more);
}

/** The person has answered: the run goes on. */
export function hitlReceived(response: unknown, options: EventOptions & { respondedBy?: string } = {}): void {
  const { respondedBy, ...more } = options;
  const said = { response, ...(respondedBy === undefined ? {} : { responded_by: respondedBy }) };
  sendEvent(EventType.HUMAN_INPUT_RECEIVED, said, more);
}

/** Waits until all that was reported before is with the server. */
export function flush(timeoutMs = 10_000): Promise<boolean> {
  return theReporter().flush(timeoutMs);
}

function errorPayload(error: unknown): Record<string, unknown> {
  const type = error instanceof Error ? error.name : typeof error;
  const traceback = error instanceof Error && typeof error.stack === "string" ? { traceback: error.stack.slice(0, 100_000) } : {};
  const said = isCancellation(error) ? { cancelled: true } : {};
  return { error_type: type, error_message: error instanceof Error ? error.message : describe(error), ...traceback, ...said };
}
