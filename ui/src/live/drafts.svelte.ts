/** Questions that the reader has begun to answer: they stay on the page when somebody else has answered meanwhile. */

import type { Approval } from '../api/types';

/** An approval, and whether it waits no more. */
export interface Shown {
  readonly approval: Approval;
  readonly isOver: boolean;
}

class Drafts {
  #begun = $state.raw<ReadonlyMap<string, Approval>>(new Map());

  /** Something was typed. */
  begin(approval: Approval): void {
    this.#begun = new Map([...this.#begun, [approval.approval_id, approval]]);
  }

  /** It was sent, or put away. */
  end(approvalId: string): void {
    const left = new Map(this.#begun);
    if (left.delete(approvalId)) this.#begun = left;
  }

  /** Those that wait, and those that were begun and wait no more, in the order in which they were asked; of one run only. */
  with(waiting: readonly Approval[], runId?: string): Shown[] {
    const ids = new Set(waiting.map((row) => row.approval_id));
    const over = [...this.#begun.values()].filter((row) => !ids.has(row.approval_id) && (runId === undefined || row.run_id === runId));
    const all = [...waiting.map((approval) => ({ approval, isOver: false })), ...over.map((approval) => ({ approval, isOver: true }))];
    return all.sort((one, other) => one.approval.asked_at.localeCompare(other.approval.asked_at));
  }
}

export const drafts = new Drafts();
