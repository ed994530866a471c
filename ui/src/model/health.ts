/** How an agent is, by its runs. */

export interface Health {
  readonly status: string;
  readonly words: string;
  readonly why: string;
}

/** Runs of an agent: `failed` of the last 24 hours, all others open; `busy`: those that can go on without anybody. */
export interface RunCounts {
  readonly silent: number;
  readonly failed: number;
  readonly waiting: number;
  readonly busy: number;
  readonly open: number;
}

/** The worst that is known of an agent, with what stands behind it. */
export function healthOf({ silent, failed, waiting, busy, open }: RunCounts): Health {
  if (silent > 0) return { status: 'silent', words: `${silent} silent`, why: `${silent} open runs give no sign of life.` };
  if (failed > 0) return { status: 'failed', words: `${failed} failed`, why: `${failed} runs of the last 24 hours failed, were lost, or ran out of budget.` };
  if (waiting > 0) return { status: 'waiting_for_input', words: `${waiting} waiting`, why: `${waiting} open runs wait for a person.` };
  if (busy > 0) return { status: 'running', words: 'at work', why: 'It has runs in work, and none of the last 24 hours went wrong.' };
  if (open > 0) return { status: 'paused', words: 'on hold', why: 'Its open runs are queued or paused, and none of the last 24 hours went wrong.' };
  return { status: 'queued', words: 'at rest', why: 'It has no open run, and none of the last 24 hours went wrong.' };
}
