"""Appending drafts: which run, seen before, which agent; then the plan folds them. Each item fails alone."""

from __future__ import annotations

import hashlib
from typing import assert_never

import msgspec

from towerlog.engine.commands.receipts import delivered, told
from towerlog.engine.commit.plan import Plan, ref_key
from towerlog.engine.ingest.content import Kept, keep_history
from towerlog.engine.ingest.dedupe import (
    NATURAL,
    begins_anew,
    is_replayed,
    late_checkpoint_id,
    run_of_repeat,
    seen_before,
    stored_before,
)
from towerlog.engine.ingest.express import append_plain, paired
from towerlog.errors import NotFound
from towerlog.model.agent import AgentRow
from towerlog.model.command import Append
from towerlog.model.event import (
    TARGET_STATUS,
    TOOL_TYPES,
    Draft,
    Item,
    OpenRun,
    Refusal,
    RunByForeignId,
    RunById,
    RunByTrace,
    Touch,
)
from towerlog.model.facts import LATEST_STEP, Born, with_effects
from towerlog.model.outcome import Appended, Stored, Watched
from towerlog.model.principal import Principal
from towerlog.model.run import TERMINAL, RunRow
from towerlog.projections import agents as agent_fold

FOREIGN = "foreign:"
_replace = msgspec.structs.replace


async def append_items(plan: Plan, principal: Principal, command: Append) -> Appended:
    """Stores what can be stored; one result per item, in order. Raises NotFound for an unknown `agent_id`."""
    agent = None
    org, dialect = principal.org, command.dialect
    if command.agent_id is not None:
        agent = await agent_by_id(plan, org, command.agent_id)
    await plan.counters(org)
    results: list[Stored | Refusal] = []
    for index, item in enumerate(command.items):
        stored = append_plain(plan, org, item, dialect, agent)
        if stored is None:
            replayed = await is_replayed(plan, org, command.items, index)
            results.append(await append_item(plan, principal, item, dialect, agent, replayed))
        else:
            results.append(stored)
    if command.tells:
        results = await told(plan, org, results, dialect)
    if not command.watched:
        return Appended(results)
    watched = await watched_runs(plan, org, command.watched)
    return Appended(results, tuple([_replace(one, row=await delivered(plan, one.row, dialect)) for one in watched]))


async def watched_runs(plan: Plan, org: int, refs: tuple[RunByForeignId, ...]) -> tuple[Watched, ...]:
    """Those of these runs that there are, as this group leaves them so far."""
    rows = {ref: plan.run_cached(org, ref) for ref in refs}
    asked = [ref for ref, row in rows.items() if row is None and ref_key(org, ref) not in plan.absent]
    if asked:
        found = await plan.unit.runs_by_ref([(org, ref) for ref in asked])
        stored = zip(asked, found, strict=True)
        rows |= {ref: plan.remember_run(org, ref, row) for ref, row in stored if row is not None}
    return tuple(Watched(ref, row) for ref, row in rows.items() if row is not None)


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
    plan: Plan,
    principal: Principal,
    item: Item,
    dialect: str,
    agent: AgentRow | None = None,
    replayed: bool = False,
) -> Stored | Refusal:
    """Stores one item of a request. `replayed`: the request as a whole was seen before."""
    if isinstance(item, Draft):
        return await _append_draft(plan, principal, item, dialect, agent, replayed)
    if isinstance(item, Refusal):
        return item
    if isinstance(item, Touch):
        row = await plan.agent(principal.org, item.agent)
        plan.put_agent(_replace(row, last_heartbeat_at=agent_fold.latest(row.last_heartbeat_at, plan.now)))
        return Stored(0, 0, "", row.name)
    assert_never(item)


async def _append_draft(
    plan: Plan, principal: Principal, draft: Draft, dialect: str, agent: AgentRow | None, replayed: bool
) -> Stored | Refusal:
    org = principal.org
    row = plan.run_cached(org, draft.run) or await plan.run(org, draft.run)
    if isinstance(draft.run, OpenRun) and draft.event_id is not None:
        row = await run_of_repeat(plan, org, draft.run.thread_id, draft.event_id) or row
    if row is None and isinstance(draft.run, RunById):
        return Refusal("not_found", "There is no such run.", "run_id")
    if draft.effects.parent_key is not None and draft.effects.parent_key.startswith(FOREIGN):
        draft = await _with_parent(plan, org, draft, draft.effects.parent_key)
    if draft.history is not None or draft.effects.checkpoint is not None:
        draft = await _with_history(plan, org, draft)
    event_id = draft.event_id
    if row is not None and (event_id is not None or draft.natural_key is not None):
        seen = await seen_before(plan, row, draft, replayed)
        if seen is not None:
            return seen
        if event_id is None and not await plan.event_by_id(row.run, NATURAL + str(draft.natural_key)):
            event_id = NATURAL + str(draft.natural_key)
    elif event_id is None and draft.natural_key is not None:
        event_id = NATURAL + draft.natural_key
    if row is not None and begins_anew(row, draft):
        draft, row = _resuming(draft, row), None
        if draft.event_id is None and draft.natural_key is not None:
            event_id = NATURAL + draft.natural_key
    if agent is None:
        name = draft.agent or (row.agent if row is not None else None) or draft.agent_default
        agent = await plan.agent(org, name)
    draft = _at_latest_step(draft, row)
    if row is not None and draft.effects.checkpoint is not None:
        same = await _same_checkpoint(plan, row, draft, agent)
        if same is not None:
            return same
        if event_id is None and row.is_terminal() and not draft.effects.checkpoint.decision:
            event_id = late_checkpoint_id(agent.name, draft.effects.checkpoint)
            known = await plan.event_by_id(row.run, event_id)
            if known is not None:
                return stored_before(known, row, agent.name)
    return await _store(plan, principal, draft, dialect, row, agent, event_id)


