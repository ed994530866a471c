"""Sub-agents end with the run above them, however many there are, and whoever or whatever ends that run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.commit.turn import MAX_RELOADS
from towerlog.engine.core import EngineSettings
from towerlog.engine.plan import plan as planning
from towerlog.engine.verify import verify_org
from towerlog.model.command import Append, CancelRun, ClaimRun, CreateRun, KillRun
from towerlog.model.event import Draft, EventType, History, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.liveness import Thresholds
from towerlog.model.outcome import Stored
from towerlog.model.run import MAX_OPEN_RUNS, Status

E = EventType
MANY = MAX_RELOADS + 16
"""More than could be loaded one by one."""


def state(trace_id: str, parent: str | None = None, status: str = "in_progress", thread: str = "thread") -> Draft:
    """A checkpoint, which is all that is told of a sub-agent."""
    key = None if parent is None else f"trace:{parent}"
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(1, status), parent_key=key))
    history = History([b'{"role":"user"}'], None)
    return draft(E.CHECKPOINT, traced(trace_id, thread), facts=facts, history=history)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig whose cancels are forced by the next sweep."""
    async with open_rig(tmp_path, settings=EngineSettings(cancel_deadline_seconds=0)) as opened:
        yield opened


async def begin(rig: Rig, count: int, *, told: bool = True) -> str:
    """A run with so many sub-agents, as a restart finds them; `told`: it has sent a state of its own. Its id."""
    start = draft(E.RUN_STARTED, traced("top"), facts=Facts(effects=Effects(is_start=True)))
    results = await rig.append(start, *([state("top")] if told else []))
    await rig.append(*(state(f"sub-{number}", "top") for number in range(count)))
    rig.engine.forget()
    [run_id] = {result.run_id for result in results}  # type: ignore[union-attr]  # none is refused
    return run_id


async def statuses(rig: Rig) -> Counter[Status]:
    return Counter(row.status for row in (await rig.store.rows(rig.org)).runs)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("count", [3, MANY, MAX_OPEN_RUNS - 1])
async def test_an_end_ends_all_of_them_in_its_own_commit(rig: Rig, count: int, told: bool) -> None:
    await begin(rig, count, told=told)
    end = draft(E.RUN_COMPLETED, traced("top"))
    await rig.append(*((end,) if told else (state("top"), end)))
    assert await statuses(rig) == {Status.COMPLETED: count + 1}
    assert await verify_org(rig.store, rig.org) == 0


@pytest.mark.parametrize("command", [KillRun, CancelRun])
async def test_a_cancel_ends_all_of_them_and_each_once(rig: Rig, command: type[CancelRun | KillRun]) -> None:
    run_id = await begin(rig, MANY)
    await rig.do(command(run_id))
    rig.engine.forget()
    await rig.engine.sweep()
    await rig.engine.sweep()
    assert await statuses(rig) == {Status.CANCELLED: MANY + 1}
    assert not any(event.late for event in await rig.log()), "none was ended twice"


async def test_what_is_below_a_sub_agent_ends_with_it(rig: Rig) -> None:
    await begin(rig, 1)
    await rig.append(state("below", "sub-0"), state("further", "below", "completed"), state("beside", "elsewhere"))
    await rig.append(draft(E.RUN_FAILED, traced("top")))
    assert await statuses(rig) == {Status.FAILED: 3, Status.COMPLETED: 1, Status.RUNNING: 1}


async def test_a_worker_that_is_lost_for_good_loses_its_sub_agents_too(rig: Rig) -> None:
    run_id = (await rig.do(CreateRun("thread"))).run_id
    for _ in range(3):
        await rig.do(ClaimRun(run_id, "w", 60_000))
        rig.clock.advance(60_000)
    row = await rig.run(run_id)
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(1, "in_progress")))
    own = draft(E.CHECKPOINT, RunById(run_id), facts=facts, history=History([], None))
    await rig.do(Append("checkpoints", [own, *(state(f"sub-{n}", row.trace_id) for n in range(MANY))]))
    rig.engine.forget()
    await rig.engine.sweep()
    assert await statuses(rig) == {Status.LOST: 1, Status.FAILED: MANY}


# Many threads at once


async def begin_in_threads(rig: Rig, threads: int, below: int = 1, *, told: bool = True) -> None:
    """In each of these threads a run with a chain of sub-agents, as a restart finds them."""
    for first in range(0, threads, 20):
        for number in range(first, min(first + 20, threads)):
            thread = f"t{number}"
            start = Facts(effects=Effects(is_start=True))
            chain = [f"top-{number}", *(f"sub-{number}-{depth}" for depth in range(below))]
            await rig.append(
                draft(E.RUN_STARTED, traced(chain[0], thread), facts=start),
                *([state(chain[0], thread=thread)] if told else []),
                *(state(sub, top, thread=thread) for top, sub in pairwise(chain)),
            )
    rig.engine.forget()


