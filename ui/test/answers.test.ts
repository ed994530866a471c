import { describe, expect, it } from 'vitest';
import { askingOf, contentOf, hintOf, valueOf } from '../src/model/answers';
import { byRisk, Marks } from '../src/model/matters';
import { left, since, tookMs } from '../src/model/times';

describe('a question with a schema', () => {
  it('offers what may be chosen', () => {
    expect(askingOf({ enum: ['red', 3, null] })).toEqual({
      kind: 'choice',
      choices: [
        { words: 'red', value: 'red' },
        { words: '3', value: 3 },
        { words: 'null', value: null },
      ],
    });
    const asking = askingOf({ type: 'boolean' });
    expect(asking.kind === 'choice' && asking.choices.map(({ words }) => words)).toEqual(['Yes', 'No']);
    expect(askingOf({ oneOf: [{ const: 'a', title: 'First' }, { const: 'b' }] })).toMatchObject({ choices: [{ words: 'First', value: 'a' }, { words: 'b' }] });
  });
  it('has a field for a text or a number, and sends them as such', () => {
    const text = askingOf({ type: 'string', minLength: 2 });
    expect(contentOf(text, { '': 'Ada Lovelace' })).toBe('"Ada Lovelace"');
    expect(contentOf(text, { '': '5' })).toBe('"5"');
    expect(contentOf(askingOf({ type: 'integer' }), { '': '42' })).toBe('42');
  });
  it('has fields for a flat object', () => {
    const asking = askingOf({
      type: 'object',
      properties: { name: { type: 'string', title: 'Your name' }, amount: { type: 'number' }, sure: { type: 'boolean' }, note: { type: 'string' }, tags: { type: 'array' } },
      required: ['name'],
    });
    expect(asking.kind === 'object' && asking.members.map(({ words, isRequired, asking: { kind } }) => [words, isRequired, kind])).toEqual([
      ['Your name', true, 'text'],
      ['amount', false, 'number'],
      ['sure', false, 'choice'],
      ['note', false, 'text'],
      ['tags', false, 'json'],
    ]);
    expect(valueOf(asking, { name: '', amount: '1.5', sure: 1, note: '', tags: '[1]' })).toEqual({ name: '', amount: 1.5, sure: false, tags: [1] });
    // The server says what is wrong with it, by its name.
    expect(contentOf(asking, { name: 'Ada', amount: 'much' })).toBe('{"name":"Ada","amount":"much"}');
  });
  it('asks for JSON as the last resort, and takes what a phone makes of quotes', () => {
    for (const schema of [{ type: 'array' }, { $ref: '#/$defs/a' }, { type: 'object' }, { type: 'object', properties: { a: {} }, required: ['b'] }, {}, null, 7, { enum: [] }]) {
      expect(askingOf(schema).kind).toBe('json');
    }
    expect(contentOf({ kind: 'json' }, { '': '{“a”: 1}' })).toBe('{"a": 1}');
    expect(contentOf({ kind: 'json' }, { '': '"a “b”"' })).toBe('"a “b”"');
    expect(contentOf({ kind: 'json' }, { '': 'a word' })).toBe('a word');
  });
  it('says what is expected', () => {
    expect(hintOf({ description: 'In dollars', type: 'integer', maximum: 100 })).toBe('In dollars, a whole number, at most 100');
    expect(hintOf(null)).toBe('');
  });
});

describe('what needs a person', () => {
  const alert = (alert_id: string, subject: string, approval_id: string | null = null) => ({ alert_id, subject, approval_id });
  it('is one matter with its alerts', () => {
    const marks = new Marks([alert('1', 'run:r', 'r.q4'), alert('2', 'budget:b'), alert('3', 'all')]);
    expect(marks.of(['r.q4', 'r.q5'], (id) => id).map(({ alerts }) => alerts.length)).toEqual([1, 0]);
    expect(marks.of(['b'], (id) => `budget:${id}`).map(({ alerts }) => alerts.length)).toEqual([1]);
    expect(marks.left.map(({ alert_id: id }) => id)).toEqual(['3']);
  });
  it('is ordered by risk, else as it was', () => {
    const rows = [{ n: 1, risk: null }, { n: 2, risk: 'high' }, { n: 3, risk: 'low' }, { n: 4, risk: 'critical' }, { n: 5, risk: 'high' }];
    expect(byRisk(rows, ({ risk }) => risk).map(({ n }) => n)).toEqual([4, 2, 5, 1, 3]);
  });
  it('says how long it may wait, not less by half', () => {
    expect(left((60 + 52) * 60_000)).toBe('Expires in 1 h 52 min');
    expect(left(-300_000)).toBe('Expired 5 min ago');
  });
});

describe('times of a run', () => {
  it('fit their column, however long it runs', () => {
    const shown = [3_250, 59_900, 291_200, 7_805_000, 273_600_000 * 3].map((ms) => since(ms));
    expect(shown).toEqual(['+3.25 s', '+59.9 s', '+4 min 51 s', '+2 h 10 min', '+9 d 12 h']);
    expect(shown.every((words) => words.length <= 12)).toBe(true);
  });
  it('count from its creation where its sender told no start; a queued one has taken none', () => {
    const run = { duration_ms: null, started_at: null, ended_at: null, created_at: '2026-04-02T10:00:00Z' };
    const now = Date.parse('2026-04-02T10:11:00Z');
    expect(tookMs({ ...run, status: 'running' }, now)).toBe(660_000);
    expect(tookMs({ ...run, status: 'queued' }, now)).toBeNull();
  });
});
