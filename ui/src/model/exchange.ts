/** What a run was asked and what it gave, from its row, else from what was said in it. */

import type { Turn } from './events';
import { asText } from './json';
import { FAILED } from './status';

/** JSON up to so many characters stands on one line. */
const SHORT = 200;

export interface Exchange {
  /** Empty: it tells of nothing that it was asked. */
  readonly asked: string;
  readonly gave: string;
  /** What `gave` is: what it produced, what it said last, what went wrong, why somebody ended it, what it asks a person. */
  readonly kind: 'result' | 'said' | 'error' | 'reason' | 'question';
}

interface Row {
  readonly source: string;
  readonly status: string;
  readonly input?: unknown;
  readonly result?: unknown;
  readonly error: string | null;
  readonly question: string | null;
  readonly ended_at: string | null;
}

/** Whether the row alone does not tell both, so that what was said in the run has to be read. */
export function needsTurns(run: Row): boolean {
  return isNothing(run.input) || (run.ended_at !== null && isNothing(resultOf(run)) && run.error === null);
}

/** The two of them. `turns`: what was said, in order; empty where it was not read. */
export function exchangeOf(run: Row, turns: readonly Turn[]): Exchange {
  const asked = isNothing(run.input) ? (turns.find(({ who, text }) => who === 'person' && text !== '')?.text ?? '') : brief(run.input);
  if (run.error !== null) return { asked, gave: run.error, kind: FAILED.includes(run.status) ? 'error' : 'reason' };
  const result = resultOf(run);
  if (!isNothing(result)) return { asked, gave: brief(result), kind: 'result' };
  if (run.ended_at === null && run.question !== null) return { asked, gave: run.question, kind: 'question' };
  return { asked, gave: turns.findLast(({ who, name, text }) => who === 'agent' && name !== 'asks' && text !== '')?.text ?? '', kind: 'said' };
}

/** What a run has produced. The end of a saved conversation names it and its trace, which is no result. */
function resultOf({ source, result }: Row): unknown {
  return source === 'checkpoints' ? null : result;
}

function brief(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length <= SHORT ? text : asText(value);
}

function isNothing(value: unknown): boolean {
  return value === null || value === undefined || value === '';
}
