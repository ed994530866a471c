/** What waits for a person, for the badges of the navigation and the pages alike: one list of each for the whole screen. */

import { call } from '../api/client';
import type { Alert, Approval } from '../api/types';
import { KeptList } from './kept.svelte';

/** Rows that are read; of more, the badge says so. */
const MOST = 200;

/** What agents ask, oldest first. */
export const asked = new KeptList<Approval>(
  {
    kind: 'approval',
    id: (row) => row.approval_id,
    fits: (row) => row.state === 'open',
    before: (one, other) => one.asked_at.localeCompare(other.asked_at),
  },
  (signal) => call('get', '/api/v1/approvals', { query: { limit: MOST }, signal }),
);

/** Alerts that last, newest first. */
export const lasting = new KeptList<Alert>(
  {
    kind: 'alert',
    id: (row) => row.alert_id,
    fits: (row) => row.ended_at === null && row.state === 'ALERT',
    before: (one, other) => other.fired_at.localeCompare(one.fired_at),
  },
  (signal) => call('get', '/api/v1/alerts', { query: { state: 'ALERT', limit: MOST }, signal }),
);

/** How many of a list, in a badge; nothing where there are none. */
export function badge(list: { readonly data: readonly unknown[]; readonly next: string | null } | null): string {
  return !list || list.data.length === 0 ? '' : list.next === null ? String(list.data.length) : `${list.data.length}+`;
}
