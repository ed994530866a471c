/** When something is tried again: pauses that double, with jitter, and what a server asks for. */

import type { TowerlogError } from "./errors.js";

export const FIRST_PAUSE_MS = 50;
export const MAX_RETRY_AFTER_MS = 300_000;
const MAX_DOUBLINGS = 30;

/** Of a call that somebody waits for: tried five times in all. */
export const ATTEMPTS = 5;
const CALL_FIRST_PAUSE_MS = 200;
const CALL_MAX_PAUSE_MS = 5_000;
/** The longest `Retry-After` that a call waits for; told to wait longer, it fails. */
const MAX_TOLD_MS = 30_000;

/** The pause after the `tried`th failure in a row, from the upper half of its range, so that clients do not come back together. */
export function jitteredMs(tried: number, firstMs: number, longestMs: number): number {
  const ceiling = Math.min(longestMs, firstMs * 2 ** Math.min(tried - 1, MAX_DOUBLINGS));
  return ceiling * (0.5 + Math.random() / 2);
}

/** How long a call waits after its `tried`th failure; null to give up. */
export function callPauseMs(tried: number, error: TowerlogError): number | null {
  const told = error.retryAfterMs ?? 0;
  if (tried >= ATTEMPTS || !error.isTemporary || told > MAX_TOLD_MS) return null;
  return Math.max(told, jitteredMs(tried, CALL_FIRST_PAUSE_MS, CALL_MAX_PAUSE_MS));
}

/** The pauses of one thing that is tried until it works. */
export class Backoff {
  #tried = 0;

  constructor(
    readonly longestMs: number,
    readonly firstMs: number = FIRST_PAUSE_MS,
  ) {}

  /** The pause after one more failure, not shorter than the server has asked for. */
  nextMs(wantedMs = 0): number {
    this.#tried += 1;
    return Math.max(wantedMs, jitteredMs(this.#tried, this.firstMs, this.longestMs));
  }

  reset(): void {
    this.#tried = 0;
  }
}

/** From how long a wait on it is one that the server has held back, as it was asked to. */
const HELD_MS = 1_000;
const HURRIED_FIRST_PAUSE_MS = 100;

/**
 * The pauses between long polls: none after one that the server has held back, a moment after one that brought news. What is
 * answered at once again and again, by a server or by something before it, is asked more and more rarely.
 */
export class Pace {
  readonly #hurried: Backoff;

  constructor(longestMs: number) {
    this.#hurried = new Backoff(longestMs, HURRIED_FIRST_PAUSE_MS);
  }

  /** The pause after a poll that took so long. */
  pauseMs(tookMs: number, isNews: boolean): number {
    if (tookMs < HELD_MS && !isNews) return this.#hurried.nextMs();
    this.#hurried.reset();
    // A command that is still pending would make the next reply come at once.
    return isNews ? HURRIED_FIRST_PAUSE_MS : 0;
  }
}

/** `Retry-After`, in seconds or as a date; null for anything else. */
export function retryAfterMs(text: string | null): number | null {
  if (text === null) return null;
  const told = text.trim();
  const ms = /^\d+$/.test(told) ? Number(told) * 1000 : Date.parse(told) - Date.now();
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}

/** Timers of JavaScript take no more, and call at once where they are given more. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A time as a timer takes it; what is none is for ever, as far as timers go. */
export function timerMs(ms: number): number {
  return ms >= 0 && ms < MAX_TIMER_MS ? ms : ms < 0 ? 0 : MAX_TIMER_MS;
}

/** Waits, or until one of these signals is aborted. Keeps the program alive. */
export async function paused(pauseMs: number, ...signals: (AbortSignal | undefined)[]): Promise<void> {
  if (signals.some((signal) => signal?.aborted)) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, timerMs(pauseMs));
    for (const signal of signals) signal?.addEventListener("abort", end, { once: true });
  });
}