def end_of(number: int) -> Draft:
    return draft(E.RUN_COMPLETED, traced(f"top-{number}", f"t{number}"))


@pytest.mark.parametrize("told", [True, False])
async def test_a_batch_may_end_runs_of_any_number_of_threads(rig: Rig, told: bool) -> None:
    """How often the group is placed anew does not depend on how many threads there are."""
    await begin_in_threads(rig, MANY, told=told)
    ends = [
        one
        for number in range(MANY)
        for one in (*(() if told else (state(f"top-{number}", thread=f"t{number}"),)), end_of(number))
    ]
    before = rig.engine.figures()["reloads"]
    await rig.append(*ends)
    assert rig.engine.figures()["reloads"] - before <= 4
    assert await statuses(rig) == {Status.COMPLETED: 2 * MANY}
    assert await verify_org(rig.store, rig.org) == 0


async def test_commands_of_one_group_may_end_runs_of_any_number_of_threads(rig: Rig) -> None:
    await begin_in_threads(rig, MANY)
    before = rig.engine.figures()["reloads"]
    await asyncio.gather(*(rig.do(Append("steps", [end_of(number)])) for number in range(MANY)))
    assert rig.engine.figures()["reloads"] - before <= 4
    assert await statuses(rig) == {Status.COMPLETED: 2 * MANY}


async def test_a_sweep_may_lose_runs_of_any_number_of_threads(tmp_path: Path) -> None:
    settings = EngineSettings(thresholds=Thresholds(silent_ms=60_000, lost_ms=120_000))
    async with open_rig(tmp_path, settings=settings) as rig:
        await begin_in_threads(rig, MANY, below=0)
        rig.clock.advance(100_000)
        for number in range(MANY):
            await rig.append(state(f"sub-{number}", f"top-{number}", thread=f"t{number}"))
        rig.engine.forget()
        rig.clock.advance(50_000)
        before = rig.engine.figures()["reloads"]
        await rig.engine.sweep()
        assert rig.engine.figures()["reloads"] - before <= 8
        assert await statuses(rig) == {Status.LOST: MANY, Status.FAILED: MANY}
        assert await verify_org(rig.store, rig.org) == 0


async def test_a_kill_may_end_runs_of_any_number_of_threads(rig: Rig) -> None:
    await begin_in_threads(rig, MANY)
    start = draft(E.RUN_STARTED, traced("all", "t"), facts=Facts(effects=Effects(is_start=True)))
    [begun] = await rig.append(start)
    assert isinstance(begun, Stored)
    for number in range(MANY):
        facts = Facts(effects=Effects(is_start=True, parent_key=f"run:{begun.run_id}"))
        await rig.append(draft(E.RUN_STARTED, traced(f"top-{number}", f"t{number}"), facts=facts))
    rig.engine.forget()
    before = rig.engine.figures()["reloads"]
    await rig.do(KillRun(begun.run_id))
    assert rig.engine.figures()["reloads"] - before <= 4
    for _ in range(3):
        await rig.engine.sweep()
    assert await statuses(rig) == {Status.CANCELLED: 2 * MANY + 1}


# More than one commit should have


async def test_a_batch_that_ends_very_many_is_answered_when_all_of_it_is_stored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on in further commits, of which none is much larger than one should be."""
    await begin_in_threads(rig, 12, below=20)
    monkeypatch.setattr(planning, "MAX_PLAN_EVENTS", 40)
    commits: list[int] = []
    writer = rig.engine._writer
    committed = writer._committed
    monkeypatch.setattr(writer, "_committed", lambda commit: (commits.append(len(commit.events)), committed(commit)))
    ends, step = [end_of(number) for number in range(12)], draft(E.STEP, traced("after", "t0"), event_id="after")
    batch = asyncio.create_task(rig.do(Append("steps", [*ends, draft(E.STEP, traced("last", "t1"))])))
    later = asyncio.create_task(rig.do(Append("steps", [step])))
    other = asyncio.create_task(rig.do(Append("steps", [step]), principal=await rig.make_org("other")))
    answer = await batch
    assert (await statuses(rig))[Status.COMPLETED] == 12 * 21
    results = [one for one in answer.results if isinstance(one, Stored)]
    assert [one.late or one.duplicate for one in results] == [False] * 13
    events = await rig.log()
    assert results[0].position < (await later).results[0].position < len(events), "between two parts of it"
    assert [events[one.position - 1].type for one in results] == [*[E.RUN_COMPLETED] * 12, E.STEP]
    assert len(commits) >= 6
    assert max(commits) <= 40 + 21
    assert (await other).results[0].position == 1
    assert await verify_org(rig.store, rig.org) == 0
