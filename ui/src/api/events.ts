/** Events of a run by type, from the beginning: a bounded number of them. */

import { call } from './client';
import type { LoggedEvent } from './types';

const PAGE = 1_000;

export interface Some {
  readonly events: readonly LoggedEvent[];
  /** Whether these are all. */
  readonly isWhole: boolean;
}

/** Events of these types (all, where none is named), at most `most`. */
export async function eventsOf(runId: string, types: readonly string[], most: number, signal: AbortSignal): Promise<Some> {
  const events: LoggedEvent[] = [];
  let cursor: string | null = null;
  do {
    const query: { limit: number; type: string | null; cursor: string | null } = { limit: PAGE, type: types.join(',') || null, cursor };
    const page: { data: LoggedEvent[]; next: string | null } = await call('get', '/api/v1/runs/{run_id}/events', { path: { run_id: runId }, query, signal });
    events.push(...page.data);
    cursor = page.next;
  } while (cursor !== null && events.length < most);
  return { events, isWhole: cursor === null };
}
