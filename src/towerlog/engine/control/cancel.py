"""Cancels: asked for, forced at a deadline or by a person, and carried down to every open descendant.

The stages (requested, delivered, acknowledged, stopped or forced) are events; the run's row keeps their times.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.control.handed_on import later_runs, needs_of_later, not_active, open_later
from towerlog.engine.load.rows import Needs, parent_of
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.errors import NotFound
from towerlog.model.command import CancelRun, KillRun
from towerlog.model.event import EventType, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import Effects, Facts
from towerlog.model.lane import QueueState
from towerlog.model.outcome import Steered
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow, Status
from towerlog.store.lookup_keys import Family
from towerlog.store.values import Found, Kind, Spread

CONTROL = "runs"
"""The dialect that control events are written under."""
ORPHANED = "its parent was cancelled"
KILLED = "killed"
"""The reason of who kills a run and gives none."""
RUNS_AT_ONCE = 16
"""Runs that are told to end before the event loop may go on with something else."""


def run_of(plan: Plan, principal: Principal, run_id: str) -> RunRow:
    """A run of the caller's organisation. Raises NotFound."""
    row = plan.run(principal.org, RunById(run_id))
    if row is None:
        raise NotFound("run")
    return row


def needs_of_cancel(needs: Needs, principal: Principal, command: CancelRun | KillRun) -> None:
    """The run, what goes on from it, and what is open below them, each with what an end moves."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is None:
        return
    needs_of_later(needs, row, ends=not row.is_terminal())
    if not row.is_terminal():
        needs.ends_below(row, isinstance(command, KillRun))


def cancel_run(plan: Plan, principal: Principal, command: CancelRun) -> Steps[Steered]:
    """Asks for the end of a run, of those that go on from it, and of their open descendants. Raises RunNotActive for
    one that ended otherwise.

    Asked again while it is being cancelled, it reaches the children that were born since.
    """
    row = _cancellable(plan, principal, command.run_id)
    if row.is_terminal():
        return Steered(row)
    for later in open_later(plan, row):
        yield from cancel_tree(plan, later, principal.user_id, command.reason)
    return Steered((yield from cancel_tree(plan, row, principal.user_id, command.reason)))


def kill_run(plan: Plan, principal: Principal, command: KillRun) -> Steps[Steered]:
    """Ends a run, those that go on from it, and their open descendants at once. Raises RunNotActive for one that ended
    otherwise."""
    row = _cancellable(plan, principal, command.run_id)
    if row.is_terminal():
        return Steered(row)
    reason = command.reason or KILLED
    later = [one for one in later_runs(plan, row) if not one.is_terminal()]
    for one in (*later, row):
        yield from _tell_below(plan, one, Spread(one.run, one.org, reason, principal.user_id, forced=True))
        row = force_cancelled(plan, one, reason, principal.user_id)
    return Steered(row)


def _cancellable(plan: Plan, principal: Principal, run_id: str) -> RunRow:
    row = run_of(plan, principal, run_id)
    if row.is_terminal() and row.status is not Status.CANCELLED:
        raise not_active(plan, row, f"The run has ended: {row.status}")
    return row


def cancel_tree(plan: Plan, row: RunRow, user_id: str | None, reason: str | None) -> Steps[RunRow]:
    """Asks for the end of a run and of everything open below it; the run afterwards."""
    yield from _tell_below(plan, row, Spread(row.run, row.org, reason, user_id))
    return cancel_one(plan, row, user_id, reason)


def cancel_one(plan: Plan, row: RunRow, user_id: str | None, reason: str | None) -> RunRow:
    """Asks for the end of one run: nothing to do where it has ended or was asked for already."""
    if row.is_terminal() or row.status is Status.CANCELLING:
        return row
    queued = row.status is Status.QUEUED
    kind = EventType.RUN_CANCELLED if queued else EventType.RUN_CANCEL_REQUESTED
    return plan.note(row, kind, _members(user_id, reason), Facts(effects=Effects(requests="cancel")), by=CONTROL)


def spread(plan: Plan, row: RunRow, told: Spread) -> Steps[None]:
    """One more step of a cancel that has not reached all runs below its own."""
    plan.changes.spreads[row.run] = None
    yield from _tell_below(plan, row, told)


def _tell_below(plan: Plan, row: RunRow, told: Spread) -> Steps[None]:
    """Ends the open runs below this one, or asks them to end: as many as one commit takes, for the others `told` is
    kept."""
    if plan.is_full():
        plan.changes.spreads[row.run] = told
        return
    for index, child in enumerate(descendants(plan, row, told)):
        if index and not index % RUNS_AT_ONCE:
            yield
        if told.forced:
            force_cancelled(plan, child, told.reason or KILLED, told.user_id)
        else:
            cancel_one(plan, child, told.user_id, told.reason)


def force_cancelled(plan: Plan, row: RunRow, reason: str, user_id: str | None = None) -> RunRow:
    """Ends this run alone, and takes it from whoever holds it."""
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is not None:
        # The holder loses the run: whatever it still sends is late work of nobody.
        plan.put_lane(msgspec.structs.replace(lane, state=QueueState.DONE, worker_id=None, expires_at=None))
    requests = "cancel" if row.cancel_requested_at is None else None
    members = {"forced": True, **_members(user_id, reason)}
    facts = Facts(effects=Effects(forced=True, requests=requests, of_server=True))
    return plan.note(row, EventType.RUN_CANCELLED, members, facts, by=CONTROL)


def _members(user_id: str | None, reason: str | None) -> dict[str, object]:
    members = {"requested_by": user_id, "reason": reason}
    return {name: value for name, value in members.items() if value is not None}


def descendants(plan: Plan, row: RunRow, told: Spread) -> list[RunRow]:
    """Open runs below this one, as this very group has left them: stored ones, and those it has just linked.

    At most as many as one step may end; where there are more, `told` is kept for the steps after it.
    """
    family = {row.run: row}
    level = [row]
    while level:
        stored: list[Found[RunRow]] = [
            plan.loaded(Kind.FAMILY, Family(parent_of(one), cancelling=told.forced)) for one in level
        ]
        if any(found.cut for found in stored):
            plan.changes.spreads[row.run] = told
        family |= {child.run: plan.now_of(child) for found in stored for child in found}
        level = _linked_here(plan, family)
        family |= {child.run: child for child in level}
    return [child for child in family.values() if child.run != row.run and not child.is_terminal()]


def _linked_here(plan: Plan, family: dict[int, RunRow]) -> list[RunRow]:
    """Runs that this group has given a parent in the family."""
    linked = []
    for before, child in plan.changed_runs():
        is_news = child.parent_key is not None and (before is None or before.parent_key != child.parent_key)
        if is_news and child.run not in family and _is_child(plan, child, family):
            linked.append(child)
    return linked


def _is_child(plan: Plan, child: RunRow, family: dict[int, RunRow]) -> bool:
    """A trace names its run in the child's own thread, and only where there is none, its run elsewhere."""
    kind, _, name = (child.parent_key or "").partition(":")
    members = [one for one in family.values() if one.org == child.org]
    if kind == "run":
        return any(one.run_id == name for one in members)
    if kind == "foreign":
        parent = plan.run(child.org, RunByForeignId(name, ""))
        return parent is not None and parent.run in family and parent.run != child.run
    near = plan.run(child.org, RunByTrace(child.thread_id, name))
    if near is not None and near.run != child.run:
        return near.run in family
    return any(one.trace_id == name for one in members)
