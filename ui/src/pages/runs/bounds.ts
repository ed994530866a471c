/** Which budget bounds a run, and how much of it is used. */

import type { Budget, Persona, Run } from '../../api/types';

export interface Bound {
  readonly name: string;
  /** Dollars; `used` null: more than can be told. */
  readonly used: number | null;
  readonly of: number;
  readonly state: 'ok' | 'warning' | 'exceeded';
}

export interface Bounds {
  readonly budgets: readonly Budget[];
  readonly personas: readonly Persona[];
}

/** Share of a persona's budget from which on it warns. */
const WARN_AT = 0.8;

/** The nearest one: of the run itself, of its persona, of its thread, of its agent; null where none is. */
export function boundOf(run: Run, { budgets, personas }: Bounds): Bound | null {
  const own = budgets.find(({ scope }) => scope.run_id === run.run_id);
  return of(own) ?? ofPersona(run, personas) ?? of(budgets.find(({ scope }) => scope.thread_id === run.thread_id)) ?? of(run.agent === null ? undefined : budgets.find(({ scope }) => scope.agent === run.agent));
}

function of(budget: Budget | undefined): Bound | null {
  return budget ? { name: budget.name, used: budget.spent_usd, of: budget.amount_usd, state: budget.state } : null;
}

/** What a persona allows each of its runs. */
function ofPersona(run: Run, personas: readonly Persona[]): Bound | null {
  const persona = run.persona_id === null ? undefined : personas.find(({ persona_id: id }) => id === run.persona_id);
  const most = persona?.budget?.usd ?? null;
  if (!persona || most === null) return null;
  const used = run.total_cost_usd ?? 0;
  return { name: persona.persona_id, used, of: most, state: used >= most ? 'exceeded' : used >= most * WARN_AT ? 'warning' : 'ok' };
}
