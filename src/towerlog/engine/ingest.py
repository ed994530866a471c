"""Appending drafts: which run, seen before, which agent; then the plan folds them. Each item fails alone."""

from __future__ import annotations

import hashlib
from typing import assert_never

import msgspec

from towerlog.engine.express import Names, append_plain
from towerlog.engine.histories import keep_history
from towerlog.engine.plan import Plan
from towerlog.errors import NotFound
from towerlog.model.command import Append
from towerlog.model.event import (
    NO_FACTS,
    Born,
    Draft,
    Event,
    EventType,
    Facts,
    Item,
    OpenRun,
    Refusal,
    RunByForeignId,
    RunById,
    RunByTrace,
    Touch,
)
from towerlog.model.identity import Principal
from towerlog.model.outcome import Appended, Stored
from towerlog.model.run import MAX_PARTS, AgentRow, RunRow

NATURAL = "\x1f"
"""Begins the stored id of a natural key; no sender's id holds a control character."""

_replace = msgspec.structs.replace


async def append_items(plan: Plan, principal: Principal, command: Append, names: Names) -> Appended:
    """Stores what can be stored; one result per item, in order. Raises NotFound for an unknown `agent_id`."""
    agent = None
    org, dialect = principal.org, command.dialect
    if command.agent_id is not None:
        agent = await agent_by_id(plan, org, command.agent_id)
    await plan.counters(org)
    results = [
        append_plain(plan, org, item, dialect, agent, names) or await append_item(plan, principal, item, dialect, agent)
        for item in command.items
    ]
    return Appended(results)


async def agent_by_id(plan: Plan, org: int, agent_id: str) -> AgentRow:
    """An agent by UUID. Raises NotFound."""
    name = plan.cache.agent_names.get((org, agent_id))
    if name is None:
        found = await plan.unit.agent_by_id(org, agent_id)
        if found is None:
            raise NotFound("agent")
        name = found.name
        plan.cache.agent_names[(org, agent_id)] = name
    return await plan.agent(org, name)


async def append_item(
    plan: Plan, principal: Principal, item: Item, dialect: str, agent: AgentRow | None = None
) -> Stored | Refusal:
    """Stores one item of a request."""
    if isinstance(item, Draft):
        return await _append_draft(plan, principal, item, dialect, agent)
    if isinstance(item, Refusal):
        return item
    if isinstance(item, Touch):
        row = await plan.agent(principal.org, item.agent)
        plan.put_agent(_replace(row, last_heartbeat_at=plan.now))
        return Stored(0, 0, "", row.name)
    assert_never(item)


async def _append_draft(
    plan: Plan, principal: Principal, draft: Draft, dialect: str, agent: AgentRow | None
) -> Stored | Refusal:
    org = principal.org
    row = plan.run_cached(org, draft.run) or await plan.run(org, draft.run)
    if row is None and isinstance(draft.run, RunById):
        return Refusal("not_found", "There is no such run.", "run_id")
    if draft.history is not None or draft.facts.checkpoint is not None:
        draft = await _with_history(plan, org, draft)
    event_id = draft.event_id
    if row is not None and (event_id is not None or draft.natural_key is not None):
        seen = await _seen_before(plan, row, draft)
        if seen is not None:
            return seen
        if event_id is None and not await plan.event_by_id(row.run, NATURAL + str(draft.natural_key)):
            event_id = NATURAL + str(draft.natural_key)
    elif event_id is None and draft.natural_key is not None:
        event_id = NATURAL + draft.natural_key
    if row is not None and _begins_anew(row, draft):
        draft, row = _resuming(draft, row), None
        if draft.event_id is None and draft.natural_key is not None:
            event_id = NATURAL + draft.natural_key
    if agent is None:
        name = draft.agent or (row.agent if row is not None else None) or draft.agent_default
        agent = await plan.agent(org, name)
    if row is not None and draft.facts.checkpoint is not None:
        same = await _same_checkpoint(plan, row, draft, agent)
        if same is not None:
            return same
    return await _store(plan, principal, draft, dialect, row, agent, event_id)


async def _store(
    plan: Plan,
    principal: Principal,
    draft: Draft,
    dialect: str,
    row: RunRow | None,
    agent: AgentRow,
    event_id: str | None,
) -> Stored:
    org, facts, data = principal.org, draft.facts, draft.data
    if row is None:
        run = await plan.new_run_number(org)
        facts = _replace(facts, born=_born(plan, principal, draft, dialect))
    else:
        run = row.run
    if draft.type is EventType.TOOL_CALL or draft.type is EventType.TOOL_RESULT:
        facts, data = _paired(row, draft.type, facts, data)
    event, after = await plan.append(
        row,
        run,
        agent,
        draft.type,
        data,
        org=org,
        dialect=dialect,
        facts=facts,
        occurred_at=draft.occurred_at,
        event_id=event_id,
    )
    if row is None:
        plan.remember_run(org, draft.run, after)
    return Stored(event.position, event.seq, after.run_id, agent.name, False, event.late, after.pending)