def _at_latest_step(draft: Draft, row: RunRow | None) -> Draft:
    """A decision about the newest checkpoint names it; without one there is nothing to decide about."""
    facts = draft.effects.checkpoint
    if facts is None or not facts.decision or facts.step_index != LATEST_STEP:
        return draft
    latest = None if row is None else row.latest_step()
    named = None if latest is None else _replace(facts, agent=latest[0], step_index=latest[1])
    return _replace(draft, facts=with_effects(draft.facts, checkpoint=named))


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
        facts = with_effects(facts, born=await _born(plan, principal, draft, dialect))
    else:
        run = row.run
        if draft.effects.report is not None and facts.duration_ms is None and TARGET_STATUS.get(draft.type) in TERMINAL:
            facts = _replace(facts, duration_ms=plan.now - (row.started_at or row.created_at))
    if draft.type in TOOL_TYPES:
        facts, data = paired(row, draft.type, facts, data)
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


async def _born(plan: Plan, principal: Principal, draft: Draft, dialect: str) -> Born:
    ref = draft.run
    trace_id = ref.trace_id if isinstance(ref, RunByTrace) else plan.ids.uuid().replace("-", "")
    return Born(
        run_id=plan.ids.uuid(),
        thread_id="" if isinstance(ref, RunById) else ref.thread_id,
        trace_id=trace_id,
        foreign_id=ref.foreign_id if isinstance(ref, RunByForeignId) else None,
        implicit=not draft.effects.fills,
        created_by=principal.user_id,
        parent_key=draft.effects.parent_key,
        resumed_from=await _resumed_from(plan, principal.org, draft),
        source=dialect,
    )


async def _resumed_from(plan: Plan, org: int, draft: Draft) -> str | None:
    """The run that a start goes on from: the thread's newest, when that has ended."""
    if draft.effects.born is not None:
        return draft.effects.born.resumed_from
    if not isinstance(draft.run, RunByTrace) or not draft.run.reopen:
        return None
    thread = await plan.thread(org, draft.run.thread_id)
    newest = None if thread is None or not thread.newest_run else await plan.run_by_number(thread.newest_run)
    return newest.run_id if newest is not None and newest.is_terminal() else None


def _resuming(draft: Draft, row: RunRow) -> Draft:
    ref = draft.run if not isinstance(draft.run, OpenRun) else OpenRun(row.thread_id)
    born = Born("", row.thread_id, "", resumed_from=row.run_id)
    return _replace(draft, run=ref, facts=with_effects(draft.facts, born=born))


async def _with_parent(plan: Plan, org: int, draft: Draft, parent_key: str) -> Draft:
    """The draft with its parent's run id in place of the name that its sender has for it, where that is known."""
    parent = await plan.run(org, RunByForeignId(parent_key.removeprefix(FOREIGN), ""))
    if parent is None:
        return draft
    return _replace(draft, facts=with_effects(draft.facts, parent_key=f"run:{parent.run_id}"))


async def _with_history(plan: Plan, org: int, draft: Draft) -> Draft:
    """The draft with its history kept, its node and its digest filled in."""
    facts = draft.effects.checkpoint
    if facts is None or facts.decision:
        return draft
    kept = Kept(b"", 0, b"") if draft.history is None else await keep_history(plan, org, draft.history)
    digest = hashlib.sha256(kept.node + kept.metas + msgspec.json.format(draft.data, indent=-1)).hexdigest()
    filled = _replace(facts, node=kept.node.hex(), length=kept.length, metas=kept.metas.hex(), digest=digest)
    return _replace(draft, facts=with_effects(draft.facts, checkpoint=filled), history=None)


async def _same_checkpoint(plan: Plan, row: RunRow, draft: Draft, agent: AgentRow) -> Stored | None:
    """The same checkpoint with the same content again stores nothing."""
    facts = draft.effects.checkpoint
    if facts is None or facts.decision or facts.initial:
        return None
    if draft.facts.client_seq is not None:
        return None  # its number has to arrive; a repeat of it is known by its id
    if row.is_first_step(agent.name, facts.step_index):
        return None
    known = await plan.checkpoint(row.run, agent.name, facts.step_index)
    if known is None or known.initial or known.digest != facts.digest:
        return None
    return Stored(known.position, known.seq, row.run_id, agent.name, True, False, row.pending)
