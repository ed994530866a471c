/**
 * Sends events from the backlog to the server, one request at a time, so that they arrive in order. Nothing here throws
 * into the program: problems are told once and shown in the status.
 */

import type { Leaving, Platform } from "../platform.js";
import { BATCH_BYTES, BATCH_EVENTS, type BatchReply, type Command, type EventResult, type Wire, isStored, strangeStatus } from "../wire/batch.js";
import { describe } from "../values/texts.js";
import { printable } from "../wire/refusals.js";
import { Backoff, timerMs } from "../wire/retries.js";
import type { Backlog, Entry } from "./backlog.js";
import type { Losses } from "./losses.js";
import { Pause } from "./pending.js";

/** How long an event may wait to be sent together with others. */
const LINGER_MS = 200;
/** How long the server is not asked during a run before its pending commands are asked for. */
const POLL_EVERY_MS = 5_000;
const MAX_PAUSE_MS = 30_000;
/** How often an event is sent that is answered with a word that says neither that it is stored nor that it is not. */
const STRANGE_TRIES = 3;

/** What delivery needs from its recorder. */
export interface Hooks {
  /** Keys of the runs that have not ended. */
  openRuns(): string[];
  /** Tells heartbeats of runs that have been silent. */
  beat(): void;
  commanded(command: Command): void;
  /** Something that people should know. */
  problem(words: string): void;
}

export interface Counts {
  sent: number;
  acknowledged: number;
  duplicates: number;
  refused: number;
}

export class Delivery {
  readonly counts: Counts = { sent: 0, acknowledged: 0, duplicates: 0, refused: 0 };
  lastError: string | null = null;
  #isSending = false;
  #isStopped = false;
  #isReachable = true;
  #lingers: (() => void) | null = null;
  #polls: (() => void) | null = null;
  #leavesWithout: (() => void) | null = null;
  #heardAt = performance.now();
  #batchMax: number;
  #strange = 0;
  /** The last problem that was told, until a request succeeds. */
  #told = "";
  #waiters = new Set<() => void>();
  /** How much had been accepted when the program's end was last held up. */
  #heldUpAt = -1;
  readonly #backoff = new Backoff(MAX_PAUSE_MS);
  readonly #pause: Pause;

  constructor(
    private readonly wire: Wire,
    /** Why nothing can be sent; null where something can. */
    private readonly whyNot: string | null,
    private readonly backlog: Backlog,
    private readonly losses: Losses,
    private readonly platform: Platform,
    private readonly exitMs: number,
    private readonly hooks: Hooks,
  ) {
    this.#pause = new Pause(platform);
    this.#batchMax = wire.maxEvents;
  }

