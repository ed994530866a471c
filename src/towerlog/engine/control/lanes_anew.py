"""Lanes made anew whose row was lost, as far as the log tells of them.

Who held one does not stand there with its key: that lease counts as one that has run out, so that its holder is told to
stop, and the run is claimed again under the next epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from towerlog.model.agent import DEFAULT_AGENT, AgentRow
from towerlog.model.event import Event
from towerlog.model.lane import Lane, QueueState
from towerlog.model.run import RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.store.base import Store

RUNS_AT_ONCE = 500


async def lanes_anew(
    store: Store,
    org: int,
    runs: Iterable[RunRow],
    threads: Mapping[str, ThreadRow],
    name_of: Callable[[int], AgentRow | None],
    steady_ms: int,
) -> dict[int, Lane]:
    """By run, of runs that were made for workers and have no lane.

    `name_of`: an agent by its number. `steady_ms`: since when they wait: the log has times of the wall clock alone.
    """
    made = [row for row in runs if row.has_lane]
    found: dict[int, Lane] = {}
    for start in range(0, len(made), RUNS_AT_ONCE):
        page = made[start : start + RUNS_AT_ONCE]
        known = {lane.run for lane in await store.lanes_of(org, [row.run for row in page])}
        for row in page:
            if row.run not in known:
                [first] = await store.events(org, row.run, 0, 1)
                assert isinstance(first, Event)  # whoever calls has found the log to be whole
                agent = name_of(first.agent)
                name = DEFAULT_AGENT if agent is None else agent.name
                found[row.run] = _lane(row, first, name, threads.get(row.thread_id), steady_ms)
    return found


def _lane(row: RunRow, first: Event, agent: str, thread: ThreadRow | None, steady_ms: int) -> Lane:
    state = _state(row, thread)
    return Lane(
        run=row.run,
        org=row.org,
        state=state,
        agent=agent,
        queued_at=steady_ms,
        labels=msgspec.json.decode(first.data or b"{}").get("labels") or {},
        queue_position=first.position,
        epoch=row.lease_epoch,
        attempt=row.attempt,
        phase=row.phase,
        claimed_at=steady_ms if state is QueueState.HELD else None,
        expires_at=steady_ms if state is QueueState.HELD else None,
    )


def _state(row: RunRow, thread: ThreadRow | None) -> QueueState:
    if row.is_terminal():
        return QueueState.DONE
    if row.status is Status.QUEUED:
        is_next = thread is None or thread.lane_runs[:1] == (row.run,)
        return QueueState.QUEUED if is_next else QueueState.BLOCKED
    # Somebody works on it: without a claim, or under a lease.
    return QueueState.HELD if row.lease_epoch else QueueState.DONE
