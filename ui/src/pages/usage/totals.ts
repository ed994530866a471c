/** Sums of usage, by name and over all. What is not known of any is null, never 0. */

import type { RunSum, UsageTotal } from '../../api/types';
import { plus } from '../../model/numbers';
import { dense } from '../../model/series';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export const SPANS = [
  { name: '24h', words: 'last 24 hours', ms: DAY, step: HOUR, unit: 'hour' },
  { name: '7d', words: 'last 7 days', ms: 7 * DAY, step: DAY, unit: 'day' },
  { name: '30d', words: 'last 30 days', ms: 30 * DAY, step: DAY, unit: 'day' },
] as const;

export const BYS = ['agent', 'model', 'thread'] as const;
export type By = (typeof BYS)[number];

export interface Group {
  readonly name: string | null;
  readonly usd: number | null;
  readonly unpriced: number;
  readonly input: number | null;
  readonly output: number | null;
  readonly runs: number | null;
  /** Of its runs that have ended: how many, and how many of them went wrong; null where that was not told. */
  readonly ended: number | null;
  readonly failed: number | null;
  readonly p50: number | null;
  readonly p95: number | null;
}

interface Took {
  readonly group: string | null;
  readonly runs: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
}

const UNTOLD = { ended: null, failed: null, p50: null, p95: null };

/** Rows of one name are one; the dearest first. */
export function groups(rows: readonly UsageTotal[], by: 'agent' | 'model'): Group[] {
  const found = new Map<string | null, Group>();
  for (const row of rows) {
    const name = row[by];
    const known = found.get(name);
    found.set(name, {
      name,
      usd: plus(known?.usd, row.cost_usd),
      unpriced: (known?.unpriced ?? 0) + row.unpriced_calls,
      input: plus(known?.input, all(row.usage.input_tokens, row.usage.cached_input_tokens, row.usage.cache_write_tokens)),
      output: plus(known?.output, all(row.usage.output_tokens, row.usage.reasoning_tokens)),
      runs: (known?.runs ?? 0) + row.runs_started,
      ...UNTOLD,
    });
  }
  return dearestFirst(found);
}

/** Groups by model with the runs whose last model each is: so the list of runs, failures and durations count them. Null: not told yet. */
export function counted(groups: readonly Group[], sums: readonly RunSum[] | null): Group[] {
  const runs = new Map((sums ?? []).map((sum) => [sum.group, sum.runs]));
  return groups.map((row) => ({ ...row, runs: sums && (runs.get(row.name) ?? 0) }));
}

/** What the runs of each group have used, as the server has added it up. */
export function ofSums(rows: readonly RunSum[]): Group[] {
  return rows.map(({ group, runs, usage, cost_usd: usd, unpriced_calls: unpriced }) => ({
    name: group,
    usd,
    unpriced,
    input: all(usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens),
    output: all(usage.output_tokens, usage.reasoning_tokens),
    runs,
    ...UNTOLD,
  }));
}

/** The groups with how their runs ended and how long they took. Null: what the server did not tell. */
export function timed(rows: readonly Group[], took: readonly Took[] | null, wrong: readonly Took[] | null): Group[] {
  const times = new Map((took ?? []).map((group) => [group.group, group]));
  const failed = new Map((wrong ?? []).map((group) => [group.group, group.runs]));
  return rows.map((row) => {
    const known = times.get(row.name);
    return { ...row, ended: known?.runs ?? null, failed: known && wrong ? (failed.get(row.name) ?? 0) : null, p50: known?.p50_ms ?? null, p95: known?.p95_ms ?? null };
  });
}

export interface Course {
  readonly times: readonly number[];
  /** Parts of a hundred of the runs that began in the step and have ended; null where none has. */
  readonly failed: readonly (number | null)[];
  readonly p50: readonly (number | null)[];
  readonly p95: readonly (number | null)[];
}

/** How runs ended, and how long they took, by the step of time in which they began. */
export function course(took: readonly Took[], wrong: readonly Took[], from: number, to: number, stepMs: number): Course {
  const hourly = (rows: readonly Took[]): (Took & { hour: string | null })[] => rows.map((row) => ({ ...row, hour: row.group }));
  const { times, rows } = dense(hourly(took), from, to, stepMs);
  const failed = dense(hourly(wrong), from, to, stepMs).rows;
  return {
    times,
    failed: rows.map((row, at) => (row && row.runs > 0 ? ((failed[at]?.runs ?? 0) / row.runs) * 100 : null)),
    p50: rows.map((row) => row?.p50_ms ?? null),
    p95: rows.map((row) => row?.p95_ms ?? null),
  };
}

function dearestFirst(found: ReadonlyMap<string | null, Group>): Group[] {
  return [...found.values()].sort((one, other) => (other.usd ?? 0) - (one.usd ?? 0) || (other.runs ?? 0) - (one.runs ?? 0));
}

export interface Totals {
  readonly usd: number | null;
  readonly unpriced: number;
  readonly tokens: number | null;
  readonly runs: number;
}

export function totals(rows: readonly UsageTotal[]): Totals {
  let sum: Totals = { usd: null, unpriced: 0, tokens: null, runs: 0 };
  for (const row of rows) {
    sum = {
      usd: plus(sum.usd, row.cost_usd),
      unpriced: sum.unpriced + row.unpriced_calls,
      tokens: plus(sum.tokens, row.usage.total_tokens),
      runs: sum.runs + row.runs_started,
    };
  }
  return sum;
}

/** Buckets that share no token, together; null where none is known. */
function all(...buckets: readonly (number | null)[]): number | null {
  return buckets.reduce<number | null>((sum, bucket) => plus(sum, bucket), null);
}
