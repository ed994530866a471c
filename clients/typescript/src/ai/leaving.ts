/** Streams whose reader leaves them before their end, which the AI SDK tells nobody of. */

import { isObject } from "../wire/refusals.js";

type Iterate = (...options: unknown[]) => AsyncIterator<unknown>;

/** A result of the AI SDK that says when a loop over one of its streams has ended before the stream: `left` is called. */
export function watchedResult(result: unknown, left: () => void): unknown {
  if (!isObject(result)) return result;
  return new Proxy(result, {
    get(inner, name) {
      const value: unknown = Reflect.get(inner, name, inner);
      if (typeof value === "function") return value.bind(inner) as unknown;
      if (value instanceof ReadableStream && Symbol.asyncIterator in value) watchLoops(value, left);
      return value;
    },
  });
}

/** The stream stays what it is, since it may be handed on to what takes no other; its loops are looked at. */
function watchLoops(stream: ReadableStream<unknown>, left: () => void): void {
  const iterate = (stream as unknown as { [Symbol.asyncIterator]: Iterate })[Symbol.asyncIterator].bind(stream);
  const watched: Iterate = (...options) => {
    const loop = iterate(...options);
    return {
      next: () => loop.next(),
      return: async (value?: unknown) => {
        try {
          return (await loop.return?.(value)) ?? { done: true, value };
        } finally {
          left();
        }
      },
    };
  };
  Object.defineProperty(stream, Symbol.asyncIterator, { value: watched, configurable: true, writable: true });
}
