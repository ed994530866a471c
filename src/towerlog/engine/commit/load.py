"""Looking up what a group needs in a few questions instead of one a draft."""

from __future__ import annotations

from collections.abc import Iterable

from towerlog.engine.commit.plan import Plan, RefKey, ref_key
from towerlog.model.event import Draft, OpenRun, RunByForeignId, RunById, RunByTrace


async def prefetch(plan: Plan, drafts: Iterable[tuple[int, Draft]]) -> None:
    """Fills the plan's cache with the runs, agents and event ids that these (org, draft) pairs name."""
    unknown_runs: dict[RefKey, tuple[int, RunById | RunByForeignId | RunByTrace]] = {}
    unknown_agents: dict[tuple[int, str], None] = {}
    with_ids: list[tuple[int, Draft]] = []
    agents = plan.cache.agents
    for org, draft in drafts:
        row = plan.run_cached(org, draft.run)
        if row is None and not isinstance(draft.run, OpenRun):
            unknown_runs[ref_key(org, draft.run)] = (org, draft.run)
        if draft.agent is not None and (org, draft.agent) not in agents:
            unknown_agents[(org, draft.agent)] = None
        if draft.event_id is not None and (row is None or not plan.is_new_id(row.run, draft.event_id)):
            with_ids.append((org, draft))
    if unknown_runs:
        await _prefetch_runs(plan, unknown_runs)
    if unknown_agents:
        await _prefetch_agents(plan, list(unknown_agents))
    if with_ids:
        await _prefetch_ids(plan, with_ids)


async def _prefetch_runs(plan: Plan, wanted: dict[RefKey, tuple[int, RunById | RunByForeignId | RunByTrace]]) -> None:
    found = await plan.unit.runs_by_ref(list(wanted.values()))
    for (key, (org, ref)), row in zip(wanted.items(), found, strict=True):
        if row is None:
            plan.absent.add(key)
        else:
            plan.remember_run(org, ref, row)


async def _prefetch_agents(plan: Plan, wanted: list[tuple[int, str]]) -> None:
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
        row = plan.run_cached(org, draft.run)
        if row is not None and draft.event_id is not None and not plan.is_new_id(row.run, draft.event_id):
            wanted.append((row.run, draft.event_id))
    if wanted:
        plan.ids_asked.update(wanted)
        plan.ids_seen |= await plan.unit.events_by_id(wanted)
