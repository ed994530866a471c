/** A browser, or any other place with the interfaces of the web alone. */

import type { Platform, Scope } from "../platform.js";

const encoder = new TextEncoder();

/** Browsers have nothing that follows an `await`: the value holds while `work` is called, and not after that. */
function makeScope<T>(): Scope<T> {
  let current: T | undefined;
  return {
    get: () => current,
    run(value, work) {
      const before = current;
      current = value;
      try {
        return work();
      } finally {
        current = before;
      }
    },
  };
}

function later(pauseMs: number, call: () => void): () => void {
  const timer = setTimeout(call, pauseMs);
  return () => clearTimeout(timer);
}

export const BROWSER: Platform = {
  environment: {},
  makeScope,
  later,
  onLeaving: () => () => undefined,
  byteLength: (text) => encoder.encode(text).length,
};
