import { describe, expect, it } from 'vitest';
import type { Run, RunSum, UsageTotal } from '../src/api/types';
import { counted, course, groups, ofSums, timed, totals } from '../src/pages/usage/totals';
import { askedFor, chosenOf, columnsOf, USUAL } from '../src/pages/runs/columns';
import { asked, belongs, csv, filtersOf, marked, meant, newestFirst } from '../src/pages/runs/list';
import { spent } from '../src/pages/now/needs';

const run = (more: Partial<Run>): Run => ({ run_id: '01', status: 'running', agent: 'a', model: null, thread_id: 't', created_at: '2026-04-02T10:00:00Z', total_cost_usd: null, ...more }) as Run;

describe('filters of the run list', () => {
  it('are those of the URL that the API knows', () => {
    expect(filtersOf(new URLSearchParams('status=failed&agent=&tab=x'))).toEqual({ status: 'failed' });
  });
  it('ages become times', () => {
    const now = Date.parse('2026-04-02T10:00:00Z');
    expect(asked({ since: '24h' }, now).since).toBe('2026-04-01T10:00:00.000Z');
    expect(asked({ since: '2026-01-01T00:00:00Z' }, now).since).toBe('2026-01-01T00:00:00Z');
  });
  it.each([
    [{}, true],
    [{ status: 'queued,running' }, true],
    [{ status: 'failed' }, false],
    [{ agent: 'b' }, false],
    [{ thread_id: 't', model: 'm' }, false],
    [{ min_cost_usd: '1' }, false],
    [{ since: '2026-04-02T11:00:00Z' }, false],
    [{ q: 'text' }, null],
    [{ q: 'text', agent: 'b' }, false],
  ] as const)('%j: a changed row belongs: %s', (filters, told) => expect(belongs(run({}), filters)).toBe(told));
  it('the newest run is first', () => {
    expect(['01', '03', '02'].map((run_id) => run({ run_id })).sort(newestFirst).map(({ run_id }) => run_id)).toEqual(['03', '02', '01']);
  });
  it('an act takes those runs that it can be about', () => {
    const runs = [run({}), run({ status: 'completed', source: 'runs' }), run({ status: 'lost', source: 'steps' })];
    expect(meant(runs, 'cancel')).toEqual({ runs: [runs[0]], left: 2 });
    expect(meant(runs, 'retry')).toEqual({ runs: [runs[1]], left: 2 });
  });
});

const cell = (more: object): UsageTotal =>
  ({ hour: null, agent: 'a', model: null, events: 1, runs_started: 1, runs_ended: 1, cost_usd: null, unpriced_calls: 0, usage: { input_tokens: null, cached_input_tokens: null, cache_write_tokens: null, output_tokens: null, reasoning_tokens: null, total_tokens: null }, ...more }) as UsageTotal;

describe('usage', () => {
  it('of unknown price is null, and never 0', () => {
    expect(totals([cell({ unpriced_calls: 2 })])).toEqual({ usd: null, unpriced: 2, tokens: null, runs: 1 });
    expect(totals([cell({ cost_usd: 1 }), cell({ unpriced_calls: 1 })]).usd).toBe(1);
  });
  it('of one name is one row, the dearest first', () => {
    const rows = [cell({ cost_usd: 1 }), cell({ agent: 'b', cost_usd: 5 }), cell({ cost_usd: 2 })];
    expect(timed(groups(rows, 'agent'), [{ group: 'b', runs: 4, p50_ms: 10, p95_ms: 20 }], []).map(({ name, usd, runs, failed, p95 }) => [name, usd, runs, failed, p95])).toEqual([
      ['b', 5, 1, 0, 20],
      ['a', 3, 2, null, null],
    ]);
  });
  it('by model counts a run once, under its last model, as its failure and duration', () => {
    const rows = groups([cell({ model: 'first', cost_usd: 1 }), cell({ model: 'last', cost_usd: 2, runs_started: 0 })], 'model');
    expect(counted(rows, [{ group: 'last', runs: 1 } as RunSum]).map(({ name, usd, runs }) => [name, usd, runs])).toEqual([['last', 2, 1], ['first', 1, 0]]);
    expect(counted(rows, null).map(({ runs }) => runs)).toEqual([null, null]);
  });
  it('by time has a share only where a run has ended', () => {
    const took = (group: string, runs: number) => ({ group, runs, p50_ms: 5, p95_ms: 9 });
    const [from, step] = [Date.parse('2026-04-02T00:00:00Z'), 3_600_000];
    const told = course([took('2026-04-02T01:00:00Z', 4)], [took('2026-04-02T01:00:00Z', 1)], from, from + 2 * step, step);
    expect([told.times.length, told.failed, told.p95]).toEqual([3, [null, 25, null], [null, 9, null]]);
  });
  it('of today is $0 when nothing was, and unknown when nothing has a price', () => {
    expect(spent([])).toEqual({ usd: 0, unpriced: 0 });
    expect(spent([cell({ unpriced_calls: 1 })])).toEqual({ usd: null, unpriced: 1 });
  });
});

