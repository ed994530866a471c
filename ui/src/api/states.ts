/** States that a run has saved: all of them as a list, and those that hold what was said. */

import { newest } from '../model/messages';
import { call } from './client';
import { everything, MOST } from './lists';
import type { Checkpoint, CheckpointState } from './types';

/** Agents of one run whose states are read. */
export const MOST_AGENTS = 8;

/** The list, in the order of steps: up to MOST. */
export function checkpointsOf(runId: string, signal: AbortSignal): Promise<Checkpoint[]> {
  return everything((cursor) => call('get', '/api/v1/runs/{run_id}/checkpoints', { path: { run_id: runId }, query: { limit: 200, cursor }, signal }));
}

/** One state, whole. */
export function stateOf({ run_id, checkpoint_id }: Pick<Checkpoint, 'run_id' | 'checkpoint_id'>, signal: AbortSignal): Promise<CheckpointState> {
  return call('get', '/api/v1/runs/{run_id}/checkpoints/{checkpoint_id}', { path: { run_id, checkpoint_id }, signal });
}

export interface States {
  readonly list: readonly Checkpoint[];
  /** The newest with messages of each agent. */
  readonly newest: readonly CheckpointState[];
  /** Whether `list` and `newest` are all. */
  readonly isWhole: boolean;
}

/** The list and the newest state of each agent. */
export async function statesOf(runId: string, signal: AbortSignal): Promise<States> {
  const list = await checkpointsOf(runId, signal);
  const rows = newest(list, MOST_AGENTS + 1);
  const states = await Promise.all(rows.slice(0, MOST_AGENTS).map((row) => stateOf(row, signal)));
  return { list, newest: states, isWhole: list.length < MOST && rows.length <= MOST_AGENTS };
}
