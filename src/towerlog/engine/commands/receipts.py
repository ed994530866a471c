"""Receipts: the reply that carries a command for the first time is on record, in the same commit.

A receipt is no acknowledgement: a command is sent again with every reply until an event acknowledges it.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.commands.rights import may_be_told, needs_of_telling_all
from towerlog.engine.commit.load import Needs
from towerlog.engine.commit.plan import Plan
from towerlog.engine.commit.steps import Steps
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
    final: dict[str, tuple[Pending, ...]] = {}
    shown: list[Stored | Refusal] = []
    has_news = False
    for result in results:
        if isinstance(result, Stored) and result.commands:
            commands = final.get(result.run_id)
            if commands is None:
                yield
                row = plan.run(principal.org, RunById(result.run_id))
                told = row if row is not None and may_be_told(plan, principal, row) else None
                has_news = has_news or (told is not None and told.has_undelivered())
                commands = () if told is None else mark_delivered(plan, told, dialect).pending
                final[result.run_id] = commands
            result = msgspec.structs.replace(result, commands=commands)
        shown.append(result)
    return shown, has_news


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
