"""A run that a person lets go on although its budget is used up goes on until it spends again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.engine.reactions.test_budgets import DOLLAR, call, make, read, rows
from tests.support.fakes import FakeClock, SeededIds
from tests.support.rig import Rig, open_rig
from towerlog.model import command as c
from towerlog.model.budget import MAX_LET_GO, BudgetAction, BudgetRow, BudgetScope, ChangeBudget


class Running:
    """A server, which may be killed and started again."""

    def __init__(self, folder: Path, *, is_killed: bool) -> None:
        self._folder, self._is_killed = folder, is_killed
        self.rooms = AsyncExitStack()
        self.rig: Rig

    async def start(self, *, clock: FakeClock | None = None, ids: SeededIds | None = None) -> Rig:
        self.rig = await self.rooms.enter_async_context(open_rig(self._folder, clock=clock, ids=ids))
        return self.rig

    async def turn(self) -> Rig:
        """It goes on, or another process does on its store."""
        if not self._is_killed:
            return self.rig
        await self.rooms.aclose()
        return await self.start(clock=self.rig.clock, ids=self.rig.ids)


@pytest.fixture(params=[False, True], ids=["goes on", "is killed in between"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path, is_killed=request.param)
    async with running.rooms:
        await running.start()
        yield running


async def wanted(rig: Rig, trace: str) -> list[str]:
    """What the run was asked and has not taken."""
    return [one.type for one in (await rows(rig))[trace].pending]


async def asks(rig: Rig, trace: str, action: str) -> None:
    await rig.do(c.SteerRun((await rows(rig))[trace].run_id, action))


async def tree(rig: Rig) -> BudgetRow:
    """A budget of a tree of three."""
    await rig.append(call("top", None))
    top = (await rows(rig))["top"]
    await rig.append(*[call(name, None, parent_key=f"run:{top.run_id}") for name in ("one", "two")])
    return await make(rig, BudgetScope(run_id=top.run_id), action=BudgetAction.PAUSE)


async def test_the_step_on_its_way_does_not_pause_it_again(server: Running) -> None:
    rig = server.rig
    await rig.append(call("one", None), call("two", None))
    await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("one", DOLLAR))
    assert await wanted(rig, "one") == ["pause"]
    await asks(rig, "one", "resume")
    rig = await server.turn()
    for _ in range(2):
        await rig.engine.sweep()
        assert (await wanted(rig, "one"), await wanted(rig, "two")) == (["resume"], ["pause"])
    await asks(rig, "two", "resume")
    await rig.append(call("two", 1))
    await rig.engine.sweep()
    assert (await wanted(rig, "one"), await wanted(rig, "two")) == (["resume"], ["pause"]), "it has spent again"


@pytest.mark.parametrize("late", [False, True], ids=["a child begins", "a run with runs below it gets its parent"])
async def test_a_run_that_joins_the_tree_pauses_no_other_again(server: Running, late: bool) -> None:
    rig = server.rig
    await tree(rig)
    await rig.append(call("top", DOLLAR))
    await rig.engine.sweep()
    await asks(rig, "one", "resume")
    rig = await server.turn()
    if late:
        await rig.append(call("new", None), call("below", None, parent_key="trace:new"))
    await rig.append(call("new", None, parent_key="trace:top"))
    await rig.engine.sweep()
    asked = {trace: (await wanted(rig, trace)) for trace in (await rows(rig))}
    assert asked == {trace: ["resume"] if trace == "one" else ["pause"] for trace in asked}
    assert len(asked) == (5 if late else 4)
    await rig.append(call("one", 1))
    assert await wanted(rig, "one") == ["pause"]
    await rig.append(call("newest", None, parent_key="trace:top"))
    await rig.engine.sweep()
    assert await wanted(rig, "one") == ["pause"]


async def test_whom_nobody_has_let_go_on_is_paused_by_the_next_step(server: Running) -> None:
    """Each time that the budget is used up anew, everybody is; and whoever a person paused stays so."""
    rig = server.rig
    row = await tree(rig)
    await rig.append(call("top", DOLLAR))
    await asks(rig, "one", "resume")
    await asks(rig, "two", "pause")
    rig = await server.turn()
    await rig.engine.sweep()
    assert (await wanted(rig, "one"), await wanted(rig, "two")) == ([], ["pause"])
    await rig.do(ChangeBudget(row.budget_id, amount_nanos=2 * DOLLAR))
    await rig.engine.sweep()
    assert (await read(rig, row)).let_go == ()
    rig = await server.turn()
    await rig.append(call("top", DOLLAR))
    await rig.engine.sweep()
    assert await wanted(rig, "one") == ["pause"]


async def test_a_stop_that_ends_runs_ends_those_as_well(rig: Rig) -> None:
    row = await tree(rig)
    await rig.append(call("top", DOLLAR))
    await rig.engine.sweep()
    await asks(rig, "one", "resume")
    await rig.do(ChangeBudget(row.budget_id, action=BudgetAction.CANCEL))
    await rig.engine.sweep()
    assert (await rows(rig))["one"].status.value == "cancelling"


async def test_of_so_many_it_is_known_and_the_first_are_asked_again(rig: Rig) -> None:
    row = await make(rig, action=BudgetAction.PAUSE)
    many = [f"r{number}" for number in range(MAX_LET_GO + 2)]
    await rig.append(*[call(trace, None) for trace in many])
    await rig.append(call("top", DOLLAR))
    for trace in many:
        await asks(rig, trace, "pause")
        await asks(rig, trace, "resume")
    assert len((await read(rig, row)).let_go) == MAX_LET_GO
    await rig.engine.sweep()
    found = await rows(rig)
    again = [trace for trace in many if [one.type for one in found[trace].pending][-1:] == ["pause"]]
    assert again == many[:2]


async def test_a_budget_that_has_let_it_go_keeps_it_in_no_other_ones_pause(server: Running) -> None:
    rig = server.rig
    await rig.append(call("one", None))
    first = await make(rig, action=BudgetAction.PAUSE)
    await rig.append(call("one", DOLLAR))
    await asks(rig, "one", "resume")
    thread_id = (await rows(rig))["one"].thread_id
    second = await make(rig, BudgetScope(thread_id=thread_id), amount_nanos=1, action=BudgetAction.PAUSE)
    rig = await server.turn()
    await rig.engine.sweep()
    assert await wanted(rig, "one") == ["pause"], "by the second, which it has used up"
    await rig.do(ChangeBudget(second.budget_id, amount_nanos=9 * DOLLAR))
    await rig.engine.sweep()
    assert (await read(rig, first)).is_exceeded
    assert await wanted(rig, "one") == ["resume"]
