import { describe, expect, it } from 'vitest';
import { counted, inField, numberOf, size } from '../src/model/numbers';
import { spoken } from '../src/model/times';

describe('numbers that are typed', () => {
  it('are digits and a point', () => {
    expect(['1000', ' 10.5 ', '0', '.5', '5.', '-3', '1e-7', '+2'].map(numberOf)).toEqual([1000, 10.5, 0, 0.5, 5, -3, 1e-7, 2]);
  });
  it('are nothing else: what might be read in two ways is not guessed', () => {
    expect(['1,000', '10,5', '1 000', '1_000', 'abc', '80 %', '$5', '30 days', '', ' ', '.', '0x10', 'Infinity', 'NaN', '1e999', '--1', '1.000.000', '١'].map(numberOf)).toEqual(Array.from({ length: 18 }, () => null));
  });
  it('are shown in a field with the digits that they need', () => {
    expect([inField(3600, 86_400), inField(290_000, 1e4), inField(86_400, 86_400), inField(512_000, 1_048_576), inField(0, 1_048_576)]).toEqual(['0.04167', '29', '1', '0.488281', '0']);
    for (const seconds of [60, 61, 3599, 3600, 86_399, 100_000, 2_592_001]) expect(Math.round((numberOf(inField(seconds, 86_400)) ?? 0) * 86_400)).toBe(seconds);
  });
});

describe('words of figures', () => {
  it('count', () => expect([counted(0, 'run'), counted(1, 'new run'), counted(2, 'run')]).toEqual(['0 runs', '1 new run', '2 runs']));
  it('tell a size', () => expect([0, 999, 1023, 1024, 512_000, 1_048_576, 1.5 * 2 ** 30].map(size)).toEqual(['0 B', '999 B', '1,020 B', '1 KiB', '500 KiB', '1 MiB', '1.5 GiB']));
  it('put times of the server into the zone of the reader', () => expect(spoken('was answered at 2026-11-30T22:31:40.326Z.')).not.toContain('T22'));
});
