/** Events between the program and the server, in order, bounded in bytes and in number. */

import type { Losses, Place } from "./losses.js";

export const MAX_EVENTS = 200_000;
export const NO_ROOM = "no room";
/** From how many used places on the front of the queue is given back. */
const COMPACT_FROM = 1_024;

export type Overflow = "oldest" | "newest";

/** What became of an event. */
export type Outcome = "stored" | "refused" | "dropped";

/** Who waits for what becomes of an event. */
export interface Watch {
  /** Is told that the server has it, before the commands that came with the reply. */
  readonly stored?: () => void;
  /** Is told what became of it, after those commands; `seq`: its place in the run's log, 0 where it is not known. */
  readonly settled?: (outcome: Outcome, words: string, seq: number) => void;
}

/** An encoded event. */
export interface Entry extends Place {
  readonly line: string;
  readonly bytes: number;
  /** Is told the server's id of the run, if that is not known. */
  readonly named?: ((runId: string) => void) | undefined;
  readonly watch?: Watch | undefined;
}

export class Backlog {
  /** Events that were taken in, and how many of them are done: stored by the server, or lost. */
  accepted = 0;
  done = 0;
  #entries: (Entry | undefined)[] = [];
  #first = 0;
  #bytes = 0;

  constructor(
    private readonly maxBytes: number,
    private readonly overflow: Overflow,
    private readonly losses: Losses,
  ) {}

  /** Events that wait, without those that are being sent. */
  get waiting(): number {
    return this.#entries.length - this.#first;
  }

  /** Bytes of all events, also of those that are being sent. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Events that the server has not stored yet. */
  get pending(): number {
    return this.accepted - this.done;
  }

  /** Adds an event, or drops one, this or the oldest, when there is no room. */
  put(entry: Entry): void {
    while (this.waiting > 0 && !this.#fits(entry.bytes)) {
      if (this.overflow === "newest") return this.#lose(entry);
      const [oldest] = this.#shift(1, Number.POSITIVE_INFINITY) as [Entry];
      this.#bytes -= oldest.bytes;
      this.done += 1;
      this.#lose(oldest);
    }
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
    this.accepted += 1;
  }

  /** The oldest events. They stay in the backlog's bounds until `settle`. */
  take(maxEvents: number, maxBytes: number): Entry[] {
    return this.#shift(maxEvents, maxBytes);
  }

  /** They are delivered, or dropped. */
  settle(batch: readonly Entry[]): void {
    this.#bytes -= sizeOf(batch);
    this.done += batch.length;
  }

  /** They are sent again, before all others. */
  giveBack(batch: readonly Entry[]): void {
    this.#entries.splice(0, this.#first, ...batch);
    this.#first = 0;
  }

  /** Gives all of them up. Returns how many there were. */
  clear(): number {
    const lost = this.pending;
    this.#entries = [];
    this.#first = 0;
    this.#bytes = 0;
    this.done = this.accepted;
    return lost;
  }

  #fits(bytes: number): boolean {
    return this.#bytes + bytes <= this.maxBytes && this.waiting < MAX_EVENTS;
  }

  #lose(entry: Entry): void {
    this.losses.note(entry, NO_ROOM);
    entry.watch?.settled?.("dropped", NO_ROOM, 0);
  }

  /** Takes entries from the front: at least one, then as many as fit. */
  #shift(maxEvents: number, maxBytes: number): Entry[] {
    const taken: Entry[] = [];
    let room = maxBytes;
    while (taken.length < maxEvents && this.waiting > 0) {
      const entry = this.#entries[this.#first] as Entry;
      if (taken.length > 0 && entry.bytes > room) break;
      room -= entry.bytes;
      taken.push(entry);
      this.#entries[this.#first] = undefined;
      this.#first += 1;
    }
    if (this.#first >= COMPACT_FROM && this.#first * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
    return taken;
  }
}

function sizeOf(batch: readonly Entry[]): number {
  return batch.reduce((sum, entry) => sum + entry.bytes, 0);
}
