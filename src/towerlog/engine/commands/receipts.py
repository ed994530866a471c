"""Receipts: the reply that carries a command for the first time is on record, in the same commit.

A receipt is no acknowledgement: a command is sent again with every reply until an event acknowledges it.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Plan
from towerlog.errors import NotFound
from towerlog.model.command import Deliver
from towerlog.model.event import EventType, Refusal, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.lane import QueueState
from towerlog.model.outcome import Delivered, Stored
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow


def mark_delivered(plan: Plan, row: RunRow, dialect: str) -> RunRow:
    """The run once its pending commands were told to its agent, each noted the first time."""
    for command in row.pending:
        if not command.delivered:
            members = {"command_id": command.command_id, "type": command.type}
            facts = Facts(effects=Effects(delivers=command.command_id))
            row = plan.note(row, EventType.COMMAND_DELIVERED, members, facts, by=dialect)
    return row


def with_receipts(plan: Plan, org: int, results: list[Stored | Refusal], dialect: str) -> list[Stored | Refusal]:
    """The results of a batch with what is wanted of its runs by the end of it: no more than that is repeated."""
    final: dict[str, RunRow] = {}
    shown: list[Stored | Refusal] = []
    for result in results:
        if isinstance(result, Stored) and result.commands:
            row = final.get(result.run_id) or plan.run(org, RunById(result.run_id))
            if row is not None:
                row = final[result.run_id] = mark_delivered(plan, row, dialect)
                result = msgspec.structs.replace(result, commands=row.pending)
        shown.append(result)
    return shown


def needs_of_deliver(needs: Needs, principal: Principal, command: Deliver) -> None:
    """The runs, and who holds them."""
    for run_id in command.run_ids:
        row = needs.run(principal.org, RunById(run_id))
        if row is not None:
            needs.counters(principal.org)
            needs.notes(row)
            if row.has_lane and command.worker_id is not None:
                needs.lane(row.run)


def deliver(plan: Plan, principal: Principal, command: Deliver) -> Delivered:
    """What a reply that was held back may carry. Raises NotFound for a run that is not there."""
    rows: dict[str, RunRow] = {}
    for run_id in command.run_ids:
        row = plan.run(principal.org, RunById(run_id))
        if row is None:
            raise NotFound("run")
        if command.worker_id is None or _is_held_by(plan, row, command):
            rows[run_id] = mark_delivered(plan, row, command.by)
    return Delivered(rows)


def _is_held_by(plan: Plan, row: RunRow, command: Deliver) -> bool:
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is None or lane.worker_id != command.worker_id:
        return False
    return command.lease_epoch in (None, lane.epoch) and lane.state in (QueueState.HELD, QueueState.DONE)