def _born(plan: Plan, principal: Principal, draft: Draft, dialect: str) -> Born:
    ref = draft.run
    trace_id = ref.trace_id if isinstance(ref, RunByTrace) else plan.ids.uuid().replace("-", "")
    return Born(
        run_id=plan.ids.uuid(),
        thread_id="" if isinstance(ref, RunById) else ref.thread_id,
        trace_id=trace_id,
        foreign_id=ref.foreign_id if isinstance(ref, RunByForeignId) else None,
        implicit=not draft.facts.fills,
        created_by=principal.user_id,
        parent_key=draft.facts.parent_key,
        resumed_from=draft.facts.born.resumed_from if draft.facts.born is not None else None,
        source=dialect,
    )


def _begins_anew(row: RunRow, draft: Draft) -> bool:
    """A start for a run that was started and has ended begins a new one; a start that was overtaken does not."""
    ref = draft.run
    reopens = isinstance(ref, RunByTrace | OpenRun) and ref.reopen
    return reopens and row.is_terminal() and not (row.implicit and draft.facts.fills)


def _resuming(draft: Draft, row: RunRow) -> Draft:
    ref = draft.run if not isinstance(draft.run, OpenRun) else OpenRun(row.thread_id)
    born = Born("", row.thread_id, "", resumed_from=row.run_id)
    return _replace(draft, run=ref, facts=_replace(draft.facts, born=born))


async def _seen_before(plan: Plan, row: RunRow, draft: Draft) -> Stored | Refusal | None:
    """What a repeat is answered with; None for news."""
    if draft.event_id is not None:
        event = await plan.event_by_id(row.run, draft.event_id)
        if event is None:
            return None
        if same_content(event, draft):
            return _stored_before(event, row)
        return Refusal("id_reused", f"event id {draft.event_id!r} was used before with another body", "event_id")
    event = await plan.event_by_id(row.run, NATURAL + str(draft.natural_key))
    if event is not None and same_content(event, draft) and not _begins_anew(row, draft):
        return _stored_before(event, row)
    return None


def _stored_before(event: Event, row: RunRow, agent: str | None = None) -> Stored:
    return Stored(event.position, event.seq, row.run_id, agent or row.agent, True, event.late, row.pending)


def same_content(event: Event, draft: Draft) -> bool:
    """Whether a stored event is what the draft would be: type and body, whatever the spelling of the JSON."""
    if event.type is not draft.type or event.facts.name != draft.facts.name:
        return False
    if event.data == draft.data:
        return _same_state(event.facts, draft.facts)
    ours, theirs = _plain(event.data), _plain(draft.data)
    if draft.type in (EventType.TOOL_CALL, EventType.TOOL_RESULT) and draft.facts.tool_call_id is None:
        ours.pop("tool_call_id", None)
    return ours == theirs and _same_state(event.facts, draft.facts)


def _same_state(ours: Facts, theirs: Facts) -> bool:
    if ours.checkpoint is None or theirs.checkpoint is None:
        return ours.checkpoint is None and theirs.checkpoint is None
    return ours.checkpoint.digest == theirs.checkpoint.digest


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _plain(text: bytes) -> dict[str, object]:
    """A body's members; a value that JSON readers disagree about (a huge number) is compared by its text."""
    plain: dict[str, object] = {}
    for name, value in _decode_members(text).items():
        try:
            plain[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            plain[name] = bytes(value)
    return plain


async def _with_history(plan: Plan, org: int, draft: Draft) -> Draft:
    """The draft with its history kept, its node and its digest filled in."""
    facts = draft.facts.checkpoint
    if facts is None or facts.decision:
        return draft
    node, length = b"", 0
    if draft.history is not None:
        kept = await keep_history(plan, org, draft.history)
        node, length = kept.node, kept.length
    digest = hashlib.sha256(node + msgspec.json.format(draft.data, indent=-1)).hexdigest()
    filled = _replace(facts, node=node.hex(), length=length, digest=digest)
    return _replace(draft, facts=_replace(draft.facts, checkpoint=filled), history=None)


async def _same_checkpoint(plan: Plan, row: RunRow, draft: Draft, agent: AgentRow) -> Stored | None:
    """The same checkpoint with the same content again stores nothing."""
    facts = draft.facts.checkpoint
    if facts is None or facts.decision or facts.initial:
        return None
    part = row.parts.get(agent.name)
    first = part is None and len(row.parts) < MAX_PARTS
    if first or (part is not None and facts.step_index > part.step_index):
        return None  # a step higher than any before cannot be a repeat
    known = await plan.checkpoint(row.run, agent.name, facts.step_index)
    if known is None or known.initial or known.digest != facts.digest or known.status != facts.status:
        return None
    return Stored(known.position, known.seq, row.run_id, agent.name, True, False, row.pending)


def _paired(row: RunRow | None, kind: EventType, facts: Facts, data: bytes) -> tuple[Facts, bytes]:
    """A tool call's and its result's shared id: the sender's, else one made here."""
    if facts.tool_call_id is not None:
        return facts, data
    call_id = f"call-{1 if row is None else row.last_seq + 1}"
    if kind is EventType.TOOL_RESULT and row is not None:
        call_id = next((known for tool, known in row.open_tools if tool == (facts.tool or "")), call_id)
    head = b'{"tool_call_id":' + msgspec.json.encode(call_id)
    rest = data[1:].lstrip()
    data = head + (b"" if rest.startswith(b"}") else b",") + rest
    return _replace(NO_FACTS if facts is NO_FACTS else facts, tool_call_id=call_id), data
