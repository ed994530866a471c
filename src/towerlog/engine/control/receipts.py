"""Receipts: the reply that carries a command for the first time is on record, in the same commit.

A receipt is no acknowledgement: a command is sent again with every reply until an event acknowledges it.

A run that has ended has no commands. Whoever goes on with it although somebody else has ended it is told so in the form
that every agent knows: a cancel with each reply, made from the row and on no record.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.control.rights import may_be_told, needs_of_telling_all
from towerlog.engine.control.told_texts import with_texts
from towerlog.engine.load.misses import all_of
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.errors import NotFound
from towerlog.model.command import Append, Deliver
from towerlog.model.event import Draft, EventType, Refusal, RunByForeignId, RunById
from towerlog.model.facts import Effects, Facts
from towerlog.model.lane import QueueState
from towerlog.model.outcome import Delivered, PolledRun, Stored
from towerlog.model.pending import Pending
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow, Status


def ending_of(row: RunRow) -> Pending:
    """What tells somebody who goes on with a run that it has ended."""
    why = f": {row.cancel_reason}" if row.cancel_reason else ""
    if not is_ended_by_server(row):
        why += "; another run needs an id of its own"
    return Pending(row.ended_seq or 0, "cancel", f"the run has ended as {row.status}{why}", delivered=True)


def is_ended_by_server(row: RunRow) -> bool:
    """Whether a run has ended, and not by a word of its agent."""
    return row.is_terminal() and (row.forced or row.status is Status.LOST)


def polled_run(plan: Plan, ref: RunByForeignId, row: RunRow, command: Append, has_asked: bool) -> PolledRun:
    """A run with what is wanted of it, on record as delivered. `has_asked`: its sender asks what nobody can answer."""
    goes_on = has_asked or ref.foreign_id in command.going_on
    return with_end(PolledRun(ref, told_of(plan, row, command.dialect), goes_on))


def with_end(polled: PolledRun) -> PolledRun:
    """A polled run as it is shown: one that has ended with its end, where its sender goes on with it or another has
    ended it. An agent that reports what it has used after its own end is told nothing."""
    row = polled.row
    if not row.is_terminal():
        return polled
    pending = (ending_of(row),) if polled.goes_on or is_ended_by_server(row) else ()
    return msgspec.structs.replace(polled, row=msgspec.structs.replace(row, pending=pending))


def commands_with(row: RunRow, draft: Draft) -> tuple[Pending, ...]:
    """What the sender of an event is told of its run. An agent that reports what it has used after its own end is not
    told of that end; who asks what nobody can answer any more is told of any."""
    if is_ended_by_server(row) or (row.is_terminal() and draft.type is EventType.RUN_WAITING):
        return (ending_of(row),)
    return row.pending


def mark_delivered(plan: Plan, row: RunRow, dialect: str) -> RunRow:
    """The run once its pending commands were told to its agent, each noted the first time."""
    for command in row.pending:
        if not command.delivered:
            members = {"command_id": command.command_id, "type": command.type}
            facts = Facts(effects=Effects(delivers=command.command_id))
            row = plan.note(row, EventType.COMMAND_DELIVERED, members, facts, by=dialect)
    return row


def told_of(plan: Plan, row: RunRow, dialect: str) -> RunRow:
    """The same as its agent is told of it: with all that people have written."""
    row = mark_delivered(plan, row, dialect)
    return with_texts(plan, row) if row.pending else row  # most runs have none


def with_receipts(
    plan: Plan, principal: Principal, results: list[Stored | Refusal], dialect: str
) -> Steps[tuple[list[Stored | Refusal], bool]]:
    """The results of a batch with what is wanted of its runs by the end of it, no more than that is repeated, and
    nothing of runs whose commands are for others; whether any of it is told for the first time."""
    run_ids = dict.fromkeys(one.run_id for one in results if isinstance(one, Stored) and one.commands)
    told = yield from all_of(_told_of(plan, principal, run_id, dialect) for run_id in run_ids)
    final = dict(zip(run_ids, told, strict=True))
    shown = [
        msgspec.structs.replace(one, commands=_by_the_end(one, final[one.run_id][0]))
        if isinstance(one, Stored) and one.commands
        else one
        for one in results
    ]
    return shown, any(row is not None and is_news for row, is_news in told)


def _told_of(plan: Plan, principal: Principal, run_id: str, dialect: str) -> Steps[tuple[RunRow | None, bool]]:
    """The run with its pending commands marked delivered, and whether any of them is delivered for the first time; the
    run is None if it is for others."""
    yield
    row = plan.run(principal.org, RunById(run_id))
    if row is None or not may_be_told(plan, principal, row):
        return None, False
    return told_of(plan, row, dialect), row.has_undelivered() or row.is_terminal()


def _by_the_end(result: Stored, row: RunRow | None) -> tuple[Pending, ...]:
    """What is told with a result by the end of its batch: that its run has ended only where it said so before."""
    if row is None or not row.is_terminal():
        return () if row is None else row.pending
    ending = ending_of(row)
    return (ending,) if ending in result.commands else ()


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
            rows[run_id] = told_of(plan, row, command.by)
        yield
    return Delivered(rows)


def _is_for(plan: Plan, principal: Principal, row: RunRow, command: Deliver) -> bool:
    if command.worker_id is None:
        return may_be_told(plan, principal, row)
    lane = plan.lane(row.run) if row.has_lane else None
    if lane is None or lane.state not in (QueueState.HELD, QueueState.DONE):
        return False
    return lane.belongs_to(command.worker_id, command.lease_epoch, principal.key_id)
