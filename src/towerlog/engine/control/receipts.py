"""Receipts: the reply that carries a command for the first time is on record, in the same commit.

A receipt is no acknowledgement: a command is sent again with every reply until an event acknowledges it.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.control.rights import may_be_told, needs_of_telling_all
from towerlog.engine.load.misses import all_of
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.errors import NotFound
from towerlog.model.command import Deliver
from towerlog.model.event import EventType, Refusal, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.lane import QueueState
from towerlog.model.outcome import Delivered, Stored
from towerlog.model.principal import Principal
from towerlog.model.run import Pending, RunRow


def mark_delivered(plan: Plan, row: RunRow, dialect: str) -> RunRow:
    """The run once its pending commands were told to its agent, each noted the first time."""
    for command in row.pending:
        if not command.delivered:
            members = {"command_id": command.command_id, "type": command.type}
            facts = Facts(effects=Effects(delivers=command.command_id))
            row = plan.note(row, EventType.COMMAND_DELIVERED, members, facts, by=dialect)
    return row


def with_receipts(
    plan: Plan, principal: Principal, results: list[Stored | Refusal], dialect: str
) -> Steps[tuple[list[Stored | Refusal], bool]]:
    """The results of a batch with what is wanted of its runs by the end of it, no more than that is repeated, and
    nothing of runs whose commands are for others; whether any of it is told for the first time."""
    run_ids = dict.fromkeys(one.run_id for one in results if isinstance(one, Stored) and one.commands)
    told = yield from all_of(_told_of(plan, principal, run_id, dialect) for run_id in run_ids)
    final = dict(zip(run_ids, told, strict=True))
    shown = [
        msgspec.structs.replace(one, commands=final[one.run_id][0]) if isinstance(one, Stored) and one.commands else one
        for one in results
    ]
    return shown, any(is_news for _, is_news in told)


def _told_of(plan: Plan, principal: Principal, run_id: str, dialect: str) -> Steps[tuple[tuple[Pending, ...], bool]]:
    """What is wanted of a run, on record as delivered, and whether any of it is told for the first time."""
    yield
    row = plan.run(principal.org, RunById(run_id))
    if row is None or not may_be_told(plan, principal, row):
        return (), False
    return mark_delivered(plan, row, dialect).pending, row.has_undelivered()


def needs_of_deliver(needs: Needs, principal: Principal, command: Deliver) -> Steps[None]:
    """The runs, and whose they are."""
    needs.counters(principal.org)
    return needs_of_telling_all(needs, principal, map(RunById, command.run_ids))


def deliver(plan: Plan, principal: Principal, command: Deliver) -> Steps[Delivered]:
    """What a reply that was held back may carry. Raises NotFound for a run that is not there."""
    rows: dict[str, RunRow] = {}
    for run_id in command.run_ids:
        row = plan.run(principal.org, RunById(run_id))
        if row is None:
            raise NotFound("run")
        if _is_for(plan, principal, row, command):
            rows[run_id] = mark_delivered(plan, row, command.by)
        yield
    return Delivered(rows)


def _is_for(plan: Plan, principal: Principal, row: RunRow, command: Deliver) -> bool:
    if command.worker_id is None:
        return may_be_told(plan, principal, row)
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is None or lane.state not in (QueueState.HELD, QueueState.DONE):
        return False
    return lane.belongs_to(command.worker_id, command.lease_epoch, principal.key_id)
