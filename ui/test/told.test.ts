import { describe, expect, it, test } from 'vitest';
import type { Budget, Persona, Run } from '../src/api/types';
import { briefly, scale } from '../src/model/bars';
import type { Turn } from '../src/model/events';
import { exchangeOf, needsTurns } from '../src/model/exchange';
import { spending, spentOf } from '../src/model/numbers';
import { threadPath } from '../src/model/paths';
import { waysOf } from '../src/model/teaching';
import { below, rolledUp } from '../src/model/tree';
import { boundOf } from '../src/pages/runs/bounds';

const turn = (who: Turn['who'], text: string, name = who as string): Turn => ({ who, name, text, seq: 1, failed: false });
const row = (more: object) => ({ source: 'sdk', status: 'running', input: null, result: null, error: null, question: null, ended_at: null, ...more });

describe('what a run was asked and gave', () => {
  it('is on its row', () => {
    expect(exchangeOf(row({ input: 'draft', result: { pages: 1 }, ended_at: 'x' }), [])).toEqual({ asked: 'draft', gave: '{"pages":1}', kind: 'result' });
    expect(exchangeOf(row({ source: 'checkpoints', input: 'draft', result: { thread_id: 't' } }), []).gave).toBe('');
    expect(exchangeOf(row({ input: 'draft', status: 'failed', error: 'no paper', result: 1 }), []).kind).toBe('error');
    expect(exchangeOf(row({ input: 'draft', status: 'cancelled', error: 'changed my mind' }), []).kind).toBe('reason');
    expect(exchangeOf(row({ input: 'draft', question: 'Send it?' }), [])).toEqual({ asked: 'draft', gave: 'Send it?', kind: 'question' });
  });
  it('or what was said first and last', () => {
    const turns = [turn('run', 'system words'), turn('person', 'clean up'), turn('agent', 'I look.'), turn('tool', 'ls'), turn('agent', 'Done.'), turn('agent', '', 'asks')];
    expect(exchangeOf(row({}), turns)).toEqual({ asked: 'clean up', gave: 'Done.', kind: 'said' });
    expect(exchangeOf(row({}), [])).toEqual({ asked: '', gave: '', kind: 'said' });
  });
  it('is read from what was said where the row lacks it', () => {
    expect(needsTurns(row({ input: 'x' }))).toBe(false);
    expect(needsTurns(row({ input: 'x', ended_at: 'y' }))).toBe(true);
    expect(needsTurns(row({ input: 'x', ended_at: 'y', error: 'z' }))).toBe(false);
    expect(needsTurns(row({ result: 'x', ended_at: 'y' }))).toBe(true);
  });
});

test('a branch of runs has used what its runs have, and what nobody told stays unknown', () => {
  const run = (usd: number | null, tokens: number | null, ...children: object[]) => ({ total_cost_usd: usd, unpriced_calls: usd === null ? 1 : 0, usage: { total_tokens: tokens }, children }) as Parameters<typeof rolledUp>[0] & { children: never[] };
  expect(rolledUp(run(null, null, run(0.5, 10, run(0.25, null)), run(null, 5)))).toEqual({ runs: 4, usd: 0.75, unpriced: 2, tokens: 15 });
  expect(rolledUp(run(null, null))).toEqual({ runs: 1, usd: null, unpriced: 1, tokens: null });
  const [leaf, top] = [run(1, 1), run(2, 2)];
  top.children.push(leaf as never);
  expect(below([top])).toEqual([{ run: top, depth: 0 }, { run: leaf, depth: 1 }]);
});

test('the nearest budget bounds a run', () => {
  const budget = (name: string, scope: object): Budget => ({ name, scope, spent_usd: 1, amount_usd: 4, state: 'ok' }) as Budget;
  const personas = [{ persona_id: 'p@1', budget: { usd: 2, tokens: null } }, { persona_id: 'q@1', budget: null }] as Persona[];
  const run = { run_id: 'r', thread_id: 't', agent: 'a', persona_id: 'p@1', total_cost_usd: 1.7 } as Run;
  const budgets = [budget('all', { organisation: true }), budget('agent', { agent: 'a' }), budget('thread', { thread_id: 't' })];
  expect(boundOf(run, { budgets: [...budgets, budget('run', { run_id: 'r' })], personas })?.name).toBe('run');
  expect(boundOf(run, { budgets, personas })).toEqual({ name: 'p@1', used: 1.7, of: 2, state: 'warning' });
  expect(boundOf({ ...run, persona_id: 'q@1' }, { budgets, personas })?.name).toBe('thread');
  expect(boundOf({ ...run, persona_id: null, thread_id: 'u' }, { budgets, personas })?.name).toBe('agent');
  expect(boundOf({ ...run, persona_id: null, thread_id: 'u', agent: null }, { budgets, personas })).toBeNull();
});

test('a scale of time is round in its own unit', () => {
  expect(scale(3_000, 'ms').map((value) => briefly(value, 'ms'))).toEqual(['0', '1 s', '2 s', '3 s']);
  expect(scale(150_000, 'ms').map((value) => briefly(value, 'ms'))).toEqual(['0', '1 min', '2 min']);
  expect(scale(350, 'ms').map((value) => briefly(value, 'ms'))).toEqual(['0', '100 ms', '200 ms', '300 ms']);
  expect(scale(40, '%').map((value) => briefly(value, '%'))).toEqual(['0 %', '10 %', '20 %', '30 %', '40 %']);
});

test('what a budget has spent and cannot tell is not unpriced', () => expect(spentOf(null).short).toBe('too much'));

test('a cost that leaves out calls without a price says so', () => {
  expect(spending(0.0035, 0, 10).short).toBe('$0.0035');
  expect(spending(0.0035, 2, 10)).toEqual({ short: '$0.0035+', exact: '$0.0035, and 2 calls without a price' });
  expect(spending(null, 2, 10).short).toBe('unpriced');
});

test('a thread whose id has a slash is found by the list of its runs', () => {
  expect(threadPath('a b')).toBe('/threads/a%20b');
  expect(threadPath('a/b')).toBe('/runs?thread_id=a%2Fb');
});

test('lines that teach have the address and the key in them', () => {
  for (const lesson of ['run', 'ask', 'usage', 'work', 'budget', 'rule'] as const) {
    for (const { code } of waysOf(lesson, 'https://tower.example', 'tl_live_x')) {
      expect(code).toContain('https://tower.example');
      expect(code).toContain('tl_live_x');
    }
    for (const { code } of waysOf(lesson, 'https://tower.example', null)) expect(code).toContain('tl_live_…');
  }
});
