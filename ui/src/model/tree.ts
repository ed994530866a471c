/** Runs below a run, each with what it and those below it have used. */

import { plus } from './numbers';

export interface Branch {
  readonly total_cost_usd: number | null;
  readonly unpriced_calls: number;
  readonly usage: { readonly total_tokens: number | null };
  readonly children?: readonly Branch[] | undefined;
}

export interface Used {
  /** Runs, the first included. */
  readonly runs: number;
  /** What is known of the money, and how many calls have no price. Null: nothing is known. */
  readonly usd: number | null;
  readonly unpriced: number;
  readonly tokens: number | null;
}

/** What a run and all runs below it have used. */
export function rolledUp(run: Branch): Used {
  let sum: Used = { runs: 1, usd: run.total_cost_usd, unpriced: run.unpriced_calls, tokens: run.usage.total_tokens };
  for (const child of run.children ?? []) {
    const below = rolledUp(child);
    sum = { runs: sum.runs + below.runs, usd: plus(sum.usd, below.usd), unpriced: sum.unpriced + below.unpriced, tokens: plus(sum.tokens, below.tokens) };
  }
  return sum;
}

export interface Placed<Run> {
  readonly run: Run;
  /** 0: started by the run at the top. */
  readonly depth: number;
}

/** The runs below one, each before those that it has started. */
export function below<Run extends { readonly children?: readonly Run[] | undefined }>(runs: readonly Run[], depth = 0): Placed<Run>[] {
  return runs.flatMap((run) => [{ run, depth }, ...below(run.children ?? [], depth + 1)]);
}
