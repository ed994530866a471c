/** What differs between Node.js and a browser; `platforms/` has the two. */

/** A value that belongs to a piece of work and to all that it starts. */
export interface Scope<T> {
  /** The value of the work that this code is a part of. */
  get(): T | undefined;
  run<R>(value: T, work: () => R): R;
}

/** What the program's end calls while there is something to deliver. */
export interface Leaving {
  /** Nothing else keeps the program alive: a last chance to deliver. */
  leave(): void;
  /** It ends now; nothing can be sent any more. */
  left(): void;
}

export interface Platform {
  readonly environment: Readonly<Record<string, string | undefined>>;
  makeScope<T>(): Scope<T>;
  /** Calls back after a time, which does not keep the program alive. Returns what takes it back. */
  later(pauseMs: number, call: () => void): () => void;
  /** Registers for the program's end. Returns what takes it back. */
  onLeaving(leaving: Leaving): () => void;
  /** Bytes of a text in UTF-8. */
  byteLength(text: string): number;
}
