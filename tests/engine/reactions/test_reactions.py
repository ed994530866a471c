"""What follows from a change of a run's status: its thread, its lane, the next run's turn; in the order of the list."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine import verbs
from towerlog.engine.reactions import lanes, threads
from towerlog.model.command import CreateRun
from towerlog.model.event import EventType, RunById
from towerlog.model.lane import QueueState
from towerlog.model.run import RunRow

E = EventType


async def state(rig: Rig, run_id: str) -> QueueState:
    """Where a run's lane is."""
    lane = await rig.store.lane(rig.org, (await rig.run(run_id)).run)
    assert lane is not None
    return lane.state


async def test_a_thread_follows_the_beginnings_and_ends_of_its_runs(rig: Rig) -> None:
    first, second = traced("x", "t"), traced("y", "t")
    await rig.append(draft(run=first), draft(run=second))
    thread = await rig.store.thread(rig.org, "t")
    assert thread is not None
    assert (thread.run_count, len(thread.open_runs)) == (2, 2)
    await rig.append(draft(E.RUN_PAUSED, first), draft(E.RUN_COMPLETED, second))
    after = await rig.store.thread(rig.org, "t")
    assert after is not None
    assert after.open_runs == thread.open_runs[:1]


async def test_an_end_closes_the_lane_and_frees_the_next(rig: Rig) -> None:
    runs = [(await rig.do(CreateRun("t"))).run_id for _ in range(2)]
    assert [await state(rig, run_id) for run_id in runs] == [QueueState.QUEUED, QueueState.BLOCKED]
    await rig.append(draft(E.RUN_CANCELLED, RunById(runs[0])))
    assert [await state(rig, run_id) for run_id in runs] == [QueueState.DONE, QueueState.QUEUED]


async def test_a_run_that_somebody_works_on_without_a_claim_is_nobody_elses(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("t"))).run_id
    await rig.append(draft(E.RUN_STARTED, RunById(run_id)))
    assert await state(rig, run_id) is QueueState.DONE


async def test_each_reaction_is_told_what_was_before_and_after(rig: Rig) -> None:
    told: list[tuple[Any, Any, EventType]] = []

    def note(_plan: Any, before: RunRow | None, after: RunRow, event: Any) -> None:
        told.append((before and before.status.value, after.status.value, event.type))

    rig.engine._writer._reactions = verbs.REACTIONS._replace(on_status=(*verbs.REACTIONS.on_status, note))
    run = traced("x")
    await rig.append(draft(E.STEP, run), draft(E.STEP, run), draft(E.RUN_PAUSED, run), draft(E.RUN_COMPLETED, run))
    assert told == [
        (None, "running", E.STEP),
        ("running", "paused", E.RUN_PAUSED),
        ("paused", "completed", E.RUN_COMPLETED),
    ]


@pytest.mark.parametrize("missing", [threads.follow_runs, lanes.close_lane, lanes.free_next])
async def test_without_any_of_them_something_is_missing(rig: Rig, missing: Any) -> None:
    left = tuple(one for one in verbs.REACTIONS.on_status if one is not missing)
    rig.engine._writer._reactions = verbs.REACTIONS._replace(on_status=left)
    runs = [(await rig.do(CreateRun("t"))).run_id for _ in range(2)]
    await rig.append(draft(E.RUN_CANCELLED, RunById(runs[0])))
    thread = await rig.store.thread(rig.org, "t")
    whole = (1, QueueState.DONE, QueueState.QUEUED)
    found = (0 if thread is None else len(thread.lane_runs), await state(rig, runs[0]), await state(rig, runs[1]))
    assert found != whole
