"""A checkpoint that arrives after its run's end is kept like any other, and a rebuild agrees."""

from __future__ import annotations

import itertools

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.verify import verify_org
from towerlog.errors import NotFound
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.command import KillRun
from towerlog.model.event import Draft, EventType, History
from towerlog.model.facts import LATEST_STEP, CheckpointFacts, Effects, Facts
from towerlog.model.outcome import Page, Stored
from towerlog.model.question import GetCheckpoint, LatestCheckpoint, ListApprovals
from towerlog.model.retention import EraseRun

E = EventType
ENDS = {E.RUN_COMPLETED: "completed", E.RUN_FAILED: "error", E.BUDGET_EXCEEDED: "budget_exceeded"}


def of_checkpoint(kind: EventType, facts: CheckpointFacts, thread: str, *, starts: bool = False) -> Draft:
    """An event that brings a checkpoint; one that tells a state has as many messages as its step says."""
    told = Facts(effects=Effects(is_start=starts, checkpoint=facts))
    history = History([b'"said"'] * facts.step_index, None) if kind is E.CHECKPOINT else None
    data = {"step_index": facts.step_index, "status": facts.status}
    return draft(kind, traced("x", thread), data, facts=told, history=history, agent="a")


def state(step: int, word: str = "in_progress", thread: str = "t") -> Draft:
    """A checkpoint."""
    return of_checkpoint(E.CHECKPOINT, CheckpointFacts(step, word), thread)


def end(kind: EventType = E.RUN_COMPLETED, thread: str = "t") -> Draft:
    """An end as `checkpoints` tells it."""
    return of_checkpoint(kind, CheckpointFacts(LATEST_STEP, ENDS[kind], decision=True), thread)


def start(thread: str = "t") -> Draft:
    """A start as `checkpoints` tells it."""
    return of_checkpoint(E.RUN_STARTED, CheckpointFacts(0, "in_progress", initial=True), thread, starts=True)


async def latest(rig: Rig, thread: str = "t") -> tuple[int, str, int]:
    """Step, status and length of the state that a thread resumes from."""
    view = await rig.do(LatestCheckpoint(thread))
    assert isinstance(view, CheckpointView)
    return view.row.step_index, view.row.status, len(view.history)


async def agrees(rig: Rig) -> None:
    """A rebuild gives the rows that are there."""
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("at_once", [True, False])
async def test_the_highest_step_is_the_latest_in_whichever_order_it_comes(
    rig: Rig, kind: EventType, at_once: bool
) -> None:
    for number, order in enumerate(itertools.permutations(range(4))):
        thread = f"t{number}"
        every = [start(thread), state(1, thread=thread), state(2, thread=thread), end(kind, thread)]
        told = [every[index] for index in order]
        for group in [told] if at_once else [[one] for one in told]:
            await rig.append(*group)
        assert await latest(rig, thread) == (2, ENDS[kind], 2), order
    await agrees(rig)


async def test_it_is_readable_by_its_step_and_a_repeat_adds_nothing(rig: Rig) -> None:
    first, *_ = await rig.append(state(1), end())
    (late,) = await rig.append(state(2))
    (again,) = await rig.append(state(2))
    assert isinstance(first, Stored)
    assert isinstance(late, Stored)
    assert isinstance(again, Stored)
    assert (late.late, late.duplicate, again.duplicate, again.seq) == (True, False, True, late.seq)
    rig.engine.forget()
    (cold,) = await rig.append(state(2))
    assert isinstance(cold, Stored)
    assert cold.duplicate
    view = await rig.do(GetCheckpoint(first.run_id, 2))
    assert (view.row.revision, len(view.history)) == (1, 2)
    (revised,) = await rig.append(state(2, "idle"))
    assert isinstance(revised, Stored)
    assert not revised.duplicate
    assert (await rig.do(GetCheckpoint(first.run_id, 2))).row.revision == 2
    await agrees(rig)


async def test_a_late_wait_is_in_nobodys_inbox(rig: Rig) -> None:
    (first,) = await rig.append(state(1))
    assert isinstance(first, Stored)
    await rig.do(KillRun(first.run_id))
    await rig.append(state(2, "waiting_for_approval"))
    assert await latest(rig) == (2, "rejected", 2)
    page = await rig.do(ListApprovals(10))
    assert isinstance(page, Page)
    assert page.rows == []
    await rig.append(state(3))
    assert await latest(rig) == (3, "in_progress", 3)
    await agrees(rig)


async def test_a_second_end_and_a_late_start_leave_the_states_alone(rig: Rig) -> None:
    await rig.append(end(), start())
    with pytest.raises(NotFound):
        await latest(rig)
    await rig.append(state(1), end(E.RUN_FAILED))
    assert await latest(rig) == (1, "completed", 1)
    await agrees(rig)


async def test_what_was_erased_does_not_come_back(rig: Rig) -> None:
    (first, _) = await rig.append(state(1), end())
    assert isinstance(first, Stored)
    await rig.do(EraseRun(first.run_id))
    for _ in range(2):
        (late,) = await rig.append(state(1))
        assert isinstance(late, Stored)
    assert late.duplicate
    with pytest.raises(NotFound):
        await latest(rig)
    await agrees(rig)
