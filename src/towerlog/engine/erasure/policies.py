"""Policies of retention as people set them, and the event that tells of an erasure before it is carried out."""

from __future__ import annotations

import msgspec

from towerlog.engine.control.cancel import CONTROL, run_of
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Conflict, NotFound
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.event import EventType, RunById
from towerlog.model.facts import Effects, Erases, Facts
from towerlog.model.outcome import RunChanged, ThreadView
from towerlog.model.principal import Principal
from towerlog.model.retention import (
    ClearRetention,
    Erasing,
    MarkErased,
    MarkThreadErased,
    RetentionNow,
    RetentionPolicy,
    SetRetention,
    holds,
)
from towerlog.model.run import RunRow
from towerlog.store.values import Kind

REQUESTED, BY_AGE, BY_SIZE = "requested", "max_age", "max_bytes"
"""Why something is erased, as its event says."""


def needs_of_policies(needs: Needs, principal: Principal, _command: SetRetention | ClearRetention) -> None:
    """All policies."""
    needs.want(Kind.RETENTION, principal.org)


def policy_of(plan: Plan, org: int, kind: Erases) -> RetentionPolicy | None:
    """A policy, as this group has left it."""
    if (org, kind) in plan.changes.retention:
        return plan.changes.retention[org, kind]
    return next((row for row in plan.loaded(Kind.RETENTION, org) or () if row.kind is kind), None)


def set_retention(plan: Plan, principal: Principal, command: SetRetention) -> RetentionNow:
    """The policy. One that says the same as before stays as it is."""
    known = policy_of(plan, principal.org, command.kind)
    if known is not None and (known.max_age_ms, known.max_bytes) == (command.max_age_ms, command.max_bytes):
        return RetentionNow(known)
    row = RetentionPolicy(
        principal.org, command.kind, command.max_age_ms, command.max_bytes, plan.now_ms, principal.user_id or None
    )
    plan.changes.retention[row.org, row.kind] = row
    return RetentionNow(row, created=known is None)


def clear_retention(plan: Plan, principal: Principal, command: ClearRetention) -> RetentionNow:
    """The policy that was there. Raises NotFound."""
    known = policy_of(plan, principal.org, command.kind)
    if known is None:
        raise NotFound("retention policy")
    plan.changes.retention[known.org, known.kind] = None
    return RetentionNow(known)


def needs_of_erased(needs: Needs, principal: Principal, command: MarkErased) -> None:
    """The run, and what its event counts."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is not None:
        needs.agent(row.org, row.agent or DEFAULT_AGENT)


def mark_erased(plan: Plan, principal: Principal, command: MarkErased) -> RunChanged:
    """Tells it, if there is anything to erase. Raises NotFound; Conflict for a run that has not ended."""
    row = run_of(plan, principal, command.run_id)
    check_ended(row)
    if not holds(row):
        return RunChanged(row, changed=False)
    return RunChanged(mark(plan, row, Erases.EVENTS, REQUESTED, principal.user_id or None), changed=True)


def check_ended(row: RunRow) -> None:
    """Raises Conflict for a run that has not ended."""
    if not row.is_terminal():
        raise Conflict(f"Run {row.run_id} has not ended: {row.status}. Cancel it first.")


def mark(plan: Plan, row: RunRow, scope: Erases, reason: str, user_id: str | None = None) -> RunRow:
    """The event that tells of an erasure, and with it what is to be done."""
    members = {"scope": scope.value, "reason": reason, "by": user_id}
    after = plan.note(row, EventType.RUN_ERASED, members, Facts(effects=Effects(erases=scope)), by=CONTROL)
    plan.changes.erasing.append(Erasing(row.run, row.org, scope, after.last_seq, row.run_id))
    return after


def needs_of_thread(needs: Needs, principal: Principal, command: MarkThreadErased) -> None:
    """The thread."""
    needs.counters(principal.org)
    needs.thread(principal.org, command.thread_id)


def mark_thread(plan: Plan, principal: Principal, command: MarkThreadErased) -> ThreadView:
    """The thread without its title. Raises NotFound."""
    row = plan.thread(principal.org, command.thread_id)
    if row is None:
        raise NotFound("thread")
    if row.title is not None or row.erased_at is None:
        row = plan.put_thread(msgspec.structs.replace(row, title=None, erased_at=plan.now_ms))
    return ThreadView(row, created=False)
