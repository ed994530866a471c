"""Where a run comes from: its ids and its thread, and which run of its thread it goes on from."""

from __future__ import annotations

import msgspec

from towerlog.engine.load.own_runs import ref_of_parent, run_before
from towerlog.engine.plan.plan import Plan
from towerlog.model.event import Draft, OpenRun, RunByForeignId, RunById, RunByTrace
from towerlog.model.facts import Facts, Origin, with_effects
from towerlog.model.naming import names_agent
from towerlog.model.principal import Principal
from towerlog.model.run import PLACEHOLDER_AGENTS, RunRow


def origin_of(plan: Plan, principal: Principal, draft: Draft, dialect: str) -> Origin:
    """What is known of the run that a draft begins."""
    ref = draft.run
    trace_id = ref.trace_id if isinstance(ref, RunByTrace) else plan.ids.uuid().replace("-", "")
    return Origin(
        run_id=plan.ids.uuid(),
        thread_id="" if isinstance(ref, RunById) else ref.thread_id,
        trace_id=trace_id,
        foreign_id=ref.foreign_id if isinstance(ref, RunByForeignId) else None,
        implicit=not draft.effects.is_start,
        created_by=principal.user_id,
        parent_key=draft.effects.parent_key,
        resumed_from=_resumed_from(plan, principal.org, draft),
        source=dialect,
        unnamed_thread=isinstance(ref, RunByForeignId) and not ref.names_thread,
    )


def named_or_assumed(draft: Draft, row: RunRow | None, agent: str) -> Facts:
    """The facts of a draft of this agent, with whether it names the agent of its run; `row`: that before it.

    A part of a run names none. Of a run that begins with one, or without an agent, something else stands for it.
    """
    facts = draft.facts
    if draft.part and (row is None or names_agent(row, agent)):
        facts = msgspec.structs.replace(facts, part=True)
    is_assumed = draft.part or (draft.agent is None and draft.agent_default not in PLACEHOLDER_AGENTS)
    return with_effects(facts, assumes_agent=draft.agent_default) if row is None and is_assumed else facts


def named_agent(draft: Draft) -> str | None:
    """The agent that a draft names for its run: a part of a run names none."""
    return None if draft.part else draft.agent


def _resumed_from(plan: Plan, org: int, draft: Draft) -> str | None:
    """The run that a start goes on from: the thread's own one, which a runner takes up whether or not it ended; of
    those that are open, one of the same agent alone.

    A child of a run of the same thread goes on from none.
    """
    if draft.effects.origin is not None:
        return draft.effects.origin.resumed_from
    ref = draft.run
    if not isinstance(ref, RunByTrace) or not ref.reopen:
        return None
    thread = plan.thread(org, ref.thread_id)
    named = ref_of_parent(draft.effects.parent_key or "", ref.thread_id)
    parent = None if thread is None or named is None else plan.run_state(org, named)
    if thread is None or (parent is not None and parent.row.thread_id == ref.thread_id):
        return None
    before = run_before(thread, named_agent(draft), plan.run_by_number, lambda one: plan.run(org, one))
    return None if before is None else before.run_id


def resuming(draft: Draft, row: RunRow) -> Draft:
    """A start as that of a new run, which goes on from one that has ended."""
    ref = draft.run if not isinstance(draft.run, OpenRun) else OpenRun(row.thread_id)
    origin = Origin("", row.thread_id, "", resumed_from=row.run_id)
    return msgspec.structs.replace(draft, run=ref, facts=with_effects(draft.facts, origin=origin))
