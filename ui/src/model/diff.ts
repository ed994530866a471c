/** What differs between two texts or lists: the longest common part stays, the rest is taken away or added. */

export interface Piece<T> {
  readonly kind: 'same' | 'gone' | 'new';
  readonly value: T;
}

/** So many comparisons at most; past it, what is between the equal ends is told as replaced. */
const MAX_CELLS = 4_000_000;

/** The difference of two lists, in order. `same` compares by `key`. */
export function diff<T>(before: readonly T[], after: readonly T[], key: (value: T) => string): Piece<T>[] {
  const old = before.map(key);
  const now = after.map(key);
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const middle = between(before.slice(head, before.length - tail), after.slice(head, after.length - tail), key);
  const same = (value: T): Piece<T> => ({ kind: 'same', value });
  return [...after.slice(0, head).map(same), ...middle, ...after.slice(after.length - tail).map(same)];
}

function between<T>(before: readonly T[], after: readonly T[], key: (value: T) => string): Piece<T>[] {
  const gone = (value: T): Piece<T> => ({ kind: 'gone', value });
  const fresh = (value: T): Piece<T> => ({ kind: 'new', value });
  if (before.length === 0 || after.length === 0 || before.length * after.length > MAX_CELLS) {
    return [...before.map(gone), ...after.map(fresh)];
  }
  const old = before.map(key);
  const now = after.map(key);
  const width = now.length + 1;
  const lengths = new Uint32Array((old.length + 1) * width);
  const cell = (at: number): number => lengths[at] ?? 0;
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      lengths[i * width + j] =
        old[i] === now[j] ? cell((i + 1) * width + j + 1) + 1 : Math.max(cell((i + 1) * width + j), cell(i * width + j + 1));
    }
  }
  const found: Piece<T>[] = [];
  let i = 0;
  let j = 0;
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      found.push({ kind: 'same', value: after[j++] as T });
      i++;
    } else if (j >= now.length || (i < old.length && cell((i + 1) * width + j) >= cell(i * width + j + 1))) {
      found.push(gone(before[i++] as T));
    } else found.push(fresh(after[j++] as T));
  }
  return found;
}
