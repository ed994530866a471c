/** Dropped events: counted exactly, and reported to the server as ranges of each run's numbers. */

import type { Range } from "../wire/batch.js";

/** Ranges that wait to be reported; events dropped past it stay a gap without an explanation. */
export const MAX_RANGES = 10_000;

/** Where an event stands that was dropped. */
export interface Place {
  readonly runKey: string;
  readonly thread?: string | undefined;
  readonly seq: number;
  /** The next number of its run's events. */
  readonly nextSeq: () => number;
}

export class Losses {
  dropped = 0;
  #ranges: Range[] = [];
  /** Notices that were made and not told yet. */
  #notices: string[] = [];
  /** Run and reason → its newest range. */
  #newest = new Map<string, Range>();

  /** Notes that an event was dropped. */
  note({ runKey, thread, seq, nextSeq }: Place, reason: string): void {
    this.dropped += 1;
    const name = JSON.stringify([runKey, reason]);
    const newest = this.#newest.get(name);
    if (newest !== undefined && newest.to + 1 === seq) {
      newest.to = seq;
    } else if (this.#ranges.length < MAX_RANGES) {
      const range = { runKey, thread, from: seq, to: seq, reason, nextSeq };
      this.#ranges.push(range);
      this.#newest.set(name, range);
    }
  }

  get areTold(): boolean {
    return this.#ranges.length === 0 && this.#notices.length === 0;
  }

  /** The oldest notices, which are told again until `settle`. */
  notices(most: number, make: (range: Range) => string): string[] {
    const left = this.#ranges.splice(0, most - this.#notices.length);
    if (left.length > 0) this.#newest = new Map();
    this.#notices.push(...left.map(make));
    return this.#notices.slice(0, most);
  }

  /** So many of the oldest notices were told, or are not told again. */
  settle(number: number): void {
    this.#notices.splice(0, number);
  }
}
