"""The inbox of an organisation: a page of what is open, and one approval with what became of it."""

from __future__ import annotations

from typing import assert_never

import msgspec

from towerlog.engine.queries.context import QueryContext
from towerlog.engine.queries.inbox.closed_questions import closed_by_the_log, is_forgotten
from towerlog.errors import NotFound
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.approval import (
    NO_TERMS,
    ApprovalRef,
    ApprovalRow,
    ApprovalState,
    ClosedApproval,
    GetApproval,
)
from towerlog.model.approval_views import ApprovalView
from towerlog.model.checkpoint import AWAITS_APPROVAL, STATE_OF_DECIDED, CheckpointRow, is_void
from towerlog.model.event import DamagedEvent, Event, EventType, sound
from towerlog.model.facts import CheckpointFacts
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow, Status
from towerlog.store.values import PAGE_BODY_BYTES

LAST_AGENT = "\U0010ffff"
"""Sorts behind every agent's name."""
MAX_STEPS_LOOKED_AT = 200
"""Checkpoints of a step, and after it, that are looked through."""


async def answer(source: QueryContext, principal: Principal, command: q.ListApprovals | GetApproval) -> o.Outcome:
    """A page, or one. Raises NotFound."""
    match command:
        case q.ListApprovals():
            return await _page(source, principal, command)
        case GetApproval(ref):
            return await _one(source, principal, ref)
        case _:
            assert_never(command)


async def _page(source: QueryContext, principal: Principal, command: q.ListApprovals) -> o.Page:
    org, store, limit = principal.org, source.store, command.limit
    only = None if command.run_id is None else (await source.run_of(principal, command.run_id)).run
    rows = await store.approvals(org, limit + 1, command.after, command.kind, only)
    runs = await store.runs_by_number(org, list({row.run for row in rows})) if rows else {}
    found: list[ApprovalView] = []
    size = 0
    for row in rows[:limit]:
        run = runs[row.run]
        # One damaged event hides no other approval; whoever asks for its own is told of the damage.
        event = (await store.events_at(org, run.run, [row.asked_seq])).get(row.asked_seq)
        data = event.data if isinstance(event, Event) else b"{}"
        size += len(data)
        if found and size > PAGE_BODY_BYTES:
            break
        found.append(ApprovalView(row, run, data))
    more = rows.cut or len(found) < len(rows)
    return o.Page(found, str(found[-1].row.position) if more and found else None)


async def _event(source: QueryContext, run: RunRow, seq: int) -> Event | None:
    """An event of a run; None for one that was trimmed away. Raises Damaged."""
    return sound((await source.store.events_at(run.org, run.run, [seq])).get(seq), run.run_id)


async def _one(source: QueryContext, principal: Principal, ref: ApprovalRef) -> ApprovalView:
    try:
        run = await source.run_of(principal, ref.run_id)
    except NotFound:
        raise NotFound("approval") from None
    view = await approval_at(source, run.org, run.run, ref.seq)
    if view.row.step_index != ref.step_index:
        raise NotFound("approval")
    if view.row.asked_seq == ref.asked_seq():
        return view
    event = await _event(source, view.run, ref.asked_seq())
    if event is None:
        raise NotFound("approval")
    return await _closed_question(source, view.run, event, ref)


async def approval_at(source: QueryContext, org: int, number: int, seq: int) -> ApprovalView:
    """What a run, given by its number, asks or has asked by an event. Raises NotFound, Damaged."""
    row = await source.store.approval(org, number, seq)
    # Later than its approval, so that what was closed in between is known to it.
    run = (await source.store.runs_by_number(org, [number])).get(number)
    if run is None:
        raise NotFound("approval")
    told = _told_seq(run, seq)
    event = await _event(source, run, row.asked_seq if row is not None else seq if told is None else told)
    if row is not None:
        return ApprovalView(row, run, b"{}" if event is None else event.data)
    if event is None:
        raise NotFound("approval")
    if event.type is EventType.RUN_WAITING:
        return await _closed_question(source, run, event, ApprovalRef(run.run_id, seq, asked=told))
    return await _closed_checkpoint(source, run, event, _ref_of(run, event))


def _ref_of(run: RunRow, event: Event) -> ApprovalRef:
    """Raises NotFound for an event that asks for nothing."""
    if event.type is EventType.RUN_WAITING:
        return ApprovalRef(run.run_id, event.seq, asked=_told_seq(run, event.seq))
    facts = event.effects.checkpoint
    if facts is None:
        raise NotFound("approval")
    return ApprovalRef(run.run_id, event.seq, facts.step_index)


def _told_seq(run: RunRow, question_id: int) -> int | None:
    """Of a question that was asked anew in other words: the event that has done so last."""
    closed = next((one for one in run.closed_questions if one.question_id == question_id), None)
    now = run.question(question_id) or closed
    return None if now is None else now.told_seq


