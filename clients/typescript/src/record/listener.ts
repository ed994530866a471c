/** A long poll that is open while somebody waits for a command, so that it comes at once. Keeps the program alive. */

import { type Command, sendBatch } from "../wire/batch.js";
import type { Http } from "../wire/http.js";
import { Backoff } from "../wire/retries.js";

const WAIT_SECONDS = 5;
/** A command that is still pending would make the next reply come at once. */
const PAUSE_MS = 100;
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
    private readonly commanded: (command: Command) => void,
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
    const backoff = new Backoff(MAX_PAUSE_MS);
    while (this.#expecting.size > 0) {
      const pauseMs = await this.#poll(backoff);
      if (this.#expecting.size > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    this.#isListening = false;
  }

  /** One poll. Returns the pause before the next. */
  async #poll(backoff: Backoff): Promise<number> {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const runs = [...this.#expecting.keys()].slice(0, MAX_RUNS);
    const answer = await sendBatch(this.http, { clientId: this.clientId, lines: [], runs, waitSeconds: WAIT_SECONDS, signal });
    if (signal.aborted) return 0;
    for (const command of answer.commands) this.commanded(command);
    if (answer.disposition !== "taken") return backoff.nextMs(answer.retryAfterMs);
    backoff.reset();
    return answer.commands.length > 0 ? PAUSE_MS : 0;
  }
}
