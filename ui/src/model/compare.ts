/** Two runs beside each other: their steps aligned, and where they part ways. */

import { diff } from './diff';
import { type Told, type Turn, conversation } from './events';

export interface Line {
  /** The step of each run; null where it has none like the other's. */
  readonly a: Turn | null;
  readonly b: Turn | null;
  readonly same: boolean;
}

export interface Comparison {
  readonly lines: readonly Line[];
  /** The line where they differ first; null where they do not. */
  readonly parts: number | null;
}

/** Aligns what two runs did, from their events in order. Steps are alike when who, what and the text are. */
export function compare(a: readonly Told[], b: readonly Told[]): Comparison {
  const one = conversation(a);
  const other = conversation(b);
  const lines: Line[] = [];
  let i = 0;
  let gone: Turn[] = [];
  let fresh: Turn[] = [];
  const settle = (): void => {
    for (let at = 0; at < Math.max(gone.length, fresh.length); at++) lines.push({ a: gone[at] ?? null, b: fresh[at] ?? null, same: false });
    gone = [];
    fresh = [];
  };
  for (const piece of diff(one, other, (turn) => `${turn.who}\n${turn.name}\n${turn.text}`)) {
    if (piece.kind === 'new') fresh.push(piece.value);
    else if (piece.kind === 'gone') {
      gone.push(piece.value);
      i += 1;
    } else {
      settle();
      lines.push({ a: one[i] ?? null, b: piece.value, same: true });
      i += 1;
    }
  }
  settle();
  const parts = lines.findIndex((line) => !line.same);
  return { lines, parts: parts < 0 ? null : parts };
}