describe('columns of the run list', () => {
  it('are the usual ones unless the URL names some that there are', () => {
    expect(chosenOf(null)).toEqual(USUAL);
    expect(chosenOf('nothing,<script>')).toEqual(USUAL);
    expect(chosenOf('error,agent')).toEqual(['Agent', 'Error']);
    expect(columnsOf(['Agent']).map(({ name }) => name)).toEqual(['Run', 'Agent', 'Select']);
  });
  it('are in the URL when they are not the usual ones', () => {
    expect(askedFor(USUAL)).toBeNull();
    expect(askedFor(['Agent', 'Error'])).toBe('agent,error');
  });
});

describe('runs that are taken away', () => {
  it('are a table that no spreadsheet reckons with', () => {
    const [head, one] = csv([run({ agent: '=1+1', error: 'a "b",\nc', total_cost_usd: 0.5 })]).split('\r\n');
    expect(head?.startsWith('run_id,status,agent,')).toBe(true);
    expect(one).toContain(",'=1+1,");
    expect(one?.endsWith(',0.5,"a ""b"",\nc"')).toBe(true);
  });
});

describe('usage by thread', () => {
  it('takes the sums of groups as they are; what is not known stays unknown', () => {
    const usage = { input_tokens: 1, cached_input_tokens: 2, cache_write_tokens: null, output_tokens: null, reasoning_tokens: null, total_tokens: 3 };
    const rows: RunSum[] = [{ group: 't', runs: 2, usage, cost_usd: 3, unpriced_calls: 1 }];
    expect(ofSums(rows)).toEqual([{ name: 't', runs: 2, usd: 3, unpriced: 1, input: 3, output: null, ended: null, failed: null, p50: null, p95: null }]);
  });
});

describe('a search', () => {
  it('marks its words in what was found', () => {
    expect(marked('shall i climb (now)?', 'CLIMB')).toEqual([['shall i ', false], ['climb', true], [' (now)?', false]]);
    expect(marked('a (now)? b', '(now)?')).toEqual([['a ', false], ['(now)?', true], [' b', false]]);
    expect(marked('i changed my mind', '"changed my" mind').filter(([, isHit]) => isHit).map(([text]) => text)).toEqual(['changed my', 'mind']);
    expect(marked('text', ' ')).toEqual([['text', false]]);
  });
  it('shows where its words are, in place of what is wide', () => {
    expect(columnsOf(USUAL, true).filter(({ until }) => !until).map(({ name }) => name)).toEqual(['Run', 'Status', 'Agent', 'Found', 'Took', 'Tokens', 'Cost', 'Started', 'Select']);
    // A phone, which has room for two, has the run's status and agent, and what was found.
    expect(columnsOf(USUAL, true).filter(({ from = 0 }) => from < 360).map(({ name }) => name)).toEqual(['Who', 'Found']);
  });
});
