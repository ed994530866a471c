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
export async function eventsOf(runId: string, types: readonly string[], most: number, signal: AbortSignal, known: readonly LoggedEvent[] = [], atOnce = PAGE): Promise<Some> {
  const events = [...known];
  const after_seq = known.at(-1)?.seq ?? 0;
  let cursor: string | null = null;
  do {
    const query: { limit: number; type: string | null; after_seq: number; cursor: string | null } = { limit: atOnce, type: types.join(',') || null, after_seq, cursor };
    const page: { data: LoggedEvent[]; next: string | null } = await call('get', '/api/v1/runs/{run_id}/events', { path: { run_id: runId }, query, signal });
    events.push(...page.data);
    cursor = page.next;
  } while (cursor !== null && events.length < most);
  return { events, isWhole: cursor === null };
}

/** Calls of models that are looked for at once. */
export const MANY_CALLS = 40;
/** Events that are looked through for them first: the last. */
const WINDOW = 200;

export interface Calls {
  readonly events: readonly LoggedEvent[];
  /** Those behind this event; 0: all there are. */
  readonly after: number;
}

/** The newest calls of models, a prompt being as long as all that was said before it: `most` and somewhat more, or fewer
 * where they lie far apart. */
export async function callsOf(runId: string, last: number, signal: AbortSignal, most = MANY_CALLS): Promise<Calls> {
  let events: readonly LoggedEvent[] = [];
  let after = last;
  for (let window = WINDOW, reads = 0; after > 0 && events.length < most && reads < most / 4; reads++, window = Math.min(window * 2, PAGE)) {
    const end = reads === 0 ? Infinity : after;
    after = Math.max(after - window, 0);
    // There are no more calls than events among so many.
    const query = { limit: window, type: 'model.call', after_seq: after };
    const { data } = await call('get', '/api/v1/runs/{run_id}/events', { path: { run_id: runId }, query, signal });
    events = [...data.filter(({ seq }) => seq <= end), ...events];
  }
  return { events, after };
}
