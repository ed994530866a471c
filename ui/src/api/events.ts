/** Events of a run by type, from the beginning: a bounded number of them. */

import { call } from './client';
import type { LoggedEvent } from './types';

const PAGE = 1_000;

export interface Some {
  readonly events: readonly LoggedEvent[];
  /** Whether these are all. */
  readonly isWhole: boolean;
}

/** Events of these types (all, where none is named), at most `most`; after `known`, which were read before. */
export async function eventsOf(runId: string, types: readonly string[], most: number, signal: AbortSignal, known: readonly LoggedEvent[] = []): Promise<Some> {
  const events = [...known];
  const after_seq = known.at(-1)?.seq ?? 0;
  let cursor: string | null = null;
  do {
    const query: { limit: number; type: string | null; after_seq: number; cursor: string | null } = { limit: PAGE, type: types.join(',') || null, after_seq, cursor };
    const page: { data: LoggedEvent[]; next: string | null } = await call('get', '/api/v1/runs/{run_id}/events', { path: { run_id: runId }, query, signal });
    events.push(...page.data);
    cursor = page.next;
  } while (cursor !== null && events.length < most);
  return { events, isWhole: cursor === null };
}
