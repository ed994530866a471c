"""Running again: a retry has the input of a run that has ended, a fork begins with one of its checkpoints.

Both are new runs in the same thread, queued for a worker and linked to the run that they come from.
"""

from __future__ import annotations

import msgspec

from towerlog.engine.commands.cancel import run_of
from towerlog.engine.commands.runs import begin_run
from towerlog.engine.commit.plan import Plan
from towerlog.engine.queries.claim_reply import Asked, asked_of, event_at, told_by
from towerlog.errors import Conflict, NotFound
from towerlog.model.checkpoint import CheckpointRow
from towerlog.model.command import CreateRun, ForkRun, RetryRun
from towerlog.model.event import Event, EventType
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import RunView
from towerlog.model.principal import Principal
from towerlog.model.run import ForkedFrom, RunRow
from towerlog.store.base import Store

WAITS = "waiting_for_approval"
GOES_ON = "in_progress"
"""A fork of a checkpoint that waits for a person does not wait: whoever forked it has decided."""


async def retry_run(plan: Plan, store: Store, principal: Principal, command: RetryRun) -> RunView:
    """The same again. Raises Conflict for a run that has not ended, or whose input nobody knows."""
    row = await run_of(plan, principal, command.run_id)
    if not row.is_terminal():
        raise Conflict(f"The run has not ended: {row.status}. Cancel it first.")
    asked = await _asked(plan, store, row)
    if asked is None or (not row.has_lane and asked.input_text() is None):
        raise Conflict("The input of this run is not known, so it cannot be run again.")
    again = await begin_run(plan, principal, await _same_again(plan, row, asked), retry_of=row.run_id)
    return await _view(plan, store, principal, again)


async def fork_run(plan: Plan, store: Store, principal: Principal, command: ForkRun) -> RunView:
    """A new run whose claim hands out a checkpoint of this one. Raises NotFound for an unknown checkpoint."""
    row = await run_of(plan, principal, command.run_id)
    source = await _checkpoint(plan, row, command)
    if source is None:
        raise NotFound("checkpoint")
    event = await event_at(plan, store, row, source.seq)
    asked = await _asked(plan, store, row) or Asked()
    origin = ForkedFrom(row.run_id, source.step_index, source.agent)
    again = await begin_run(plan, principal, await _same_again(plan, row, asked), forked_from=origin)
    again = await _copy(plan, again, source, event)
    return await _view(plan, store, principal, again)


async def _asked(plan: Plan, store: Store, row: RunRow) -> Asked | None:
    """What the run was asked to do: by its first event if it was made for workers, else by the start it reported."""
    if row.has_lane:
        return asked_of(await event_at(plan, store, row, 1))
    if row.implicit and row.started_at is None:
        return None  # no start was ever told: a search for it would read all that the run has, with the writer waiting
    started = EventType.RUN_STARTED
    known = [*await store.events(row.org, row.run, 0, 1, [started]), *plan.changes.events]
    first = next((event for event in known if event.run == row.run and event.type is started), None)
    if first is None:
        return None
    told = told_by(first)
    return told if bytes(row.metadata) == b"{}" else msgspec.structs.replace(told, metadata=row.metadata)


async def _same_again(plan: Plan, row: RunRow, asked: Asked) -> CreateRun:
    lane = await plan.lane(row.run) if row.has_lane else None
    return CreateRun(
        thread_id=row.thread_id,
        agent=row.agent if lane is None else lane.agent,
        persona_id=row.persona_id,
        route_id=row.route_id,
        input=asked.input_text(),
        metadata=asked.metadata_text(),
        labels=asked.labels,
    )


async def _checkpoint(plan: Plan, row: RunRow, command: ForkRun) -> CheckpointRow | None:
    """The checkpoint that is meant: where no agent is named, the main agent's before any other's."""
    agents = [command.agent] if command.agent is not None else [row.agent or "default", *sorted(row.parts)]
    for agent in dict.fromkeys(agents):
        found = await plan.checkpoint(row.run, agent, command.step_index)
        if found is not None:
            return found
    return None


async def _copy(plan: Plan, row: RunRow, source: CheckpointRow, event: Event | None) -> RunRow:
    """The fork's own checkpoint: whatever becomes of the one it was copied from, this one stays as it was."""
    facts = CheckpointFacts(
        step_index=source.step_index,
        status=GOES_ON if source.status == WAITS else source.status,
        node=source.node,
        length=source.length,
        metas=source.metas,
        has_meta=source.has_meta,
        digest=source.digest,
    )
    data = b"{}" if event is None or source.initial else event.data
    agent = await plan.agent(row.org, source.agent)
    kind, dialect = EventType.CHECKPOINT, row.source if event is None else event.dialect
    made = Facts(effects=Effects(checkpoint=facts))
    _, after = await plan.append(row, row.run, agent, kind, data, org=row.org, dialect=dialect, facts=made)
    return after


async def _view(plan: Plan, store: Store, principal: Principal, row: RunRow) -> RunView:
    agent = await plan.agent(row.org, row.agent or "default")
    first = await event_at(plan, store, row, 1)
    creator = (await store.users(row.org, [principal.user_id])).get(principal.user_id)
    return RunView(
        row,
        principal.org_id,
        agent_id=agent.agent_id,
        lane=await plan.lane(row.run),
        created_by_name=None if creator is None else creator.name,
        created_by_email=None if creator is None else creator.email,
        input=None if first is None else first.data,
    )
