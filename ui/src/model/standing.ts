/** Which cards of a list are shown where: while it is held, what leaves keeps its place, and what comes goes to the end. */

export interface Stood<Thing> {
  readonly id: string;
  readonly thing: Thing;
  /** Whether it has left the list, and is shown for its place only. */
  readonly isGone: boolean;
}

/** Places of what has left that are kept; past it the first are let go. */
export const MOST_GONE = 100;

/** The list as it is shown now, after what was shown `before`. */
export function stood<Thing>(before: readonly Stood<Thing>[], things: readonly Thing[], idOf: (thing: Thing) => string, isHeld: boolean): Stood<Thing>[] {
  const left = new Map(things.map((thing) => [idOf(thing), thing]));
  const kept = (isHeld ? before : []).map(({ id, thing }) => {
    const now = left.get(id);
    left.delete(id);
    return { id, thing: now ?? thing, isGone: now === undefined };
  });
  const all = [...kept, ...[...left].map(([id, thing]) => ({ id, thing, isGone: false }))];
  let excess = all.filter(({ isGone }) => isGone).length - MOST_GONE;
  return excess <= 0 ? all : all.filter(({ isGone }) => !isGone || excess-- <= 0);
}

/** How long something has stood at a place before a press on it counts, in ms. */
export const STILL_MS = 700;

/** Less than this, in pixels, is no move: parts of a pixel that are rounded anew. */
const NO_MOVE = 4;

export interface Spot {
  readonly x: number;
  readonly y: number;
}

/** Which things stand still. */
export class Stillness<Key> {
  readonly #seen = new Map<Key, Spot & { readonly since: number }>();

  /** Notes where a thing is; returns whether it has been there for long enough. What was not seen before has just moved. */
  see(key: Key, { x, y }: Spot, now: number): boolean {
    const last = this.#seen.get(key);
    if (last && Math.abs(last.x - x) < NO_MOVE && Math.abs(last.y - y) < NO_MOVE) return now - last.since >= STILL_MS;
    this.#seen.set(key, { x, y, since: now });
    return false;
  }

  forget(key: Key): void {
    this.#seen.delete(key);
  }
}
