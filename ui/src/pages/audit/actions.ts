/** What the audit tells of, to choose from: neither more nor less than the API knows, or it does not compile. */

import type { AuditAction } from '../../api/types';

export const ACTIONS = [
  'agent.create', 'alert.acknowledge', 'alert.mute', 'approval.link', 'budget.change', 'budget.create',
  'budget.delete', 'clock.confirm', 'delivery.redeliver', 'key.create', 'key.revoke', 'member.change',
  'member.create', 'member.link', 'member.link_end', 'member.password', 'member.remove', 'member.sign_in',
  'member.sign_out', 'organisation.create', 'organisation.remove', 'organisation.rename', 'persona.create',
  'price.create', 'price.delete', 'reservation.release', 'retention.clear', 'retention.set', 'route.create', 'row.lose', 'row.restore',
  'rule.change', 'rule.create', 'rule.delete', 'run.approve', 'run.cancel', 'run.create', 'run.erase', 'run.fork',
  'run.input', 'run.kill', 'run.message', 'run.pause', 'run.reject', 'run.reprice', 'run.resume', 'run.retry',
  'store.migrate', 'store.rebuild', 'store.restore', 'thread.change', 'thread.create', 'thread.erase',
] as const satisfies readonly AuditAction[];

type Left = Exclude<AuditAction, (typeof ACTIONS)[number]>;
const isWhole: [Left] extends [never] ? true : Left = true;
void isWhole;
