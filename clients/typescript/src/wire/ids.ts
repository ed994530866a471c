/** Fresh ids, and short names for texts. */

const TAILS_AT_ONCE = 64;
const TAIL_BYTES = 10;
const VARIANTS = "89ab";

let tails: string[] = [];

/** A UUID of version 7: 48 bits of milliseconds since 1970, 74 random bits (RFC 9562). */
export function uuid7(): string {
  const head = Date.now().toString(16).padStart(12, "0");
  // Randomness for many at once: a call for each costs more than the rest of making an id.
  if (tails.length === 0) tails = freshTails();
  return `${head.slice(0, 8)}-${head.slice(8)}-${tails.pop() ?? ""}`;
}

function freshTails(): string[] {
  const bytes = crypto.getRandomValues(new Uint8Array(TAIL_BYTES * TAILS_AT_ONCE));
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return Array.from({ length: TAILS_AT_ONCE }, (_, index) => {
    const one = digits.slice(index * 2 * TAIL_BYTES, (index + 1) * 2 * TAIL_BYTES);
    const variant = VARIANTS[Number.parseInt(one[3] ?? "0", 16) & 3] ?? "8";
    return `7${one.slice(0, 3)}-${variant}${one.slice(4, 7)}-${one.slice(7, 19)}`;
  });
}

/**
 * Sixteen hex digits that are the same for the same text: two 32-bit hashes with other seeds (cyrb53's rounds).
 * Against accidents, not against people who look for two texts with one digest.
 */
export function digestOf(text: string): string {
  let one = 0xdeadbeef;
  let two = 0x41c6ce57;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    one = Math.imul(one ^ unit, 2654435761);
    two = Math.imul(two ^ unit, 1597334677);
  }
  const first = mixed(one) ^ mixed(two ^ one);
  const second = mixed(two) ^ mixed(one + two);
  return [first, second].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}

function mixed(value: number): number {
  const once = Math.imul(value ^ (value >>> 16), 2246822507);
  const twice = Math.imul(once ^ (once >>> 13), 3266489909);
  return twice ^ (twice >>> 16);
}
