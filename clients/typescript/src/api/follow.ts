/** Follows a run over any number of connections: each event once and in order, to its end. */

import { pathOf } from "../wire/address.js";
import { TowerlogError } from "../wire/errors.js";
import { type Http, failureOf, linked, wholeText } from "../wire/http.js";
import { isObject, parsed, refusalOf } from "../wire/refusals.js";
import { Backoff, paused } from "../wire/retries.js";
import { type Frame, FrameReader } from "../wire/sse.js";
import type { Gap, RunEvent } from "./types.js";

/** How long a server may be away, from the beginning on, unless the caller says otherwise. */
const PATIENCE_MS = 300_000;
/** Servers send a ping every 15 seconds: a connection that is silent for longer is broken. */
const SILENCE_MS = 45_000;
/** A stream that ends sooner, with nothing in it, counts as one that was never there. */
const QUIET_MS = 1_000;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;

export interface FollowOptions {
  /** Begins after this event. */
  afterSeq?: number;
  /** Ends it. */
  signal?: AbortSignal;
  patienceMs?: number;
}

/** Where a follower is. */
class Cursor {
  isFinished = false;
  #epoch: string | null = null;
  #nextEpoch: string | null = null;

  constructor(private afterSeq: number) {}

  /** The place, with the log's name once it is known: in a log that was restored, it gives a gap and never wrong events. */
  get lastEventId(): string {
    return this.#epoch === null ? String(this.afterSeq) : `${this.#epoch}-${this.afterSeq}`;
  }

  connected(response: Response): void {
    if (response.status === 204) {
      this.isFinished = true;
    } else if (!(response.headers.get("content-type") ?? "").includes("text/event-stream")) {
      throw new TowerlogError("bad_answer", "the server's reply is not a stream of events");
    }
    this.#nextEpoch = response.headers.get("x-log-epoch");
    this.#epoch ??= this.#nextEpoch;
  }

  /** The event or gap in a frame; null for a repetition, or anything else. */
  take(frame: Frame): RunEvent | Gap | null {
    if (frame.event === "end") this.isFinished = true;
    if (frame.event !== "message" && frame.event !== "gap") return null;
    const told = parsed(frame.data);
    if (!isObject(told)) throw new TowerlogError("bad_answer", "a frame of the stream is no JSON object");
    return frame.event === "gap" ? this.#gap(told as Partial<Gap>) : this.#event(told as unknown as RunEvent);
  }

  #gap(gap: Partial<Gap>): Gap {
    if (Number.isSafeInteger(gap.oldest_seq)) {
      this.afterSeq = Math.max(this.afterSeq, (gap.oldest_seq as number) - 1);
    } else {
      // Another log: the place means nothing there, so it is followed from its beginning.
      this.afterSeq = 0;
      this.#epoch = this.#nextEpoch;
    }
    return { ...gap, type: "gap" };
  }

  #event(event: RunEvent): RunEvent | null {
    if (!Number.isSafeInteger(event.seq)) throw new TowerlogError("bad_answer", "an event of the stream has no seq");
    if (event.seq <= this.afterSeq) return null;
    if (event.seq !== this.afterSeq + 1) {
      throw new TowerlogError("bad_answer", `the stream went from seq ${this.afterSeq} to ${event.seq}`);
    }
    this.afterSeq = event.seq;
    return event;
  }
}

/** Events as they come, until the run has ended or a signal ends it. Throws for a refusal, and for a server that stays away. */
export async function* follow(
  http: Http,
  runId: string,
  options: FollowOptions,
): AsyncGenerator<RunEvent | Gap, void, undefined> {
  const path = pathOf("/v1/runs/{runId}/events", { runId });
  const isEnded = (): boolean => http.closed.aborted || options.signal?.aborted === true;
  const cursor = new Cursor(options.afterSeq ?? 0);
  const backoff = new Backoff(MAX_PAUSE_MS, FIRST_PAUSE_MS);
  const patienceMs = options.patienceMs ?? PATIENCE_MS;
  let heardAt = performance.now();
  while (!cursor.isFinished && !isEnded()) {
    const connection = new Connection(http, path, cursor, options.signal);
    try {
      for await (const one of connection.events()) {
        backoff.reset();
        yield one;
      }
    } catch (error) {
      const failure = failureOf(error);
      const isOver = !failure.isTemporary || performance.now() - (connection.heardAt ?? heardAt) >= patienceMs;
      if (isOver && !isEnded()) throw failure;
    } finally {
      connection.close();
    }
    // Also where the connection ended whole: a proxy may end it so.
    heardAt = connection.heardAt ?? heardAt;
    if (!cursor.isFinished) await paused(backoff.nextMs(), options.signal, http.closed);
  }
}

/** One connection of a follower. */
class Connection {
  openedAt: number | null = null;
  #cameAt: number | null = null;
  readonly #call = new AbortController();
  readonly #unlink: () => void;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly http: Http,
    private readonly path: string,
    private readonly cursor: Cursor,
    ends: AbortSignal | undefined,
  ) {
    this.#unlink = linked(this.#call, ends, http.closed);
  }

  /** When the server was heard of last, if only by a ping, or by a stream that it kept open. */
  get heardAt(): number | null {
    const isQuiet = this.openedAt !== null && performance.now() - this.openedAt >= QUIET_MS;
    return this.#cameAt ?? (isQuiet ? performance.now() : null);
  }

  async *events(): AsyncGenerator<RunEvent | Gap, void, undefined> {
    this.#expectSomething();
    const headers = { Accept: "text/event-stream", "Last-Event-ID": this.cursor.lastEventId };
    const response = await this.http.open("GET", this.path, { headers, signal: this.#call.signal });
    if (response.status >= 300) {
      throw refusalOf({ status: response.status, headers: response.headers, text: await wholeText(response) });
    }
    this.cursor.connected(response);
    this.openedAt = performance.now();
    const [frames, reader] = [new FrameReader(), response.body?.getReader()];
    for (let piece = await reader?.read(); piece?.value !== undefined; piece = await reader?.read()) {
      this.#expectSomething();
      this.#cameAt = performance.now();
      for (const frame of frames.feed(piece.value)) {
        const one = this.cursor.take(frame);
        if (one !== null) yield one;
      }
    }
    if (this.heardAt === null && !this.cursor.isFinished) throw new TowerlogError("unreachable", "the stream ended before anything came");
  }

  close(): void {
    clearTimeout(this.#silence);
    this.#unlink();
    this.#call.abort();
  }

  #expectSomething(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#call.abort(new TowerlogError("unreachable", "the stream fell silent")), SILENCE_MS);
  }
}
