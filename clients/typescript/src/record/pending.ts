/** Something that somebody waits for, settled from outside; only the first time counts. */

import type { Platform } from "../platform.js";
import { TowerlogError } from "../wire/errors.js";
import { timerMs } from "../wire/retries.js";

export class Pending<T> {
  readonly promise: Promise<T>;
  isSettled = false;
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Nobody may be waiting any more when it fails.
    this.promise.catch(() => undefined);
  }

  resolve(value: T): void {
    this.isSettled = true;
    this.#resolve(value);
  }

  reject(error: unknown): void {
    this.isSettled = true;
    this.#reject(error);
  }
}

/** The value, or after a time (undefined: never) a `TowerlogError` with the code `timeout`. Keeps the program alive. */
export async function within<T>(promise: Promise<T>, timeoutMs: number | undefined, words: string): Promise<T> {
  if (timeoutMs === undefined) return promise;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TowerlogError("timeout", words)), timerMs(timeoutMs));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A pause that does not keep the program alive and may be ended before its time. */
export class Pause {
  #end: (() => void) | null = null;

  constructor(private readonly platform: Platform) {}

  async wait(pauseMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const takeBack = this.platform.later(pauseMs, resolve);
      this.#end = () => {
        takeBack();
        resolve();
      };
    });
    this.#end = null;
  }

  end(): void {
    this.#end?.();
  }
}
