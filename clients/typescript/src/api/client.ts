/** Asks a server: calls that are awaited and throw a `TowerlogError`. */

import { type Query, pathOf, withQuery } from "../wire/address.js";
import { TowerlogError } from "../wire/errors.js";
import { type Http, type HttpReply, TIMEOUT_MS, failureOf } from "../wire/http.js";
import { uuid7 } from "../wire/ids.js";
import { isObject, jsonOf } from "../wire/refusals.js";
import { callPauseMs, paused } from "../wire/retries.js";
import type { CreatedRun, InputOptions, NewRun, RunDetail, RunFilters, RunRow } from "./types.js";

const PAGE = 200;
/** Stands before the key in the `foreign_id` of a run that a client has begun. */
const KEY_PREFIX = "sdk:";

export interface RequestOptions {
  body?: unknown;
  query?: Query;
  /** Makes a repetition harmless, also by another program. By default a fresh one for each call that changes something. */
  idempotencyKey?: string;
  /** For the call with all its repetitions. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export class Client {
  constructor(private readonly http: Http) {}

  /** Any request of the API; `T` is what it answers, unchecked. What fails for a moment is tried again, five times in all. */
  async request<T = unknown>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    return jsonOf(await this.#send(method, path, options)) as T;
  }

  create(thread: string, run: NewRun, options: RequestOptions): Promise<CreatedRun> {
    return this.request("POST", pathOf("/v1/threads/{thread}/runs", { thread }), { ...options, body: run });
  }

  async cancel(runId: string, reason: string | undefined): Promise<void> {
    await this.request("POST", pathOf("/v1/runs/{runId}:cancel", { runId }), { body: { reason } });
  }

  async input(runId: string, content: string, options: InputOptions & RequestOptions): Promise<void> {
    const { questionId, kind, ...more } = options;
    const body = { content, question_id: questionId, type: kind };
    await this.request("POST", pathOf("/v1/runs/{runId}/input", { runId }), { ...more, body });
  }

  async get(runId: string): Promise<RunDetail> {
    try {
      return await this.request<RunDetail>("GET", pathOf("/v1/runs/{runId}", { runId }));
    } catch (error) {
      // A key may have a slash, which no path can.
      if (!(error instanceof TowerlogError) || (error.status !== 400 && error.status !== 404)) throw error;
      const query = { q: KEY_PREFIX + runId, limit: PAGE };
      const found = await this.request<unknown>("GET", "/api/v1/runs", { query });
      const rows: unknown[] = isObject(found) && Array.isArray(found.data) ? found.data : [];
      const run = rows.filter(isObject).find((row) => row.foreign_id === query.q);
      if (typeof run?.run_id !== "string") throw error;
      return this.request("GET", pathOf("/v1/runs/{runId}", { runId: run.run_id }));
    }
  }

  /** All runs that the filters find, newest first, a page at a time. */
  async *list(filters: RunFilters): AsyncGenerator<RunRow, void, undefined> {
    const { page_size: limit = PAGE, ...asked } = filters;
    let path = withQuery("/v1/runs", { ...asked, limit });
    for (;;) {
      const reply: HttpReply = await this.#send("GET", path, {});
      const rows = jsonOf(reply);
      if (!Array.isArray(rows)) throw new TowerlogError("bad_answer", "the server's reply is not a page of a list");
      yield* rows as RunRow[];
      const query = nextOf(reply.headers.get("link"));
      if (query === null) return;
      path = `/v1/runs?${query}`;
    }
  }

  async #send(method: string, path: string, options: RequestOptions): Promise<HttpReply> {
    const endsAt = performance.now() + (options.timeoutMs ?? TIMEOUT_MS);
    const headers = method === "GET" ? {} : { "Idempotency-Key": options.idempotencyKey ?? uuid7() };
    const body = options.body === undefined ? undefined : bodyOf(options.body);
    const { signal } = options;
    for (let tried = 1; ; tried += 1) {
      const timeoutMs = endsAt - performance.now();
      const outcome = await this.#tried(method, withQuery(path, options.query ?? {}), { body, headers, timeoutMs, signal });
      if (!(outcome instanceof TowerlogError)) return outcome;
      const pauseMs = callPauseMs(tried, outcome);
      if (pauseMs === null || performance.now() + pauseMs >= endsAt) throw outcome;
      await paused(pauseMs, signal, this.http.closed);
      if (signal?.aborted || this.http.closed.aborted) throw outcome;
    }
  }

  /** A reply that is good, or what to throw where it is not tried again. */
  async #tried(...request: Parameters<Http["request"]>): Promise<HttpReply | TowerlogError> {
    try {
      const reply = await this.http.request(...request);
      jsonOf(reply);
      return reply;
    } catch (error) {
      return failureOf(error);
    }
  }
}

function bodyOf(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw new TowerlogError("invalid_argument", `what is to be sent is not JSON: ${String(error)}`);
  }
}

/** The query of `rel="next"` in a `Link` header; null where there is none. Where that leads is not the server's to say. */
function nextOf(link: string | null): string | null {
  for (const part of (link ?? "").split("<").slice(1)) {
    const [target = "", parameters = ""] = part.split(">");
    const isNext = (parameters.split(",")[0] ?? "").split(";").some((one) => /^rel="?next"?$/.test(one.trim()));
    if (isNext) return /\?([^#]+)/.exec(target)?.[1] ?? null;
  }
  return null;
}
