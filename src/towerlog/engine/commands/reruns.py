"""Running again: a retry has the input of a run that has ended, a fork begins with one of its checkpoints.

A retry of a fork begins with the same checkpoint. Both are new runs in the same thread, queued for a worker and linked
to the run that they come from.
"""

from __future__ import annotations

from typing import Any

import msgspec

from towerlog.engine.commands.runs import begin_run, needs_of_create
from towerlog.engine.control.cancel import run_of
from towerlog.engine.control.run_request import RunRequest, reported_request, request_of
from towerlog.engine.load.rows import Needs, NeedsSteps
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.errors import Conflict, NotFound
from towerlog.model.agent import DEFAULT_AGENT
from towerlog.model.checkpoint import AWAITS_APPROVAL, CheckpointRow
from towerlog.model.command import CreateRun, ForkRun, RetryRun
from towerlog.model.event import Event, EventType, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Begun
from towerlog.model.principal import Principal
from towerlog.model.run import ForkedFrom, RunRow
from towerlog.model.run_agents import agents_of
from towerlog.store.values import Kind

IN_PROGRESS = "in_progress"
"""A fork of a checkpoint that waits for a person does not wait: whoever forked it has decided."""


def needs_of_rerun(needs: Needs, principal: Principal, command: RetryRun | ForkRun) -> NeedsSteps:
    """The run, what it was asked, the checkpoint to begin with, and what a new run of its thread needs."""
    needs.counters(principal.org)
    row = needs.run(principal.org, RunById(command.run_id))
    if row is None:
        return None
    lane = needs.lane(row.run) if row.has_lane else None
    if row.has_lane or not row.implicit or row.started_at is not None:
        needs.want(*_first_event(row))
    thread_of_it = CreateRun(
        row.thread_id,
        agent=row.agent if lane is None else lane.agent,
        persona_id=row.persona_id,
        route_id=row.route_id,
    )
    for agent, step_index in _steps_of(row, command):
        found: CheckpointRow | None = needs.want(Kind.CHECKPOINT, (row.run, agent, step_index))
        if found is not None:
            needs.agent(row.org, found.agent)
            needs.want(Kind.EVENT, (row.run, found.seq))
    return needs_of_create(needs, principal, thread_of_it)


def _first_event(row: RunRow) -> tuple[Kind, Any]:
    """Where it stands what a run was asked."""
    return (Kind.EVENT, (row.run, 1)) if row.has_lane else (Kind.STARTED, row.run)


def _steps_of(row: RunRow, command: RetryRun | ForkRun) -> list[tuple[str, int]]:
    """The checkpoints of a run that the new one may begin with: where a fork names no agent, the main agent's before
    any other's. A retry has that which the run began with itself, as a fork."""
    if isinstance(command, RetryRun):
        return [] if row.forked_from is None else [(row.forked_from.agent, row.forked_from.step_index)]
    agents = [command.agent] if command.agent is not None else [row.agent or DEFAULT_AGENT, *sorted(agents_of(row))]
    return [(agent, command.step_index) for agent in dict.fromkeys(agents)]


def retry_run(plan: Plan, principal: Principal, command: RetryRun) -> Steps[Begun]:
    """The same again. Raises Conflict for a run that has not ended, whose input nobody knows, or for a fork whose
    checkpoint is gone."""
    row = run_of(plan, principal, command.run_id)
    if not row.is_terminal():
        raise Conflict(f"The run has not ended: {row.status}. Cancel it first.")
    request = _request_of(plan, row)
    # A run that was made for workers may have none; of one that was erased nobody knows.
    is_whole = row.has_lane and row.events_erased_at is None
    if command.input is None and (request is None or (not is_whole and request.input_text() is None)):
        why = "is not known" if row.events_erased_at is None else "was erased"
        raise Conflict(
            f"The input of this run {why}, so it cannot be run again without one: give it as `input` (`--input`, or in "
            "the form of the dashboard)."
        )
    again, source = _again(plan, row, request or RunRequest(), command.input), _source(plan, row, command)
    if row.forked_from is not None and source is None:
        raise Conflict("The checkpoint that this fork began with was erased, so the fork cannot be run again.")
    begun = yield from begin_run(plan, principal, again, retry_of=row.run_id, forked_from=row.forked_from)
    return Begun(begun if source is None else _copy(plan, begun, source, plan.event_at(row.run, source.seq)))


def fork_run(plan: Plan, principal: Principal, command: ForkRun) -> Steps[Begun]:
    """A new run whose claim hands out a checkpoint of this one. Raises NotFound for an unknown checkpoint."""
    row = run_of(plan, principal, command.run_id)
    source = _source(plan, row, command)
    if source is None:
        raise NotFound("checkpoint")
    event = plan.event_at(row.run, source.seq)
    request = _request_of(plan, row) or RunRequest()
    origin = ForkedFrom(row.run_id, source.step_index, source.agent)
    again = _again(plan, row, request, command.input)
    fork = yield from begin_run(plan, principal, again, forked_from=origin)
    return Begun(_copy(plan, fork, source, event))


def _source(plan: Plan, row: RunRow, command: RetryRun | ForkRun) -> CheckpointRow | None:
    """The checkpoint that the new run begins with."""
    found = (plan.checkpoint(row.run, *step) for step in _steps_of(row, command))
    return next((one for one in found if one is not None), None)


def _request_of(plan: Plan, row: RunRow) -> RunRequest | None:
    """What the run was asked to do: by its first event if it was made for workers, else by the start it reported."""
    if row.has_lane:
        return request_of(plan.event_at(row.run, 1))
    if row.implicit and row.started_at is None:
        return None  # no start was ever told: a search for it would read all that the run has, with the writer waiting
    here = (event for event in plan.changes.events if event.run == row.run and event.type is EventType.RUN_STARTED)
    first: Event | None = None if plan.is_new(row.run) else plan.known.event(Kind.STARTED, row.run, row.run)
    first = first or next(here, None)
    if first is None:
        return None
    reported = reported_request(first)
    return reported if bytes(row.metadata) == b"{}" else msgspec.structs.replace(reported, metadata=row.metadata)


def _again(plan: Plan, row: RunRow, request: RunRequest, other: bytes | None) -> CreateRun:
    """What a run was asked to do, with another input where there is one."""
    lane = plan.lane(row.run) if row.has_lane else None
    return CreateRun(
        thread_id=row.thread_id,
        agent=row.agent if lane is None else lane.agent,
        persona_id=row.persona_id,
        route_id=row.route_id,
        input=request.input_text() if other is None else other,
        metadata=request.metadata_text(),
        labels=request.labels,
    )


def _copy(plan: Plan, row: RunRow, source: CheckpointRow, event: Event | None) -> RunRow:
    """The fork's own checkpoint: whatever becomes of the one it was copied from, this one stays as it was."""
    state = source.resume_state()
    facts = CheckpointFacts(
        step_index=source.step_index,
        status=IN_PROGRESS if source.status == AWAITS_APPROVAL else source.status,
        node=state.node,
        length=state.length,
        metas=state.metas,
        has_meta=state.has_meta,
        digest=source.digest,
    )
    data = b"{}" if event is None or source.initial else event.data
    dialect = row.source if event is None else event.dialect
    run_state = plan.run_state_of(row.run)
    if run_state is None:
        raise NotFound("run")
    made = Facts(effects=Effects(checkpoint=facts))
    plan.append(run_state, plan.agent(row.org, source.agent), EventType.CHECKPOINT, data, dialect=dialect, facts=made)
    return plan.row_of(run_state)
