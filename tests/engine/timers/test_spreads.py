"""A cancel of a large family comes in steps: each a commit of its own, and a restart goes on with the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig, open_rig
from towerlog.model import command as c
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.store.values import MAX_FAMILY

CHILDREN = 2 * MAX_FAMILY + 50


async def family(rig: Rig) -> RunRow:
    """A run with many children, of which the last has a child of its own."""
    await rig.append(draft(EventType.RUN_STARTED, traced("top"), facts=Facts(effects=Effects(is_start=True))))
    [top] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    below = Facts(effects=Effects(is_start=True, parent_key=f"run:{top.run_id}"))
    starts = [draft(EventType.RUN_STARTED, traced(f"c{n}"), facts=below) for n in range(CHILDREN)]
    for first in range(0, CHILDREN, 200):
        await rig.append(*starts[first : first + 200])
    grandchild = Facts(effects=Effects(is_start=True, parent_key=f"trace:c{CHILDREN - 1}"))
    await rig.append(draft(EventType.RUN_STARTED, traced("grandchild"), facts=grandchild))
    return top


async def counts(rig: Rig) -> dict[Status, int]:
    """How many runs are in each status."""
    found: dict[Status, int] = {}
    before: int | None = None
    while rows := await rig.store.runs(rig.org, RunFilter(), 500, before):
        before = rows[-1].run
        for row in rows:
            found[row.status] = found.get(row.status, 0) + 1
    return found


async def test_the_first_step_is_the_cancels_own_and_the_rest_follows(rig: Rig) -> None:
    top = await family(rig)
    done = await rig.do(c.CancelRun(top.run_id, "enough"))
    assert done.row.status is Status.CANCELLING
    assert await counts(rig) == {Status.CANCELLING: 1 + MAX_FAMILY, Status.RUNNING: CHILDREN + 1 - MAX_FAMILY}
    before = len(await rig.log())
    await rig.engine.sweep()
    assert await counts(rig) == {Status.CANCELLING: CHILDREN + 2}
    events = await rig.log()
    assert len(events) == before + CHILDREN + 1 - MAX_FAMILY
    assert all(b'"reason":"enough"' in event.data for event in events if event.type is EventType.RUN_CANCEL_REQUESTED)
    await rig.engine.sweep()
    assert len(await rig.log()) == len(events)


async def test_a_kill_ends_all_of_them(rig: Rig) -> None:
    top = await family(rig)
    await rig.do(c.CancelRun(top.run_id, None))
    await rig.do(c.KillRun(top.run_id, "now"))
    assert (await rig.run(top.run_id)).status is Status.CANCELLED
    assert (await counts(rig))[Status.CANCELLED] == 1 + MAX_FAMILY
    await rig.engine.sweep()
    assert await counts(rig) == {Status.CANCELLED: CHILDREN + 2}


async def test_a_restart_goes_on_where_the_last_step_ended(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        top = await family(rig)
        await rig.do(c.CancelRun(top.run_id, "enough"))
    async with open_rig(tmp_path) as again:
        assert (await counts(again))[Status.RUNNING] == CHILDREN + 1 - MAX_FAMILY
        await again.engine.sweep()
        assert await counts(again) == {Status.CANCELLING: CHILDREN + 2}


@pytest.mark.parametrize("command", [c.CancelRun, c.KillRun])
async def test_a_small_family_needs_no_step_after_the_first(rig: Rig, command: type[c.CancelRun | c.KillRun]) -> None:
    await rig.append(draft(EventType.RUN_STARTED, traced("top"), facts=Facts(effects=Effects(is_start=True))))
    [top] = await rig.store.runs(rig.org, RunFilter(), 10, None)
    below = Facts(effects=Effects(is_start=True, parent_key=f"run:{top.run_id}"))
    await rig.append(draft(EventType.RUN_STARTED, traced("child"), facts=below))
    await rig.do(command(top.run_id, None))
    assert Status.RUNNING not in await counts(rig)
    async with rig.store.begin() as unit:
        assert await unit.spreads(10) == []
