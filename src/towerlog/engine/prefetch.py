"""Looking up what a group needs in a few questions instead of one a draft."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.engine.plan import Plan, ref_key
from towerlog.model.event import Draft, OpenRun, RunByForeignId, RunById, RunByTrace


async def prefetch(plan: Plan, drafts: Iterable[tuple[int, Draft]]) -> None:
    """Fills the plan's cache with the runs, agents and event ids that these (org, draft) pairs name."""
    drafts = list(drafts)
    await _prefetch_runs(plan, drafts)
    await _prefetch_agents(plan, drafts)
    await _prefetch_ids(plan, drafts)


async def _prefetch_runs(plan: Plan, drafts: list[tuple[int, Draft]]) -> None:
    wanted: dict[tuple[int, str, str], tuple[int, RunById | RunByForeignId | RunByTrace]] = {}
    for org, draft in drafts:
        ref = draft.run
        if not isinstance(ref, OpenRun) and plan.run_cached(org, ref) is None:
            wanted[ref_key(org, ref)] = (org, ref)
    if not wanted:
        return
    found = await plan.unit.runs_by_ref(list(wanted.values()))
    for (key, (org, ref)), row in zip(wanted.items(), found, strict=True):
        if row is None:
            plan.absent.add(key)
        else:
            plan.remember_run(org, ref, row)


async def _prefetch_agents(plan: Plan, drafts: list[tuple[int, Draft]]) -> None:
    named = {(org, draft.agent) for org, draft in drafts if draft.agent is not None}
    wanted = [key for key in named if plan.cache.agents.get(key) is None]
    if not wanted:
        return
    found = await plan.unit.agents_by_name(wanted)
    for org, name in wanted:
        row = found.get((org, name))
        if row is None:
            plan.absent.add((org, "\x1fagent", name))
        else:
            plan.cache.agents[(org, name)] = row


async def _prefetch_ids(plan: Plan, drafts: list[tuple[int, Draft]]) -> None:
    wanted: list[tuple[int, str]] = []
    for org, draft in drafts:
        if draft.event_id is not None:
            row = plan.run_cached(org, draft.run)
            if row is not None and not plan.is_new_id(row.run, draft.event_id):
                wanted.append((row.run, draft.event_id))
    if wanted:
        plan.ids_asked.update(wanted)
        plan.ids_seen |= await plan.unit.events_by_id(wanted)
