/** One answer of the API on a screen: read, read again when rows change, and what went wrong meanwhile. */

import { link } from './link.svelte';

/** How often an answer is read again at most, however much changes, in ms. */
const PAUSE_MS = 1_000;

export class Resource<T> {
  /** The last answer; it stays while a newer one is on its way, and when that fails. */
  value = $state.raw<T | null>(null);
  fault = $state.raw<unknown>(null);

  readonly #read: (signal: AbortSignal) => Promise<T>;
  #reading: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #readAt = 0;

  constructor(read: (signal: AbortSignal) => Promise<T>) {
    this.#read = read;
  }

  /** Reads it now. What `read` uses of the URL makes an effect that calls this read it anew. */
  async load(): Promise<void> {
    this.#reading?.abort();
    const mine = (this.#reading = new AbortController());
    this.#readAt = Date.now();
    try {
      const value = await this.#read(mine.signal);
      if (this.#reading !== mine) return;
      this.value = value;
      this.fault = null;
    } catch (fault) {
      if (this.#reading === mine && !mine.signal.aborted) this.fault = fault;
    }
  }

  /** Reads it soon: at once when the last time is long ago. */
  soon(pause = PAUSE_MS): void {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        void this.load();
      },
      Math.max(this.#readAt + pause - Date.now(), 0),
    );
  }

  /**
   * For an effect: reads it, and again whenever rows of these kinds change; ends with the effect. `every`: and after so
   * many ms while the page is seen, for what no row of the stream tells of.
   */
  follow(kinds: readonly string[], pause = PAUSE_MS, every: number | null = null): () => void {
    void this.load();
    const timer = every === null ? null : setInterval(() => document.hidden || this.soon(0), every);
    const stop = kinds.length
      ? link.watch({ kinds, changed: () => this.soon(pause), removed: () => this.soon(pause), stale: () => this.soon(0) })
      : () => undefined;
    return () => {
      stop();
      if (timer !== null) clearInterval(timer);
      this.#reading?.abort();
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
    };
  }
}
