/** Messages of model calls, each told once: an agent sends its whole conversation with every call. */

import { dataText } from "../values/encoding.js";
import { digestOf } from "../wire/ids.js";

/** Conversations of a run that are remembered; of others all is told each time. */
const MAX_CONVERSATIONS = 100;
/** Messages of a conversation that are compared. */
const MAX_COMPARED = 10_000;

export class ToldMessages {
  /** Conversation → the span of its last call, and the digests of that one's messages. */
  readonly #told = new Map<string, { spanId: string; digests: string[] }>();

  /**
   * The members of a call: `messages`, and in `messages_after` where those before them stand, which are the first `count`
   * messages of the call `span_id`.
   */
  members(conversation: string, spanId: string, messages: readonly unknown[]): Record<string, unknown> {
    const last = this.#told.get(conversation);
    const digests = messages.slice(0, MAX_COMPARED).map((message) => digestOf(dataText({ message })));
    let count = 0;
    while (count < digests.length && digests[count] === last?.digests[count]) count += 1;
    this.#told.delete(conversation);
    this.#told.set(conversation, { spanId, digests });
    if (this.#told.size > MAX_CONVERSATIONS) this.#told.delete(this.#told.keys().next().value ?? "");
    const after = count > 0 && last !== undefined ? { messages_after: { span_id: last.spanId, count } } : {};
    return { messages: messages.slice(count), ...after };
  }
}
