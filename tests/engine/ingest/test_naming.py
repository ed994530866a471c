"""What a run has spent before its agent is named is that agent's, whichever dialect tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.factories import draft, facts_of
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from towerlog.engine.verify import verify_org
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, GetBudget, Period
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.price import Reprice
from towerlog.model.usage import Usage, UsageReport

RUN = RunByForeignId("steps:r", "thread")
HOUR_MS = 3_600_000


@pytest.fixture
async def prices() -> FixedPrices:
    return FixedPrices({"m": card(10)})


@pytest.fixture
async def rig(tmp_path: Path, prices: FixedPrices) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, prices=prices) as opened:
        yield opened


def told(sent: int, agent: str | None = None, kind: Any = "delta", model: str | None = "m") -> Draft:
    """A report of so much input."""
    facts = facts_of(report=UsageReport(Usage(input_tokens=sent), kind), model=model)
    return draft(EventType.MODEL_CALL, RUN, facts=facts, agent=agent)


def start(agent: str | None = "writer") -> Draft:
    return draft(EventType.RUN_STARTED, RUN, facts=facts_of(is_start=True), agent=agent)


async def shown(rig: Rig) -> dict[str, tuple[int, int, int]]:
    """By agent: input, nano-dollars, starts of runs; the same in rows, roll-ups and a rebuild."""
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    rows = await rig.store.rows(rig.org)
    cells: dict[str, tuple[int, int, int]] = {}
    for one in rows.usage:
        figures = one.usage.input_tokens or 0, one.usage.cost_nanos or 0, one.runs_started
        known = cells.get(one.agent, (0, 0, 0))
        cells[one.agent] = (known[0] + figures[0], known[1] + figures[1], known[2] + figures[2])
        assert min(figures) >= 0
    of_rows = {row.name: (row.usage.input_tokens or 0, row.usage.cost_nanos or 0, row.run_count) for row in rows.agents}
    assert {name: one for name, one in of_rows.items() if any(one)} == {n: one for n, one in cells.items() if any(one)}
    [run] = rows.runs
    assert sum(one[0] for one in cells.values()) == (run.usage.input_tokens or 0)
    assert sum(one[1] for one in cells.values()) == (run.usage.cost_nanos or 0)
    return {name: one for name, one in cells.items() if any(one)}


async def budget(rig: Rig, agent: str) -> str:
    scope = BudgetScope(agent=agent)
    asked = CreateBudget(agent, scope, amount_nanos=10**9, period=Period.TOTAL, action=BudgetAction.WARN)
    budget_id: str = (await rig.do(asked)).row.budget_id
    return budget_id


async def spent(rig: Rig, budget_id: str) -> int:
    nanos: int = (await rig.do(GetBudget(budget_id))).row.spent_nanos
    return nanos


@pytest.mark.parametrize("end", [None, EventType.RUN_COMPLETED], ids=["in time", "after the end"])
async def test_what_came_before_the_start_goes_to_the_agent_that_it_names(rig: Rig, end: EventType | None) -> None:
    ours, default = await budget(rig, "writer"), await budget(rig, "default")
    await rig.append(told(100))
    assert (await spent(rig, ours), await spent(rig, default)) == (0, 1000)
    rig.clock.advance(HOUR_MS)
    await rig.append(told(1, model=None), *([] if end is None else [draft(end, RUN)]))
    rig.engine.forget()
    await rig.append(start())
    assert await shown(rig) == {"writer": (101, 1010, 1)}
    assert (await spent(rig, ours), await spent(rig, default)) == (1010, 0)
    await rig.append(told(7))
    assert await shown(rig) == {"writer": (108, 1080, 1)}


async def test_a_running_total_goes_on_under_the_name(rig: Rig) -> None:
    await rig.append(told(100, kind="total"))
    await rig.append(start(), told(150, kind="total"))
    assert await shown(rig) == {"writer": (150, 1500, 1)}


async def test_an_agent_that_has_told_before_keeps_what_it_has_told(rig: Rig) -> None:
    """The first that is named is the run's, and gets what nobody was named for; others keep their own."""
    await rig.append(told(100), told(10, "scout"), start("scout"), told(1, "writer"))
    assert await shown(rig) == {"scout": (110, 1100, 1), "writer": (1, 10, 0)}


async def test_a_start_without_a_name_moves_nothing(rig: Rig) -> None:
    await rig.append(told(100), start(None))
    assert await shown(rig) == {"default": (100, 1000, 1)}


async def test_a_told_cost_takes_back_what_was_computed_under_no_name(rig: Rig) -> None:
    cost = facts_of(report=UsageReport(Usage(cost_nanos=600), "total"))
    await rig.append(told(100))
    await rig.append(draft(EventType.OTHER, RUN, facts=cost))
    assert await shown(rig) == {"default": (100, 600, 1)}
    await rig.append(start())
    assert await shown(rig) == {"writer": (100, 600, 1)}


async def test_what_is_computed_anew_is_the_agents(rig: Rig, prices: FixedPrices) -> None:
    ours = await budget(rig, "writer")
    await rig.append(told(100))
    await rig.append(start(), told(1))
    for nanos in (3, 20):
        prices.cards = {"m": card(nanos, version=f"test {nanos}")}
        await rig.do(Reprice(since=0, dry_run=False))
        assert await shown(rig) == {"writer": (101, 101 * nanos, 1)}
        assert await spent(rig, ours) == 101 * nanos
