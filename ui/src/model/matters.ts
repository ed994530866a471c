/** What needs a person, one entry a matter: an alert about something that is shown anyway is a mark on it. */

export interface Firing {
  readonly alert_id: string;
  readonly subject: string;
  readonly approval_id: string | null;
}

export interface Marked<Thing, Alert> {
  readonly thing: Thing;
  readonly alerts: readonly Alert[];
}

/** Which alerts are about which things, and those that are about none of them. `keyOf`: what an alert about it names. */
export class Marks<Alert extends Firing> {
  #left: readonly Alert[];

  constructor(alerts: readonly Alert[]) {
    this.#left = alerts;
  }

  /** The things with their alerts, in their order. */
  of<Thing>(things: readonly Thing[], keyOf: (thing: Thing) => string): Marked<Thing, Alert>[] {
    return things.map((thing) => {
      const key = keyOf(thing);
      const mine = this.#left.filter((alert) => (alert.approval_id ?? alert.subject) === key);
      this.#left = this.#left.filter((alert) => !mine.includes(alert));
      return { thing, alerts: mine };
    });
  }

  get left(): readonly Alert[] {
    return this.#left;
  }
}

/** How many questions and approvals wait, in words. */
export function waiting(rows: readonly { readonly kind: string }[]): string {
  const approvals = rows.filter(({ kind }) => kind === 'approval').length;
  const parts = ([['question', rows.length - approvals], ['approval', approvals]] as const).filter(([, count]) => count > 0);
  const words = parts.map(([what, count]) => `${count} ${what}${count === 1 ? '' : 's'}`).join(' and ');
  return words ? `${words} ${rows.length === 1 ? 'waits' : 'wait'}` : 'nothing waits for you';
}

const RANKS: Readonly<Record<string, number>> = { critical: 0, high: 1 };

/** What may do the most harm first, else as they were. */
export function byRisk<Row>(rows: readonly Row[], riskOf: (row: Row) => string | null): Row[] {
  const rank = (row: Row): number => RANKS[riskOf(row) ?? ''] ?? 2;
  return [...rows].sort((one, other) => rank(one) - rank(other));
}
