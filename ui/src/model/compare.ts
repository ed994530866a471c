/** Two runs beside each other: their steps aligned, and where they part ways. */

import { diff } from './diff';
import type { Turn } from './events';

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

/** Aligns what two runs did, their turns in order. Steps are alike when who, what and the text are. */
export function compare(one: readonly Turn[], other: readonly Turn[]): Comparison {
  const lines: Line[] = [];
  let i = 0;
  let gone: Turn[] = [];
  let fresh: Turn[] = [];
  const settle = (): void => {
    for (let at = 0; at < Math.max(gone.length, fresh.length); at++) lines.push({ a: gone[at] ?? null, b: fresh[at] ?? null, same: false });
    gone = [];
    fresh = [];
  };
  for (const piece of diff(one, other, (turn) => `${turn.who}\n${turn.name}\n${turn.key ?? turn.text}`)) {
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

/** What the comparison comes to, in a sentence that claims nothing of what was not compared. */
export function verdict({ lines, parts }: Comparison): string {
  const steps = (count: number): string => (count === 1 ? '1 step' : `${count} steps`);
  if (parts === 0) return 'They differ from the first step on.';
  if (parts !== null) return `The same for ${steps(parts)}, then they part ways.`;
  const isEmpty = lines.every(({ a }) => a?.who === 'run');
  if (isEmpty) return 'Nothing to compare: neither run tells of messages or tool calls.';
  return `No difference in ${steps(lines.length)}: messages, tool calls, questions, answers and how they ended.`;
}
