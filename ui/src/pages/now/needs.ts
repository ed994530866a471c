/** What the page Now reckons from what it has read. */

import type { Run, UsageTotal } from '../../api/types';

/** Money of some hours: what is known of it, and how many calls have no price. Null dollars: nothing is known. */
export function spent(hours: readonly UsageTotal[]): { usd: number | null; unpriced: number } {
  let usd: number | null = hours.length === 0 ? 0 : null;
  let unpriced = 0;
  for (const hour of hours) {
    if (hour.cost_usd !== null) usd = (usd ?? 0) + hour.cost_usd;
    unpriced += hour.unpriced_calls;
  }
  if (usd === null && unpriced === 0) usd = 0;
  return { usd, unpriced };
}

/** Runs that went wrong, the last one first. */
export function troubled(runs: readonly Run[]): Run[] {
  return [...runs].sort((one, other) => Date.parse(other.ended_at ?? '') - Date.parse(one.ended_at ?? ''));
}
