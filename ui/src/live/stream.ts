/** One stream of server-sent events that comes back by itself: from its cursor, after a wait that grows. */

import { ApiError, refusal } from '../api/client';
import { type Frame, FrameReader } from './frames';

export type LinkState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'reconnecting'; readonly since: number }
  | { readonly kind: 'refused'; readonly error: ApiError };

export interface Listener {
  /** Every frame, in order. */
  frame(frame: Frame): void;
  /** Whenever it changes. */
  state(state: LinkState): void;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
/** The server sends a comment every fifteen seconds at least: what is silent for longer is dead. */
const SILENCE_MS = 40_000;

/** Follows a path until the returned function is called. `url` is asked for each connection anew. */
export function follow(url: () => string, listener: Listener): () => void {
  const stop = new AbortController();
  void run(url, listener, stop.signal);
  return () => stop.abort();
}

async function run(url: () => string, listener: Listener, stop: AbortSignal): Promise<void> {
  let cursor: string | null = null;
  let wait = FIRST_WAIT_MS;
  let since: number | null = null;
  listener.state({ kind: 'connecting' });
  while (!stop.aborted) {
    const watch = new Silence(stop);
    let refused: ApiError | null = null;
    try {
      for await (const frame of frames(url(), cursor, watch)) {
        if (frame === null) {
          since = null;
          wait = FIRST_WAIT_MS;
          listener.state({ kind: 'live' });
          continue;
        }
        cursor = frame.id ?? cursor;
        listener.frame(frame);
      }
    } catch (fault) {
      if (stop.aborted) return;
      if (fault instanceof ApiError && !fault.isPassing) refused = fault;
    } finally {
      watch.end();
    }
    since ??= Date.now();
    listener.state(refused ? { kind: 'refused', error: refused } : { kind: 'reconnecting', since });
    // Nobody is signed in: that takes a person. What else was refused may be given later, so it is asked for, seldom.
    if (refused?.status === 401) return;
    if (refused) wait = LONGEST_WAIT_MS;
    await rest(wait * (0.5 + Math.random() / 2), stop);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

/** Null once the stream is open, then its frames. */
async function* frames(url: string, cursor: string | null, watch: Silence): AsyncGenerator<Frame | null> {
  const headers: Record<string, string> = { accept: 'text/event-stream' };
  if (cursor !== null) headers['last-event-id'] = cursor;
  const response = await fetch(url, { headers, credentials: 'same-origin', cache: 'no-store', signal: watch.signal });
  if (!response.ok || !response.body) throw await refusal(response);
  yield null;
  const reader = new FrameReader();
  const bytes = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await bytes.read();
    if (done) return;
    watch.heard();
    yield* reader.read(value);
  }
}

/** Ends a connection on which nothing comes any more. */
class Silence {
  readonly #controller = new AbortController();
  readonly #stop: AbortSignal;
  readonly #abort = (): void => this.#controller.abort();
  #timer: ReturnType<typeof setTimeout>;

  constructor(stop: AbortSignal) {
    this.#stop = stop;
    stop.addEventListener('abort', this.#abort);
    this.#timer = setTimeout(this.#abort, SILENCE_MS);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, SILENCE_MS);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#stop.removeEventListener('abort', this.#abort);
    this.#controller.abort();
  }
}

function rest(ms: number, stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    stop.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
