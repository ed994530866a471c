/** The run list's query: from the page's URL to the API's, and which changed rows belong in it. */

import type { Run } from '../../api/types';
import { isEnded } from '../../model/status';

/** Filters that the page's URL and the API share by name; in the URL `since` may be an age such as `24h`. */
export const FILTERS = [
  'status',
  'agent',
  'thread_id',
  'model',
  'persona_id',
  'parent_run_id',
  'label',
  'metadata',
  'min_cost_usd',
  'max_cost_usd',
  'has_errors',
  'silent',
  'since',
  'until',
  'q',
] as const;
/** Those that only the server can try on a row. */
const UNTOLD = ['q', 'label', 'has_errors', 'silent', 'metadata'] as const;
const AGES: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

export type Filters = Readonly<Partial<Record<(typeof FILTERS)[number], string>>>;

export function filtersOf(query: URLSearchParams): Filters {
  const found: Partial<Record<(typeof FILTERS)[number], string>> = {};
  for (const name of FILTERS) {
    const value = query.get(name);
    if (value) found[name] = value;
  }
  return found;
}

/** The filters as the API takes them: ages become times. */
export function asked(filters: Filters, now: number): Filters {
  const age = /^(\d+)([mhd])$/.exec(filters.since ?? '');
  if (!age) return filters;
  return { ...filters, since: new Date(now - Number(age[1]) * (AGES[age[2] ?? 'h'] ?? 0)).toISOString() };
}

/** Whether a row that changed belongs in the list; null where only the server can tell. */
export function belongs(run: Run, filters: Filters): boolean | null {
  if (filters.status && !filters.status.split(',').includes(run.status)) return false;
  if (filters.agent && run.agent !== filters.agent) return false;
  if (filters.thread_id && run.thread_id !== filters.thread_id) return false;
  if (filters.model && run.model !== filters.model) return false;
  if (filters.persona_id && run.persona_id !== filters.persona_id) return false;
  if (filters.parent_run_id && run.parent_run_id !== filters.parent_run_id) return false;
  if (filters.min_cost_usd && (run.total_cost_usd ?? -1) < Number(filters.min_cost_usd)) return false;
  if (filters.max_cost_usd && (run.total_cost_usd ?? Infinity) > Number(filters.max_cost_usd)) return false;
  const created = Date.parse(run.created_at);
  if (filters.since && created < Date.parse(filters.since)) return false;
  if (filters.until && created >= Date.parse(filters.until)) return false;
  return UNTOLD.some((name) => filters[name]) ? null : true;
}

/** Where a search finds words, as people call it. */
export const PLACES: Readonly<Record<string, string>> = { talk: 'said', about: 'error, phase or metadata', thread_id: 'thread', run_id: 'id', trace_id: 'trace', sender_id: "sender's id" };

/** A text in pieces, and which of them are words of a search. */
export function marked(text: string, q: string): (readonly [string, boolean])[] {
  const words = [...q.toLowerCase().matchAll(/"([^"]*)"|(\S+)/g)].map(([, phrase, word]) => (phrase ?? word ?? '').trim().replaceAll('"', '')).filter(Boolean);
  if (words.length === 0) return [[text, false]];
  const any = new RegExp(`(${words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')})`);
  return text.split(any).map((piece, at) => [piece, at % 2 === 1] as const);
}

/** Newest first, as the API lists them: ids begin with their time. */
export function newestFirst(one: Run, other: Run): number {
  return one.run_id < other.run_id ? 1 : one.run_id > other.run_id ? -1 : 0;
}

/** Which of the selected runs an act is about, and how many it leaves out: only what began here can be begun anew. */
export function meant(runs: readonly Run[], act: 'cancel' | 'retry'): { runs: Run[]; left: number } {
  const fit = runs.filter((run) => (act === 'cancel' ? !isEnded(run.status) : isEnded(run.status) && run.source === 'runs'));
  return { runs: fit, left: runs.length - fit.length };
}

const CSV = ['run_id', 'status', 'agent', 'thread_id', 'model', 'source', 'created_at', 'started_at', 'ended_at', 'duration_ms', 'total_input_tokens', 'total_output_tokens', 'total_cost_usd', 'error'] as const;

/** Runs as a table for spreadsheets (RFC 4180). What would begin a formula there stands behind an apostrophe. */
export function csv(runs: readonly Run[]): string {
  const cell = (value: unknown): string => {
    const text = value === null || value === undefined ? '' : String(value);
    const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [CSV.join(','), ...runs.map((run) => CSV.map((name) => cell(run[name])).join(','))].join('\r\n') + '\r\n';
}
