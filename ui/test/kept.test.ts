import { describe, expect, it } from 'vitest';
import { badge } from '../src/live/inbox.svelte';
import { kept } from '../src/live/kept.svelte';

interface Row {
  readonly id: string;
  readonly open: boolean;
}
const row = (id: string, open = true): Row => ({ id, open });
const keeping = { kind: 'approval', id: ({ id }: Row) => id, fits: ({ open }: Row) => open, before: (one: Row, other: Row) => one.id.localeCompare(other.id) };
const after = (...told: readonly (readonly [string, Row | null])[]): string =>
  kept([row('a'), row('c')], new Map(told), keeping)
    .map(({ id }) => id)
    .join('');

describe('a list that is kept by what is told', () => {
  it('takes what is new in its order', () => expect(after(['b', row('b')])).toBe('abc'));
  it('changes a row once', () => expect(after(['a', row('a')])).toBe('ac'));
  it('lets go what fits no more, and what is gone', () => expect(after(['a', row('a', false)], ['c', null])).toBe(''));
  it('does not take what never fitted', () => expect(after(['b', row('b', false)])).toBe('ac'));
});

describe('a badge', () => {
  it('says nothing of nothing, and that there are more', () => {
    expect(badge(null)).toBe('');
    expect(badge({ data: [], next: null })).toBe('');
    expect(badge({ data: [1, 2], next: null })).toBe('2');
    expect(badge({ data: [1, 2], next: 'x' })).toBe('2+');
  });
});
