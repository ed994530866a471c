"""Whatever one command or one sweep causes: it is placed and looked up in steps, of which each is short.

Between two steps the event loop may go on with something else. How long a step takes is measured on a real server
(`tests/acceptance/test_loop_blocks.py`); here it is counted what is done in one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.reactions.test_sub_agents import state
from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.engine.core import EngineSettings
from towerlog.engine.load.rows import Needs
from towerlog.engine.load.steps import Steps
from towerlog.engine.plan.plan import Plan
from towerlog.model.command import Append, CancelRun, Claim, CreateRun, CreateThread, Deliver, GiveInput, KillRun
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.facts import Effects, Facts
from towerlog.model.liveness import Thresholds

E = EventType
MANY = 150
MAX_EVENTS = 40
MAX_NAMES = 900
"""Of one step: events that are appended, names that are asked for."""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    settings = EngineSettings(
        cancel_deadline_seconds=0, thresholds=Thresholds(silent_ms=600_000, lost_ms=600_000), max_queue=10_000
    )
    async with open_rig(tmp_path, settings=settings) as opened:
        yield opened


def start(run: Any, parent: str | None = None) -> Draft:
    return draft(E.RUN_STARTED, run, facts=Facts(effects=Effects(is_start=True, parent_key=parent)))


async def family(rig: Rig, name: str, count: int = MANY) -> str:
    """A run with so many open children; its id."""
    [top] = await rig.append(start(traced(name, name)))
    run_id = str(getattr(top, "run_id", ""))
    await rig.append(
        *(start(traced(f"{name}-{number}", f"{name}-{number}"), f"run:{run_id}") for number in range(count))
    )
    return run_id


async def told_much(rig: Rig) -> list[str]:
    """Runs that there is something to say to; their ids."""
    refs = [RunByForeignId(f"sdk:{number}", f"t{number}") for number in range(MANY)]
    run_ids = [str(getattr(one, "run_id", "")) for one in await rig.append(*map(start, refs))]
    for run_id in run_ids:
        for _ in range(2):
            await rig.do(GiveInput(run_id, "go on"))
    return run_ids


async def an_end(rig: Rig) -> Any:
    await rig.append(start(traced("top")), state("top"), *(state(f"sub-{number}", "top") for number in range(MANY)))
    return rig.append, draft(E.RUN_COMPLETED, traced("top"))


async def a_cancel(rig: Rig) -> Any:
    return rig.do, CancelRun(await family(rig, "top"))


async def a_kill(rig: Rig) -> Any:
    return rig.do, KillRun(await family(rig, "top"))


async def a_run_that_others_give_way_to(rig: Rig) -> Any:
    for _ in range(MANY):
        await rig.do(CreateRun("t"))
    await rig.do(CreateThread("t", policy="cancel_previous"))
    return rig.do, CreateRun("t")


async def a_reply_that_tells_much(rig: Rig) -> Any:
    await told_much(rig)
    return rig.append, *(draft(E.STEP, RunByForeignId(f"sdk:{number}", f"t{number}")) for number in range(MANY))


async def a_poll_that_is_told_much(rig: Rig) -> Any:
    await told_much(rig)
    refs = tuple(RunByForeignId(f"sdk:{number}", f"t{number}") for number in range(MANY))
    return rig.do, Append("sdk", [], polled=refs)


async def a_delivery(rig: Rig) -> Any:
    return rig.do, Deliver(tuple(await told_much(rig)))


async def a_sweep_of_leases(rig: Rig) -> Any:
    for number in range(MANY):
        await rig.do(CreateRun(f"t{number}"))
        await rig.do(Claim("w", 60_000))
    rig.clock.advance(60_000)
    return (rig.engine.sweep,)


async def a_sweep_of_cancels(rig: Rig) -> Any:
    for name in "abcd":
        await rig.do(CancelRun(await family(rig, name, MANY // 4)))
    return (rig.engine.sweep,)


async def a_sweep_of_the_silent(rig: Rig) -> Any:
    await rig.append(*(start(traced(f"x{number}", f"t{number}")) for number in range(MANY)))
    rig.clock.advance(700_000)
    return (rig.engine.sweep,)


CAUSES: tuple[Callable[[Rig], Awaitable[Any]], ...] = (
    an_end,
    a_cancel,
    a_kill,
    a_run_that_others_give_way_to,
    a_reply_that_tells_much,
    a_poll_that_is_told_much,
    a_delivery,
    a_sweep_of_leases,
    a_sweep_of_cancels,
    a_sweep_of_the_silent,
)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
async def test_nothing_is_done_in_one_piece(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, cause: Callable[[Rig], Awaitable[Any]]
) -> None:
    do, *what = await cause(rig)
    rig.engine.forget()
    done = {"events": 0, "names": 0}
    most, in_steps = dict(done), dict(done)
    append, miss = Plan.append, Needs._miss

    def appended(plan: Plan, *args: Any, **named: Any) -> Any:
        done["events"] += 1
        return append(plan, *args, **named)

    def missed(needs: Needs, missing: Any) -> None:
        done["names"] += 1
        miss(needs, missing)

    async def go(steps: Steps[Any], _plan: Plan | None = None) -> Any:
        while True:
            before = dict(done)
            try:
                next(steps)
            except StopIteration as finished:
                return finished.value
            finally:
                for name, count in done.items():
                    most[name] = max(most[name], count - before[name])
                    in_steps[name] += count - before[name]

    monkeypatch.setattr(Plan, "append", appended)
    monkeypatch.setattr(Needs, "_miss", missed)
    monkeypatch.setattr(rig.engine._writer, "_in_steps", go)
    await do(*what)
    assert done["events"] >= MANY * 0.9
    assert in_steps["events"] == done["events"]
    assert most["events"] <= MAX_EVENTS, "events in one step"
    assert most["names"] <= MAX_NAMES, "names in one step"