  /** Called after an event was added to the backlog. */
  noticed(): void {
    if (this.#isStopped) return;
    this.#leavesWithout ??= this.platform.onLeaving(this.#leaving);
    if (this.backlog.waiting >= BATCH_EVENTS || this.backlog.bytes >= BATCH_BYTES) this.hurry();
    else this.#lingers ??= this.platform.later(LINGER_MS, () => this.hurry());
  }

  /** Sends what there is without waiting for more. */
  hurry(): void {
    this.#lingers?.();
    this.#lingers = null;
    if (!this.#isSending && !this.#isStopped) void this.#send();
  }

  /** From now on commands are asked for while runs are open. */
  watch(): void {
    if (this.#isStopped || this.whyNot !== null) return;
    this.#polls ??= this.platform.later(this.#pollsInMs(), () => void this.#poll());
  }

  /** Waits until every event added before is stored by the server; false on time-out, or if one was dropped. */
  async flush(timeoutMs: number): Promise<boolean> {
    const dropped = this.losses.dropped;
    const target = this.backlog.accepted;
    const isDone = (): boolean => this.backlog.done >= Math.min(target, this.backlog.accepted) && this.losses.areTold;
    const endsAt = performance.now() + timeoutMs;
    this.hurry();
    while (!isDone() && performance.now() < endsAt && !this.#isStopped) await this.#changed(endsAt - performance.now());
    return isDone() && this.losses.dropped === dropped;
  }

  /** Ends it. Returns how many events were not delivered. */
  stop(): number {
    this.#isStopped = true;
    for (const takeBack of [this.#lingers, this.#polls, this.#leavesWithout]) takeBack?.();
    this.#pause.end();
    const lost = this.backlog.clear();
    this.#tellWaiters();
    return lost;
  }

  /** Why there are events that were not delivered. */
  whyLate(): string {
    return this.lastError ?? this.whyNot ?? "the program ended before they were sent";
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  // The program's end

  readonly #leaving: Leaving = {
    leave: () => {
      const accepted = this.backlog.accepted;
      if (!this.#isReachable || this.whyNot !== null || accepted === this.#heldUpAt) return;
      this.#heldUpAt = accepted;
      void this.flush(this.exitMs);
    },
    left: () => {
      const lost = this.backlog.pending;
      if (lost > 0) this.hooks.problem(`${lost} events lost: ${this.whyLate()}`);
    },
  };

  // Sending

  async #send(): Promise<void> {
    this.#isSending = true;
    try {
      while (!this.#isStopped && (this.backlog.waiting > 0 || !this.losses.areTold)) {
        try {
          await this.#sendOnce();
        } catch (error) {
          // A defect of this package: what was on its way is sent again, after a pause as after any failure.
          await this.#later(`internal error: ${describe(error)}`, 0);
        }
      }
    } finally {
      this.#isSending = false;
      if (this.backlog.pending === 0) {
        this.#leavesWithout?.();
        this.#leavesWithout = null;
      } else {
        this.noticed();
      }
    }
  }

  async #sendOnce(): Promise<void> {
    // Losses are told at once where the server answers; where it does not, events come first.
    if (!this.losses.areTold && (this.#isReachable || this.backlog.waiting === 0)) await this.#tellLosses();
    const batch = this.backlog.take(this.#batchMax, BATCH_BYTES);
    if (batch.length > 0) await this.#dispatch(batch);
  }

  async #dispatch(batch: Entry[]): Promise<void> {
    let isSettled = false;
    try {
      isSettled = await this.#isSettled(batch);
    } finally {
      // Whatever has happened, the batch goes one way or the other.
      if (!this.#isStopped) this.#done(batch, isSettled);
    }
  }

  async #isSettled(batch: Entry[]): Promise<boolean> {
    const answer = await this.#try(batch.map((entry) => entry.line));
    if (answer === null) return false;
    return answer.disposition === "taken" ? await this.#isTaken(batch, answer) : this.#narrow(batch, answer);
  }

  #done(batch: Entry[], isSettled: boolean): void {
    if (isSettled) {
      this.#batchMax = Math.min(this.wire.maxEvents, this.#batchMax * 2);
      this.backlog.settle(batch);
    } else {
      this.backlog.giveBack(batch);
    }
    this.#tellWaiters();
  }

  /** Whether a batch is settled, whose events have a result each. */
  async #isTaken(batch: Entry[], answer: BatchReply): Promise<boolean> {
    const words = answer.results.map(strangeStatus).find((one) => one !== null) ?? null;
    this.#strange = words === null ? 0 : this.#strange + 1;
    if (words !== null && this.#strange < STRANGE_TRIES) {
      await this.#later(words, 0);
      return false;
    }
    this.#strange = 0;
    batch.forEach((entry, index) => isStored(answer.results[index] as EventResult) && entry.watch?.stored?.());
    // Before what else is told: an answer among them was before the withdrawal of its question.
    this.#command(answer.commands);
    batch.forEach((entry, index) => this.#settle(entry, answer.results[index] as EventResult));
    return true;
  }

  #settle(entry: Entry, result: EventResult): void {
    if (typeof result.run_id === "string") entry.named?.(result.run_id);
    const strange = strangeStatus(result);
    if (strange !== null) {
      this.#refuse(entry, strange, strange);
    } else if (result.status === "refused") {
      this.#refuse(entry, `refused: ${result.code || "no code"}`, result.message || "no reason");
    } else {
      this.counts.acknowledged += 1;
      this.counts.duplicates += result.status === "duplicate" ? 1 : 0;
      entry.watch?.settled?.("stored", "", result.seq ?? 0);
    }
  }

  /** Halves the batch size, down to the one event that is at fault; that one is dropped. */
  #narrow(batch: Entry[], answer: BatchReply): boolean {
    if (answer.disposition !== "smaller") return false;
    const [entry] = batch;
    if (batch.length > 1 || entry === undefined) {
      this.#batchMax = Math.max(1, Math.floor(batch.length / 2));
      return false;
    }
    this.#refuse(entry, "refused by the server", answer.words);
    return true;
  }

  #refuse(entry: Entry, reason: string, words: string): void {
    this.counts.refused += 1;
    this.losses.note(entry, printable(reason));
    this.#note(`an event of run ${entry.runKey} is dropped: the server rejected it (${words})`);
    entry.watch?.settled?.("refused", printable(words), 0);
  }

  async #tellLosses(): Promise<void> {
    const notices = this.losses.notices(this.wire.maxEvents, (range) => this.wire.notice(range));
    const answer = await this.#try(notices);
    if (answer?.disposition === "taken") this.#command(answer.commands);
    // A notice that is rejected is not sent again: it would be rejected again.
    if (answer !== null) this.losses.settle(notices.length);
    this.#tellWaiters();
  }

  /** One request; if it fails, the pause that is due. Null when it has to be repeated. */
  async #try(lines: readonly string[]): Promise<BatchReply | null> {
    if (this.whyNot !== null) {
      await this.#later(this.whyNot, MAX_PAUSE_MS);
      return null;
    }
    const answer = await this.wire.send(lines, this.hooks.openRuns());
    this.#heardAt = performance.now();
    this.counts.sent += lines.length;
    if (answer.disposition === "later" || answer.disposition === "refused") {
      await this.#later(answer.words, Math.max(answer.retryAfterMs, answer.disposition === "refused" ? MAX_PAUSE_MS : 0));
      return null;
    }
    this.#backoff.reset();
    this.#isReachable = true;
    this.#told = "";
    return answer;
  }

  async #later(words: string, wantedMs: number): Promise<void> {
    this.#isReachable = false;
    this.#note(`events are not delivered yet, and will be sent again: ${words}`);
    if (!this.#isStopped) await this.#pause.wait(this.#backoff.nextMs(wantedMs));
  }

  // Commands

  async #poll(): Promise<void> {
    this.#polls = null;
    this.hooks.beat();
    const runs = this.hooks.openRuns();
    if (runs.length === 0 || this.#isStopped) return;
    if (!this.#isSending && performance.now() - this.#heardAt >= POLL_EVERY_MS) {
      const answer = await this.wire.send([], runs);
      this.#heardAt = performance.now();
      this.#command(answer.commands);
    }
    this.watch();
  }

  #pollsInMs(): number {
    // At least a moment, so that a busy sender is not looked at again and again.
    return Math.max(this.#heardAt + POLL_EVERY_MS - performance.now(), LINGER_MS);
  }

  #command(commands: readonly Command[]): void {
    for (const command of commands) this.hooks.commanded(command);
  }

  // What people and waiters are told

  #note(words: string): void {
    const message = printable(words);
    this.lastError = message;
    // Once, until a request succeeds or there is another problem.
    if (this.#told !== message) this.hooks.problem(message);
    this.#told = message;
  }

  #tellWaiters(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** Waits until something has changed, at most for a time. Keeps the program alive. */
  async #changed(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(end);
        resolve();
      };
      const timer = setTimeout(end, timerMs(timeoutMs));
      this.#waiters.add(end);
    });
  }
}
