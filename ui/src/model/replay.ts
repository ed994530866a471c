/** A run played again along its own time. Pure: events in order, a moment, what had happened by then. */

import type { Told, Turn } from './events';

export interface Timed extends Told {
  readonly occurred_at?: string | null;
  readonly total_input_tokens?: number;
  readonly total_output_tokens?: number;
  readonly cost_usd?: number | null;
}

/** When an event happened, in wall ms. */
export function momentOf(event: Timed): number {
  return Date.parse(event.occurred_at ?? event.recorded_at);
}

/** A wait that is longer than this is cut to it, where waits are skipped, in ms. */
export const LONGEST_WAIT_MS = 2_000;

/** How long to wait before the next event at so many times the run's own speed, in ms. */
export function waitMs(now: Timed, next: Timed, speed: number, skips: boolean): number {
  const gap = Math.max(momentOf(next) - momentOf(now), 0) / speed;
  return skips ? Math.min(gap, LONGEST_WAIT_MS) : gap;
}

export interface Tally {
  readonly tools: number;
  readonly failed: number;
  /** Null while none were told. */
  readonly tokens: number | null;
  readonly usd: number | null;
  /** Calls whose cost nobody has told. */
  readonly unpriced: number;
}

/** What events come to; tool calls of saved states, where no event tells of any. */
export function tally(events: readonly Timed[], states: readonly Turn[] = []): Tally {
  let found: Tally = { tools: 0, failed: 0, tokens: null, usd: null, unpriced: 0 };
  for (const event of events) {
    if (event.type === 'tool.call') found = { ...found, tools: found.tools + 1 };
    if (event.success === false) found = { ...found, failed: found.failed + 1 };
    if (event.type !== 'model.call') continue;
    const told = event.total_input_tokens === undefined && event.total_output_tokens === undefined ? null : (event.total_input_tokens ?? 0) + (event.total_output_tokens ?? 0);
    const tokens = told === null ? found.tokens : (found.tokens ?? 0) + told;
    const usd = event.cost_usd === null || event.cost_usd === undefined ? found.usd : (found.usd ?? 0) + event.cost_usd;
    const unpriced = found.unpriced + (told !== null && (event.cost_usd ?? null) === null ? 1 : 0);
    found = { ...found, tokens, usd, unpriced };
  }
  if (found.tools > 0) return found;
  return { ...found, tools: states.filter(({ who, name }) => who === 'tool' && name.startsWith('calls ')).length };
}
