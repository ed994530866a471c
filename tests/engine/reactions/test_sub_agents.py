"""Sub-agents end with the run above them, however many there are, and whoever or whatever ends that run."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.audit import verify_org
from towerlog.engine.commit.turn import MAX_RELOADS
from towerlog.engine.core import EngineSettings
from towerlog.engine.reactions.sub_agents import MAX_ENDED_BELOW
from towerlog.model.command import Append, CancelRun, ClaimRun, CreateRun, KillRun
from towerlog.model.event import Draft, EventType, History, RunById
from towerlog.model.facts import CheckpointFacts, Effects, Facts
from towerlog.model.run import Status

E = EventType
MANY = MAX_RELOADS + 16
"""More than could be loaded one by one."""


def state(trace_id: str, parent: str | None = None, status: str = "in_progress") -> Draft:
    """A checkpoint, which is all that is told of a sub-agent."""
    key = None if parent is None else f"trace:{parent}"
    facts = Facts(effects=Effects(checkpoint=CheckpointFacts(1, status), parent_key=key))
    return draft(E.CHECKPOINT, traced(trace_id), facts=facts, history=History([b'{"role":"user"}'], None))


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
@pytest.mark.parametrize("count", [3, MANY, 2 * MAX_ENDED_BELOW])
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