async def _closed_question(source: QueryContext, run: RunRow, event: Event, ref: ApprovalRef) -> ApprovalView:
    """A question, or the words in which it was asked before."""
    if event.type is not EventType.RUN_WAITING or (event.effects.question_id or event.seq) != ref.seq:
        raise NotFound("approval")
    terms = event.effects.terms or NO_TERMS
    row = ApprovalRow(
        run.org, run.run, ref.seq, event.position, event.recorded_at, event.seq,
        text=event.facts.question, terms=terms, expires_at=terms.due(event.recorded_at),
    )  # fmt: skip
    found = next((one for one in run.closed_questions if one.question_id == ref.seq), None)
    now = run.question(ref.seq) or found
    if now is not None and now.told_seq != ref.asked:
        return ApprovalView(row, run, event.data, ClosedApproval(ApprovalState.WITHDRAWN))
    if found is not None:
        closed = ClosedApproval(found.state(), found.closed_at, found.by, None, found.taken_at)
    elif is_forgotten(run):
        closed = await closed_by_the_log(source, run, ref)
    else:
        closed = ClosedApproval(ApprovalState.ENDED, run.ended_at)
    name = None if closed.by is None else await _name(source, run.org, closed.by)
    return ApprovalView(row, run, event.data, msgspec.structs.replace(closed, by_name=name))


async def _name(source: QueryContext, org: int, by: str) -> str:
    """Who it was, for people: by whom it was answered is a user of ours, or a name."""
    user = (await source.store.users(org, [by])).get(by)
    return by if user is None else user.name


async def _closed_checkpoint(source: QueryContext, run: RunRow, event: Event, ref: ApprovalRef) -> ApprovalView:
    assert ref.step_index is not None
    after = (ref.step_index - 1, LAST_AGENT)
    rows = await source.store.checkpoints(run.org, run.run, MAX_STEPS_LOOKED_AT, after)
    found = next((one for one in rows if (one.seq, one.step_index) == (ref.seq, ref.step_index)), None)
    if found is None:
        return await _replaced(source, run, event, ref)
    if found.decided_at is None and found.left_at is None and not run.is_terminal():
        raise NotFound("approval")
    row = ApprovalRow(
        run.org, run.run, found.seq, found.position, found.created_at, found.seq,
        agent=found.agent, step_index=found.step_index, terms=found.terms, expires_at=found.expires_at,
    )  # fmt: skip
    return ApprovalView(row, run, event.data, await _closed(source, run, found, rows))


async def _replaced(source: QueryContext, run: RunRow, event: Event, ref: ApprovalRef) -> ApprovalView:
    """Tool calls in whose place their agent has put something else at the same step. A decision came before that, or
    none."""
    asked = event.effects.checkpoint
    if asked is None or asked.decision or asked.status != AWAITS_APPROVAL:
        raise NotFound("approval")
    agent = next(iter(await source.store.agents_by_number(run.org, [event.agent])), None)
    terms = asked.terms or NO_TERMS
    row = ApprovalRow(
        run.org, run.run, event.seq, event.position, event.recorded_at, event.seq,
        agent=asked.agent or (None if agent is None else agent.name), step_index=asked.step_index, terms=terms,
        expires_at=terms.due(event.recorded_at),
    )  # fmt: skip
    types = (EventType.CHECKPOINT, EventType.APPROVAL_EXPIRED)
    for one in await source.store.events(run.org, run.run, event.seq, MAX_STEPS_LOOKED_AT, types):
        facts = one.effects.checkpoint if isinstance(one, Event) else None
        if facts is None or isinstance(one, DamagedEvent):
            continue
        is_its_own = one.agent == event.agent if facts.agent is None else facts.agent == row.agent
        if is_its_own and _closes(facts, asked):
            return ApprovalView(row, run, event.data, await _closed_by(source, run, one, facts))
    return ApprovalView(row, run, event.data, ClosedApproval(ApprovalState.WITHDRAWN))


def _closes(facts: CheckpointFacts, asked: CheckpointFacts) -> bool:
    """Whether a later checkpoint of the same agent, or a decision, ends what was waited for."""
    if facts.decision:
        return facts.step_index == asked.step_index and facts.status != AWAITS_APPROVAL
    return facts.step_index >= asked.step_index


async def _closed_by(source: QueryContext, run: RunRow, event: Event, facts: CheckpointFacts) -> ClosedApproval:
    if not facts.decision:
        return ClosedApproval(ApprovalState.WITHDRAWN, event.recorded_at)
    by = facts.decided_by
    if facts.expired and by is None:
        return ClosedApproval(ApprovalState.EXPIRED, event.recorded_at)
    name = None if by is None else await _name(source, run.org, by)
    return ClosedApproval(STATE_OF_DECIDED.get(facts.status, ApprovalState.ANSWERED), event.recorded_at, by, name)


async def _closed(source: QueryContext, run: RunRow, found: CheckpointRow, rows: list[CheckpointRow]) -> ClosedApproval:
    name = None if found.decided_by is None else await _name(source, run.org, found.decided_by)
    if found.left_at is not None:
        return ClosedApproval(ApprovalState.WITHDRAWN, found.left_at, found.decided_by, name)
    if found.decided_at is None:
        return ClosedApproval(ApprovalState.ENDED, run.ended_at)
    goes_on = (one.created_at for one in rows if one.agent == found.agent and one.step_index > found.step_index)
    state = STATE_OF_DECIDED.get(found.decision or found.status)
    if found.expired and found.decided_by is None:
        state = ApprovalState.EXPIRED
    elif is_void(found, run) and run.status is not Status.LOST:  # of a lost one the next run may have taken it
        state = ApprovalState.WITHDRAWN
    return ClosedApproval(
        state or ApprovalState.ANSWERED, found.decided_at, found.decided_by, name, next(goes_on, None)
    )
