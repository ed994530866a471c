/** A long poll that is open while somebody waits for a command, so that it comes at once. Keeps the program alive. */

import { type Command, sendBatch } from "../wire/batch.js";
import type { Http } from "../wire/http.js";
import { Backoff, Pace, paused } from "../wire/retries.js";

const WAIT_SECONDS = 5;
const MAX_PAUSE_MS = 5_000;
/** Runs of one request. */
export const MAX_RUNS = 100;

export class Listener {
  /** Run → how many wait for its commands. */
  #expecting = new Map<string, number>();
  #isListening = false;
  #abort: AbortController | null = null;

  constructor(
    private readonly clientId: string,
    private readonly http: Http,
    /** Hands a command to its run; whether it was new to that. */
    private readonly commanded: (command: Command) => boolean,
  ) {}

  /** Notes that somebody waits for a command of a run. Returns what ends that. */
  expect(runKey: string): () => void {
    const isNew = !this.#expecting.has(runKey);
    this.#expecting.set(runKey, (this.#expecting.get(runKey) ?? 0) + 1);
    if (!this.#isListening) void this.#listen();
    // The poll that is open does not ask for it.
    else if (isNew) this.#abort?.abort();
    return () => {
      const left = (this.#expecting.get(runKey) ?? 0) - 1;
      if (left > 0) this.#expecting.set(runKey, left);
      else this.#expecting.delete(runKey);
      if (this.#expecting.size === 0) this.#abort?.abort();
    };
  }

  stop(): void {
    this.#expecting.clear();
    this.#abort?.abort();
  }

  async #listen(): Promise<void> {
    this.#isListening = true;
    const [backoff, pace] = [new Backoff(MAX_PAUSE_MS), new Pace(WAIT_SECONDS * 1000)];
    while (this.#expecting.size > 0) {
      this.#abort = new AbortController();
      const { signal } = this.#abort;
      const pauseMs = await this.#poll(signal, backoff, pace);
      if (this.#expecting.size > 0) await paused(pauseMs, signal);
    }
    this.#isListening = false;
  }

  /** One poll. Returns the pause before the next. */
  async #poll(signal: AbortSignal, backoff: Backoff, pace: Pace): Promise<number> {
    const sentAt = performance.now();
    const runs = [...this.#expecting.keys()].slice(0, MAX_RUNS);
    const answer = await sendBatch(this.http, { clientId: this.clientId, lines: [], runs, waitSeconds: WAIT_SECONDS, signal });
    if (signal.aborted) return 0;
    const isNews = answer.commands.map((command) => this.commanded(command)).includes(true);
    if (answer.disposition !== "taken") return backoff.nextMs(answer.retryAfterMs);
    backoff.reset();
    return pace.pauseMs(performance.now() - sentAt, isNews);
  }
}
