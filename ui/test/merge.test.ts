import { describe, expect, it } from 'vitest';
import { changes, rebased } from '../src/model/merge';

describe('a form of what others change meanwhile', () => {
  it('tells what has changed', () => {
    expect(changes({ a: 1, b: [1], c: { d: 1 } }, { a: 1, b: [2], c: { d: 1 } })).toEqual({ b: [2] });
    expect(changes({ a: 1 }, { a: 1 })).toEqual({});
  });
  it('keeps what was written, and takes the rest as it is now', () => {
    const began = { name: 'x', scope: { agent: 'a', label: '' }, ways: ['one'] };
    const written = { name: 'y', scope: { agent: 'a', label: 'l' }, ways: ['one'] };
    const now = { name: 'x', scope: { agent: 'b', label: '' }, ways: ['one', 'two'] };
    expect(rebased(written, began, now)).toEqual({ name: 'y', scope: { agent: 'b', label: 'l' }, ways: ['one', 'two'] });
  });
  it('keeps a list that was written as a whole', () => {
    expect(rebased({ ways: ['mine'] }, { ways: [] as string[] }, { ways: ['theirs'] })).toEqual({ ways: ['mine'] });
  });
});
