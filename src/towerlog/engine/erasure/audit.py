"""What the audit says of retention and erasure; see `engine/commands/acts/acts.py`. Never what was erased."""

from __future__ import annotations

from towerlog.engine.audit import states
from towerlog.engine.audit.hook import About
from towerlog.engine.erasure.policies import policy_of
from towerlog.engine.plan.plan import Plan
from towerlog.model.audit import Action
from towerlog.model.event import RunById
from towerlog.model.outcome import RunChanged, ThreadView
from towerlog.model.principal import Principal
from towerlog.model.retention import ClearRetention, MarkErased, MarkThreadErased, RetentionNow, SetRetention
from towerlog.model.times import format_optional_ms


def set_retention(plan: Plan, principal: Principal, command: SetRetention, _outcome: RetentionNow | None) -> About:
    """The policy."""
    return _policy(plan, principal, Action.RETENTION_SET, command)


def clear_retention(plan: Plan, principal: Principal, command: ClearRetention, _outcome: RetentionNow | None) -> About:
    """The policy; afterwards there is none."""
    return _policy(plan, principal, Action.RETENTION_CLEAR, command)


def _policy(plan: Plan, principal: Principal, action: Action, command: SetRetention | ClearRetention) -> About:
    row = policy_of(plan, principal.org, command.kind)
    state = None if row is None else states.policy_state(row)
    return About(action, "retention", command.kind.value, state)


def erase_run(plan: Plan, principal: Principal, command: MarkErased, _outcome: RunChanged | None) -> About | None:
    """The run, and how many events it had."""
    row = plan.run(principal.org, RunById(command.run_id))
    if row is None:
        return None
    state = {"status": row.status.value, "events": row.last_seq, "erased_at": format_optional_ms(row.events_erased_at)}
    return About(Action.RUN_ERASE, "run", row.run_id, state)


def erase_thread(
    plan: Plan, principal: Principal, command: MarkThreadErased, _outcome: ThreadView | None
) -> About | None:
    """The thread."""
    row = plan.thread(principal.org, command.thread_id)
    if row is None:
        return None
    state = {"runs": row.run_count, "erased_at": format_optional_ms(row.erased_at)}
    return About(Action.THREAD_ERASE, "thread", row.thread_id, state)
