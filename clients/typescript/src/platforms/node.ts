/** Node.js, and what is compatible with it. */

import { AsyncLocalStorage } from "node:async_hooks";

import type { Leaving, Platform, Scope } from "../platform.js";

class Leavings {
  readonly #all = new Set<Leaving>();

  add(leaving: Leaving): () => void {
    // One listener for all, so that a program with many clients gets no warning about its listeners.
    if (this.#all.size === 0) {
      process.on("beforeExit", this.#leave);
      process.on("exit", this.#left);
    }
    this.#all.add(leaving);
    return () => {
      if (this.#all.delete(leaving) && this.#all.size === 0) {
        process.off("beforeExit", this.#leave);
        process.off("exit", this.#left);
      }
    };
  }

  readonly #leave = (): void => {
    for (const one of [...this.#all]) one.leave();
  };

  readonly #left = (): void => {
    for (const one of [...this.#all]) one.left();
  };
}

function makeScope<T>(): Scope<T> {
  const storage = new AsyncLocalStorage<T>();
  return { get: () => storage.getStore(), run: (value, work) => storage.run(value, work) };
}

function later(pauseMs: number, call: () => void): () => void {
  const timer = setTimeout(call, pauseMs);
  timer.unref();
  return () => clearTimeout(timer);
}

const leavings = new Leavings();

export const NODE: Platform = {
  environment: process.env,
  makeScope,
  later,
  onLeaving: (leaving) => leavings.add(leaving),
  byteLength: (text) => Buffer.byteLength(text),
};
