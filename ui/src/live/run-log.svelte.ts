/** A run's events as pages around what is looked at: never all of them. */

import { call } from '../api/client';
import type { LoggedEvent } from '../api/types';

export const PAGE = 200;
/** 8,000 events: what is further away is read again when it is looked at. */
export const MAX_PAGES = 40;

export class RunLog {
  /** Changes whenever events have come; what is drawn reads it. */
  version = $state(0);
  /** How many events the run has: their numbers are 1 to this. */
  total = $state(0);
  fault = $state.raw<unknown>(null);

  readonly #runId: string;
  /** By page; the one looked at last is the last. */
  readonly #pages = new Map<number, readonly LoggedEvent[]>();
  readonly #reading = new Set<number>();
  readonly #stop = new AbortController();

  constructor(runId: string) {
    this.#runId = runId;
  }

  /** An event by its number; undefined while it is not there. */
  at(seq: number): LoggedEvent | undefined {
    const events = this.#pages.get(pageOf(seq));
    const guess = events?.[(seq - 1) % PAGE];
    return guess?.seq === seq ? guess : events?.find((event) => event.seq === seq);
  }

  /** Reads what is missing between two numbers. */
  want(first: number, last: number): void {
    for (let page = pageOf(Math.max(first, 1)); page <= pageOf(Math.max(Math.min(last, this.total), 1)); page++) {
      const events = this.#pages.get(page);
      const due = Math.min(this.total, (page + 1) * PAGE);
      const isWhole = events !== undefined && (events.at(-1)?.seq ?? 0) >= due;
      if (isWhole) this.#touch(page, events);
      else void this.#read(page);
    }
  }

  end(): void {
    this.#stop.abort();
  }

  async #read(page: number): Promise<void> {
    if (this.#reading.has(page) || this.total === 0) return;
    this.#reading.add(page);
    try {
      const query = { after_seq: page * PAGE, limit: PAGE };
      const told = await call('get', '/api/v1/runs/{run_id}/events', { path: { run_id: this.#runId }, query, signal: this.#stop.signal });
      this.#touch(page, told.data);
      this.fault = null;
      this.version += 1;
    } catch (fault) {
      if (!this.#stop.signal.aborted) this.fault = fault;
    } finally {
      this.#reading.delete(page);
    }
  }

  #touch(page: number, events: readonly LoggedEvent[]): void {
    this.#pages.delete(page);
    this.#pages.set(page, events);
    const oldest = this.#pages.keys().next();
    if (this.#pages.size > MAX_PAGES && !oldest.done) this.#pages.delete(oldest.value);
  }
}

function pageOf(seq: number): number {
  return Math.floor((seq - 1) / PAGE);
}
