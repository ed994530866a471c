/** What this package is used by: reports runs to a server, and asks it. `node.ts` and `browser.ts` put it together. */

import { Client, type RequestOptions } from "./api/client.js";
import { type FollowOptions, follow } from "./api/follow.js";
import type { CreatedRun, Gap, InputOptions, NewRun, RunDetail, RunEvent, RunFilters, RunRow } from "./api/types.js";
import type { Platform } from "./platform.js";
import type { Overflow } from "./record/backlog.js";
import type { RunOptions } from "./record/options.js";
import { tellerOf } from "./record/problems.js";
import { EXIT_MS, QUEUE_BYTES, Recorder, type Status } from "./record/recorder.js";
import type { Run } from "./record/run.js";
import { destinationOf } from "./wire/address.js";
import { TowerlogError } from "./wire/errors.js";
import { type Fetch, Http } from "./wire/http.js";

export interface TowerlogOptions {
  /** By default `TOWERLOG_URL`, else `http://127.0.0.1:8700`. */
  url?: string;
  /** By default `TOWERLOG_API_KEY`. */
  apiKey?: string;
  /** Bytes of events that are kept while they cannot be delivered: 32 MiB. */
  queueBytes?: number;
  /** Which events are dropped when there is no room: the oldest, or the newest. */
  overflow?: Overflow;
  /** How long the end of the program may be held up to deliver: 2,000 ms. */
  exitMs?: number;
  /** `false`: calls are told without what was said. By default as `TOWERLOG_CAPTURE_CONTENT` says. */
  captureContent?: boolean;
  /** Is told what people should know, each problem once. By default it is a warning on the console. */
  onProblem?: (words: string) => void;
  /** By default the one of the platform. */
  fetch?: Fetch;
}

const OFF = new Set(["off", "false", "no", "0"]);

export class Towerlog {
  readonly #closed = new AbortController();
  readonly #recorder: Recorder;
  readonly #client: Client;
  readonly #http: Http;

  /** Connects to nothing yet, and never throws: a URL or a key that cannot be used shows where something is sent. */
  protected constructor(platform: Platform, options: TowerlogOptions = {}) {
    const { environment } = platform;
    const destination = destinationOf(options.url ?? environment.TOWERLOG_URL, options.apiKey ?? environment.TOWERLOG_API_KEY);
    const captured = !OFF.has((environment.TOWERLOG_CAPTURE_CONTENT ?? "").trim().toLowerCase());
    this.#http = new Http(destination, options.fetch ?? ((url, init) => fetch(url, init)), this.#closed.signal);
    this.#client = new Client(this.#http);
    this.#recorder = new Recorder(this.#http, platform, {
      queueBytes: options.queueBytes ?? QUEUE_BYTES,
      overflow: options.overflow ?? "oldest",
      exitMs: options.exitMs ?? EXIT_MS,
      capturesContent: options.captureContent ?? captured,
      problem: tellerOf(options.onProblem),
    });
  }

  get url(): string {
    return this.#http.destination.url;
  }

  /** Whether what was said is told, or only that something was. */
  get capturesContent(): boolean {
    return this.#recorder.options.capturesContent;
  }

  // Reporting: throws nothing, and never waits for the network

  /** Work as a run: what it returns is the run's result; what it throws ends the run, and is thrown here. */
  run<T>(options: RunOptions, work: (run: Run) => T | Promise<T>): Promise<T> {
    return this.#recorder.record(options, work);
  }

  /** A run where a callback does not fit. It ends with its `finish` or `fail`, and is nowhere the current one. */
  startRun(options: RunOptions = {}): Run {
    return this.#recorder.start(options);
  }

  /** Work as a part of a run that `startRun` has begun: the run is the current one inside. */
  within<T>(run: Run, work: () => T): T {
    return this.#recorder.within(run, work);
  }

  /** The run that the calling code is part of; in a browser, only until the first `await`. */
  currentRun(): Run | undefined {
    return this.#recorder.currentRun();
  }

  /** Waits until all that was reported before is with the server. False on time-out, or if something was dropped. */
  flush(timeoutMs = 10_000): Promise<boolean> {
    return this.#recorder.flush(timeoutMs);
  }

  /** Where the events are. */
  status(): Status {
    return this.#recorder.status();
  }

  /** As `flush`, and ends all that is under way. What is not delivered then is lost, and counted. */
  async close(timeoutMs = EXIT_MS): Promise<boolean> {
    const isDelivered = await this.#recorder.close(timeoutMs);
    this.#closed.abort(new TowerlogError("closed", "the client is closed"));
    return isDelivered;
  }

  // Asking: throws a TowerlogError

  /** Queues a run for a worker. The same `idempotencyKey` gives the same run. */
  create(thread: string, run: NewRun = {}, options: RequestOptions = {}): Promise<CreatedRun> {
    return this.#client.create(thread, run, options);
  }

  /** Asks for the cancellation of a run and its children. */
  cancel(runId: string, reason?: string): Promise<void> {
    return this.#client.cancel(runId, reason);
  }

  /** Answers a question of a run, by default the oldest that it waits for, else writes to its agent. */
  input(runId: string, content: string, options: InputOptions & RequestOptions = {}): Promise<void> {
    return this.#client.input(runId, content, options);
  }

  /** A run by its id, or by the `runKey` that it was begun with. */
  get(runId: string): Promise<RunDetail> {
    return this.#client.get(runId);
  }

  /** All runs that the filters find, newest first. */
  list(filters: RunFilters = {}): AsyncGenerator<RunRow, void, undefined> {
    return this.#client.list(filters);
  }

  /** A run's events as they come, to its end; each `seq` once, over cut connections and restarts of the server. */
  follow(runId: string, options: FollowOptions = {}): AsyncGenerator<RunEvent | Gap, void, undefined> {
    return follow(this.#http, runId, options);
  }

  /** Any other request of the API. `T` is what its reply is taken for: it is not checked. */
  request<T = unknown>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    return this.#client.request<T>(method, path, options);
  }
}
