/** The places that alert rules send messages to, with what became of the newest of them. */

import type { AlertRule, Delivery } from '../../api/types';

export interface Hook {
  readonly id: string;
  readonly channel: string;
  readonly target: string;
  readonly rule: string;
  readonly isOn: boolean;
  readonly sent: number;
  readonly failed: number;
  /** The newest message; null where there is none. */
  readonly last: Delivery | null;
}

/** One entry a rule and place; `deliveries` are the newest first. */
export function hooksOf(rules: readonly AlertRule[], deliveries: readonly Delivery[]): Hook[] {
  return rules.flatMap((rule) =>
    rule.channels
      .filter(({ type }) => type !== 'in_app')
      .map(({ type, target }, at) => {
        const own = deliveries.filter((one) => one.rule_id === rule.rule_id && one.channel === type && one.target === target);
        return {
          id: `${rule.rule_id}.${at}`,
          channel: type,
          target: target ?? '',
          rule: rule.name,
          isOn: rule.enabled,
          sent: own.length,
          failed: own.filter(({ state }) => state === 'failed').length,
          last: own[0] ?? null,
        };
      }),
  );
}
