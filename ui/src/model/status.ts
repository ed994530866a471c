/** Run statuses: their words, shapes and colours. A status is never told by its colour alone. */

export const STATUSES = [
  'queued',
  'running',
  'waiting_for_input',
  'paused',
  'cancelling',
  'completed',
  'failed',
  'cancelled',
  'lost',
  'budget_exceeded',
] as const;

export type Status = (typeof STATUSES)[number];

export interface StatusLook {
  readonly words: string;
  readonly shape: string;
  /** The name of a colour of `tokens.css`. */
  readonly colour: string;
}

const LOOKS: Readonly<Record<Status, StatusLook>> = {
  queued: { words: 'queued', shape: '○', colour: 'quiet' },
  running: { words: 'running', shape: '●', colour: 'running' },
  waiting_for_input: { words: 'waiting', shape: '◐', colour: 'waiting' },
  paused: { words: 'paused', shape: '‖', colour: 'paused' },
  cancelling: { words: 'cancelling', shape: '⊘', colour: 'waiting' },
  completed: { words: 'completed', shape: '✓', colour: 'completed' },
  failed: { words: 'failed', shape: '✕', colour: 'failed' },
  cancelled: { words: 'cancelled', shape: '⊘', colour: 'cancelled' },
  lost: { words: 'lost', shape: '?', colour: 'lost' },
  budget_exceeded: { words: 'over budget', shape: '$', colour: 'failed' },
};

/** What is not a status of a run, and is told in the same way. */
const OTHERS: Readonly<Record<string, StatusLook>> = {
  silent: { words: 'silent', shape: '?', colour: 'lost' },
  budget_warning: { words: 'past its warning', shape: '$', colour: 'waiting' },
};

const UNKNOWN: StatusLook = { words: 'unknown', shape: '·', colour: 'quiet' };

const ENDS: ReadonlySet<string> = new Set<Status>(['completed', 'failed', 'cancelled', 'lost', 'budget_exceeded']);

/** How a status is shown; one that a newer server knows and this page does not is shown by its own name. */
export function lookOf(status: string): StatusLook {
  return LOOKS[status as Status] ?? OTHERS[status] ?? { ...UNKNOWN, words: status };
}

/** Statuses of runs that have not ended. */
export const OPEN: readonly string[] = STATUSES.filter((status) => !ENDS.has(status));

/** Statuses of runs that went wrong. */
export const FAILED = ['failed', 'lost', 'budget_exceeded'];

/** Whether a run of this status goes on no more. */
export function isEnded(status: string): boolean {
  return ENDS.has(status);
}
