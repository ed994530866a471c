"""The queue, read back: what waits, what is held, and by whom.

A worker that may not read sees of others only that a run is held: not by whom, nor what people have told its agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from towerlog.engine.alerts.busy import Busy, kind_of
from towerlog.engine.alerts.conditions import is_served
from towerlog.engine.control.holders import lane_view
from towerlog.engine.queries.context import QueryContext
from towerlog.model import outcome as o
from towerlog.model import question as q
from towerlog.model.lane import Lane, QueueState
from towerlog.model.principal import Principal
from towerlog.model.run import RunRow

_replace = msgspec.structs.replace
MAX_LANES = 1000
MAX_LANES_HELD = 5000
"""How many of the queue, and how many held ones, are looked at for a list."""
MAX_LANES_LIKE_IT = 1000
"""Held lanes among whose workers one is looked for that serves a queued one."""
LANES_AT_ONCE = 100
"""Of them, whose rows are in memory together."""


class LaneService(NamedTuple):
    """Of a queued lane: that no worker serves it; or one that does and is at work, where the caller may know of it."""

    unserved: bool = False
    busy_worker: str | None = None


async def answer(source: QueryContext, principal: Principal, command: q.ListLanes | q.ListWorkers) -> o.Outcome:
    """The queue at a glance, or the workers that hold something of it or ask for something."""
    wall_ms, now = source.serving.now()
    wall_of = source.serving.walls()
    if isinstance(command, q.ListWorkers):
        lanes = await source.store.lanes_held(principal.org, MAX_LANES_HELD)
        wanted = [
            lane.on_wall(wall_of)
            for lane in lanes
            if lane.is_held(now) and command.worker_id in (None, lane.worker_id) and _may_see(principal, lane)
        ]
        asked = {
            who: wall_of(at)
            for who, key_id, at in source.workers.lately(principal.org, now)
            if command.worker_id in (None, who) and (principal.may_read() or key_id == principal.key_id)
        }
        return o.Page(await _workers(source, principal, wanted, asked, command.limit))
    lanes = await source.store.lanes(principal.org, MAX_LANES, command.statuses)
    found = await views_of(source, principal, lanes)
    service = await service_of(source, principal, lanes)
    found = [_replace(view, **service.get(view.lane.run, LaneService())._asdict()) for view in found]
    queued, held, oldest = await source.store.lane_counts(principal.org)
    oldest = None if oldest is None else wall_of(oldest)
    return o.LaneCounts(o.Page(found), queued, held, oldest, wall_ms, sum(one.unserved for one in service.values()))


async def service_of(source: QueryContext, principal: Principal, lanes: Sequence[Lane]) -> dict[int, LaneService]:
    """Run number → whether a worker serves it, of those lanes that are queued."""
    queued = [lane for lane in lanes if lane.state is QueueState.QUEUED]
    if not queued:
        return {}
    now = source.serving.now().serving_ms
    busy = Busy(await source.store.lanes_held(principal.org, MAX_LANES_LIKE_IT), now)
    found: dict[int, LaneService] = {}
    for lane in queued:
        held = busy.lane_for(kind_of(lane))
        worker_id = held.worker_id if held is not None and _may_see(principal, held) else None
        found[lane.run] = LaneService(not is_served(lane, source.workers, busy, now), worker_id)
    return found


async def views_of(source: QueryContext, principal: Principal, lanes: Sequence[Lane]) -> list[o.LaneView]:
    """Lanes as their list shows them; one whose run is gone is left out."""
    runs = await source.store.runs_by_number(principal.org, [lane.run for lane in lanes]) if lanes else {}
    agents = await source.store.agents_named(principal.org, {row.agent or "" for row in runs.values()})
    wall_of = source.serving.walls()
    shown = [_shown(principal, runs[lane.run], lane.on_wall(wall_of)) for lane in lanes if lane.run in runs]
    return [o.LaneView(lane_view(principal, row, lane, agents.get(row.agent or "")), lane) for row, lane in shown]


def _may_see(principal: Principal, lane: Lane) -> bool:
    return principal.may_read() or lane.key_id == principal.key_id


def _shown(principal: Principal, row: RunRow, lane: Lane) -> tuple[RunRow, Lane]:
    if _may_see(principal, lane):
        return row, lane
    return _replace(row, pending=(), questions=()), _replace(lane, worker_id=None)


async def _workers(
    source: QueryContext, principal: Principal, held: list[Lane], asked: Mapping[str, int], limit: int
) -> list[o.WorkerView]:
    """`asked`: when each worker has asked for work last, by the wall clock."""
    run_ids: dict[int, str] = {}
    for start in range(0, len(held), LANES_AT_ONCE):
        numbers = [lane.run for lane in held[start : start + LANES_AT_ONCE]]
        runs = await source.store.runs_by_number(principal.org, numbers)
        run_ids |= {number: row.run_id for number, row in runs.items()}
    by_worker: dict[str, list[Lane]] = {who: [] for who in asked}
    for lane in held:
        if lane.state is QueueState.HELD and lane.run in run_ids:
            by_worker.setdefault(lane.worker_id or "", []).append(lane)
    return [
        o.WorkerView(
            worker,
            max((*(lane.last_heartbeat or 0 for lane in lanes), *([asked[worker]] if worker in asked else []))),
            tuple(run_ids[lane.run] for lane in lanes),
        )
        for worker, lanes in sorted(by_worker.items())
    ][:limit]
