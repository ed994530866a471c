import { expect, test } from 'vitest';
import { flatOf, named, sumOf, ticks } from '../src/model/bars';

test('a scale has round values from 0 to the most', () => {
  expect(ticks(0, false)).toEqual([0]);
  expect(ticks(NaN, true)).toEqual([0]);
  expect(ticks(0.0013, false)).toEqual([0, 0.0005, 0.001]);
  expect(ticks(10, false)).toEqual([0, 5, 10]);
  expect(ticks(8, false)).toEqual([0, 2, 4, 6, 8]);
  expect(ticks(1_234_567, true)).toEqual([0, 500_000, 1_000_000]);
  for (const most of [1e-9, 0.3, 1, 7, 99, 101, 1e12]) {
    const found = ticks(most, false);
    expect(found.length).toBeGreaterThan(1);
    expect(found.length).toBeLessThan(7);
    expect(found.at(-1)).toBeLessThanOrEqual(most * (1 + 1e-9));
  }
});

test('of whole figures no half is named', () => {
  expect(ticks(1, true)).toEqual([0, 1]);
  expect(ticks(3, true)).toEqual([0, 1, 2, 3]);
});

test('steps are named as far as there is room, and the last one always', () => {
  expect(named(7, 700)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(named(24, 300)).toEqual([5, 11, 17, 23]);
  expect(named(24, 0)).toEqual([23]);
  expect(named(0, 300)).toEqual([]);
});

test('a sum of which a part is unknown says so, and is not 0 where all of it is', () => {
  const figure = (value: number): string => `$${value}`;
  expect(sumOf([1, 0, 2], figure, 'unpriced')).toBe('$3');
  expect(sumOf([0, 0], figure, 'unpriced')).toBe('$0');
  expect(sumOf([1, null], figure, 'unpriced')).toBe('$1 and what is unpriced');
  expect(sumOf([0, null], figure, 'unpriced')).toBe('unpriced');
});

test('without a bar, what is 0 says so, and what is not known is no 0', () => {
  const told = (values: (number | null)[], isSummed = true): string | null => flatOf(values, '$0', 'unpriced', isSummed);
  expect(told([0, 1, null])).toBe(null);
  expect(told([0, 0])).toBe('$0 throughout');
  expect(told([0, null])).toBe('unpriced');
  expect(told([null, null])).toBe('unpriced');
  expect(told([0, null], false)).toBe('$0 throughout');
  expect(told([null, null], false)).toBe('unpriced');
});
