import { describe, expect, it } from 'vitest';
import { Standing } from '../src/live/standing.svelte';
import { MOST_GONE, STILL_MS, Stillness, stood } from '../src/model/standing';

const id = (thing: string): string => thing;
const first = stood([], ['a', 'b', 'c'], id, true);
const told = (shown: readonly { id: string; isGone: boolean }[]): string => shown.map((one) => (one.isGone ? `(${one.id})` : one.id)).join(' ');

describe('a list that holds its places', () => {
  it('keeps the place of what has gone', () => expect(told(stood(first, ['b', 'c'], id, true))).toBe('(a) b c'));
  it('puts what comes at the end, whatever its order', () => expect(told(stood(first, ['x', 'a', 'b', 'c'], id, true))).toBe('a b c x'));
  it('keeps an order that has changed elsewhere', () => expect(told(stood(first, ['c', 'b', 'a'], id, true))).toBe('a b c'));
  it('takes back at its place what returns', () => expect(told(stood(stood(first, ['b', 'c'], id, true), ['a', 'b', 'c'], id, true))).toBe('a b c'));
  it('closes up when it is let go', () => expect(told(stood(stood(first, ['b'], id, true), ['b', 'x'], id, false))).toBe('b x'));
  it('shows each thing as it is now', () => {
    const before = stood([], [{ key: 'a', words: 'old' }], ({ key }) => key, true);
    expect(stood(before, [{ key: 'a', words: 'new' }], ({ key }) => key, true)[0]?.thing.words).toBe('new');
  });
  it('keeps a bounded number of places, and all that is there', () => {
    const many = Array.from({ length: MOST_GONE + 50 }, (_, at) => `n${at}`);
    const shown = stood(stood([], ['a', ...many, 'z'], id, true), ['a', 'z'], id, true);
    expect(shown.length).toBe(MOST_GONE + 2);
    expect(shown[0]).toEqual({ id: 'a', thing: 'a', isGone: false });
    expect(shown.at(-1)).toEqual({ id: 'z', thing: 'z', isGone: false });
  });
});

describe('a list that comes in parts', () => {
  it('has lost nothing by what was put elsewhere before all of it was there', () => {
    const list = new Standing(id);
    expect(told(list.of(['alert'], false))).toBe('alert');
    expect(told(list.of(['budget'], true))).toBe('budget');
    expect(told(list.of([], true))).toBe('(budget)');
  });
});

const AT = { x: 0, y: 0 };

describe('what stands still', () => {
  it('does so only after a while at one place', () => {
    const still = new Stillness<string>();
    expect(still.see('a', AT, 1_000)).toBe(false);
    expect(still.see('a', AT, 1_000 + STILL_MS - 1)).toBe(false);
    expect(still.see('a', AT, 1_000 + STILL_MS)).toBe(true);
    expect(still.see('a', { x: 0.6, y: 0 }, 2_900)).toBe(true);
    expect(still.see('a', { x: 0, y: 9 }, 3_000)).toBe(false);
    expect(still.see('a', AT, 3_100)).toBe(false);
    expect(still.see('a', AT, 3_100 + STILL_MS)).toBe(true);
    expect(still.see('a', { x: 9, y: 0 }, 9_000)).toBe(false);
  });
  it('is for longer than a press takes that was meant for something else', () => expect(STILL_MS).toBeGreaterThanOrEqual(500));
  it('does not creep', () => {
    const still = new Stillness<string>();
    const looks = [0, 3, 6, 9].map((y, at) => still.see('a', { x: 0, y }, at * STILL_MS));
    expect(looks).toEqual([false, true, false, true]);
  });
  it('is forgotten with its element', () => {
    const still = new Stillness<string>();
    still.see('a', AT, 0);
    still.forget('a');
    expect(still.see('a', AT, 9_000)).toBe(false);
  });
});
