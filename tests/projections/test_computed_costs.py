"""Computed costs in runs, agents and roll-up cells: the sums agree, nothing is negative, a told cost replaces them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.projections.test_rebuild import check_sums
from tests.support.factories import facts_of
from tests.support.prices import VERSION, FixedPrices, card
from tests.support.rig import Rig, open_rig
from towerlog.engine.verify import rebuild_org, verify_org
from towerlog.model import computed_costs
from towerlog.model.event import Draft, EventType, RunByForeignId
from towerlog.model.price import PriceCard
from towerlog.model.spending import COMPUTED_KEPT
from towerlog.model.usage import Usage, UsageReport

HOUR_MS = 3_600_000
PRICES = FixedPrices({"big": card(10), "small": card(1), "free": card(0), "other": card(2, version="test 2")})


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """An engine in which three models have prices."""
    async with open_rig(tmp_path, prices=PRICES) as made:
        yield made


async def tell(rig: Rig, agent: str, run: str = "r", *, kind: EventType = EventType.MODEL_CALL, **facts: Any) -> None:
    """One event of an agent in a run."""
    ref = RunByForeignId(f"steps:{run}", run)
    await rig.append(Draft(kind, ref, b"{}", facts_of(**facts), agent=agent))


async def call(rig: Rig, agent: str, model: str | None, tokens: int, cost: int | None = None, run: str = "r") -> None:
    """A model call with so many tokens of input."""
    usage = Usage(input_tokens=tokens, cost_nanos=cost)
    await tell(rig, agent, run, model=model, report=UsageReport(usage, "delta"))


async def end(rig: Rig, agent: str, run: str = "r", **figures: Any) -> None:
    """The end of a run, with totals of all of it."""
    report = UsageReport(Usage(**figures), whole_run=True)
    await tell(rig, agent, run, kind=EventType.RUN_COMPLETED, report=report)


async def checked(rig: Rig) -> dict[str, Any]:
    """Cost, computed part and unpriced calls of all cells by model; after the sums and a rebuild were checked."""
    rows = await rig.store.rows(rig.org)
    check_sums(rows)
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    found: dict[str, Any] = {}
    for cell in rows.usage:
        usage = cell.usage
        assert min(usage.reported_nanos(), usage.computed_nanos or 0, usage.unpriced_calls or 0) >= 0, cell
        known = found.get(cell.model, (0, 0, 0))
        told = (usage.cost_nanos or 0, usage.computed_nanos or 0, usage.unpriced_calls or 0)
        found[cell.model] = tuple(one + two for one, two in zip(known, told, strict=True))
    by_agent: dict[str, int] = {}
    for cell in rows.usage:
        by_agent[cell.agent] = by_agent.get(cell.agent, 0) + (cell.usage.cost_nanos or 0)
    assert by_agent == {agent.name: agent.usage.cost_nanos or 0 for agent in rows.agents}
    return {model: figures for model, figures in found.items() if any(figures)}


async def test_calls_are_priced_each_for_itself(rig: Rig) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "a", "small", 100)
    await call(rig, "b", "unheard-of", 100)
    await call(rig, "b", "big", 100, cost=5)
    assert await checked(rig) == {"big": (1005, 1000, 0), "small": (100, 100, 0), "unheard-of": (0, 0, 1)}
    [row] = (await rig.store.rows(rig.org)).runs
    assert (row.usage.cost_nanos, row.usage.cost_source(), row.price_version) == (1105, "mixed", VERSION)
    assert row.usage.unpriced_calls == 1


async def test_an_event_says_what_it_was_priced_at(rig: Rig) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "a", "unheard-of", 100)
    await call(rig, "a", "big", 100, cost=7)
    await call(rig, "a", "big", 0)
    told = [event.effects.priced for event in await rig.log()]
    assert [one and (one.nanos, one.version) for one in told] == [(1000, VERSION), (None, None), None, None]
    spent = [event.facts.spent.cost_nanos for event in await rig.log() if event.facts.spent is not None]
    assert spent == [1000, None, 7, None]


async def test_a_free_call_costs_nothing_and_is_known_to(rig: Rig) -> None:
    await call(rig, "a", "free", 100)
    await call(rig, "a", "free", 100)
    [row] = (await rig.store.rows(rig.org)).runs
    assert (row.usage.cost_nanos, row.usage.cost_source(), row.usage.unpriced_calls) == (0, "computed", None)
    assert [event.facts.spent.cost_nanos for event in await rig.log() if event.facts.spent is not None] == [0, 0]


async def test_prices_of_several_versions_are_named_as_such(rig: Rig) -> None:
    await call(rig, "a", "big", 1)
    await call(rig, "a", "other", 1)
    rows = await rig.store.rows(rig.org)
    assert {cell.model: cell.price_version for cell in rows.usage} == {"big": VERSION, "other": "test 2"}
    assert {row.price_version for row in (*rows.runs, *rows.agents)} == {computed_costs.SEVERAL_VERSIONS}
    await end(rig, "a", cost_nanos=1)
    assert [row.price_version for row in (await rig.store.rows(rig.org)).runs] == [None]


@pytest.mark.parametrize(("cost", "small", "big"), [(3000, 200, 2000), (1500, 0, 1500), (2100, 100, 2000), (0, 0, 0)])
async def test_a_told_total_keeps_the_cost_where_it_was_spent(rig: Rig, cost: int, small: int, big: int) -> None:
    """2,000 for the one and 200 for the other were computed. What the total has beyond stands with who told it."""
    await call(rig, "a", "big", 200)
    rig.clock.advance(HOUR_MS)
    await call(rig, "b", "small", 200)
    rig.clock.advance(HOUR_MS)
    await end(rig, "lead", cost_nanos=cost)
    found = await checked(rig)
    assert (found.get("big", (0,))[0], found.get("small", (0,))[0]) == (big, small)
    assert sum(figures[0] for figures in found.values()) == cost
    assert all(figures[1] == 0 for figures in found.values()), "nothing computed counts any more"


async def test_a_told_total_of_one_agent_takes_nothing_from_another(rig: Rig) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "b", "big", 100)
    await tell(rig, "a", report=UsageReport(Usage(cost_nanos=300)))
    rows = await rig.store.rows(rig.org)
    assert {agent.name: agent.usage.cost_nanos for agent in rows.agents} == {"a": 300, "b": 1000}
    assert await checked(rig) == {"big": (1300, 1000, 0)}


async def test_calls_after_a_told_total_are_in_it(rig: Rig) -> None:
    await end(rig, "a", cost_nanos=300)
    await call(rig, "a", "big", 100)
    await call(rig, "a", "unheard-of", 100)
    assert sum(figures[0] for figures in (await checked(rig)).values()) == 300
    assert [row.usage.unpriced_calls for row in (await rig.store.rows(rig.org)).runs] == [None]


async def test_a_total_of_tokens_is_priced_for_what_it_adds(rig: Rig) -> None:
    """The end tells 350 tokens, of which 100 were told by a call; and again, which adds nothing."""
    await call(rig, "a", "big", 100)
    await end(rig, "a", input_tokens=350)
    await end(rig, "a", input_tokens=350)
    assert await checked(rig) == {"big": (3500, 3500, 0)}


async def test_a_total_of_several_models_is_unpriced(rig: Rig) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "b", "small", 100)
    await end(rig, "a", input_tokens=350)
    [row] = (await rig.store.rows(rig.org)).runs
    assert (row.usage.cost_nanos, row.usage.unpriced_calls) == (1100, 1)
    await checked(rig)


async def test_a_bare_total_is_unpriced_and_never_0(rig: Rig) -> None:
    await tell(rig, "a", model="big", report=UsageReport(Usage(total_tokens=350)))
    [row] = (await rig.store.rows(rig.org)).runs
    assert (row.usage.cost_nanos, row.usage.cost_source(), row.usage.unpriced_calls) == (None, None, 1)
    await checked(rig)


async def test_turns_of_a_runner_are_priced_by_their_own_models(rig: Rig) -> None:
    for step, (model, used, total) in enumerate((("big", 100, 100), ("small", 50, 150))):
        usage = Usage(input_tokens=used, output_tokens=0, total_tokens=total)
        await tell(rig, "a", kind=EventType.STEP, model=model, report=UsageReport(usage, "turn"), forced=bool(step))
    assert await checked(rig) == {"big": (1000, 1000, 0), "small": (50, 50, 0)}


LONG = PriceCard(card(2).rates, "long", ((200, card(4).rates),))
"""A token of a call with more than 200 of input costs twice as much."""


@given(order=st.permutations((1, 2, 3, 4, 5)), lost=st.integers(0, 4), kind=st.sampled_from(["turn", "total"]))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_totals_add_has_the_base_price_in_any_order(
    tmp_path: Path, order: list[int], lost: int, kind: Any
) -> None:
    """Calls of 100 tokens each, told as running totals, of which some are lost and the rest come in any order."""

    async def told() -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            async with open_rig(Path(folder), prices=FixedPrices({"long": LONG})) as rig:
                for step in (one for one in order if one == 5 or one > lost):
                    usage = Usage(input_tokens=100 * step, output_tokens=0, total_tokens=100 * step)
                    await tell(rig, "a", kind=EventType.STEP, model="long", report=UsageReport(usage, kind))
                assert await checked(rig) == {"long": (1000, 1000, 0)}

    asyncio.run(told())


async def test_a_call_has_the_price_of_its_own_length(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRICES.cards, "long", LONG)
    for tokens in (200, 201):
        await call(rig, "a", "long", tokens)
    assert await checked(rig) == {"long": (200 * 2 + 201 * 4,) * 2 + (0,)}


async def test_a_cost_of_a_process_takes_the_place_of_what_was_computed_in_its_run(rig: Rig) -> None:
    await call(rig, "a", "big", 100)
    await tell(rig, "a", report=UsageReport(Usage(cost_nanos=400), process_cost=True))
    await tell(rig, "a", report=UsageReport(Usage(cost_nanos=900), process_cost=True))
    await call(rig, "a", "big", 100)
    assert sum(figures[0] for figures in (await checked(rig)).values()) == 900


async def test_what_can_no_longer_be_taken_back_stays_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has more cells than are remembered; the sums agree, and nothing is counted beside the total."""
    monkeypatch.setattr(computed_costs, "MAX_COMPUTED_CELLS", 2)
    for _ in range(5):
        await call(rig, "a", "big", 10)
        rig.clock.advance(HOUR_MS)
    await end(rig, "a", cost_nanos=50)
    [row] = (await rig.store.rows(rig.org)).runs
    assert (row.usage.cost_nanos, row.usage.computed_nanos, row.usage_flags) == (300, 300, (COMPUTED_KEPT,))
    assert sum(figures[0] for figures in (await checked(rig)).values()) == 300
    await end(rig, "a", cost_nanos=320)
    assert sum(figures[0] for figures in (await checked(rig)).values()) == 320


async def test_a_rebuild_asks_for_no_price(rig: Rig, tmp_path: Path) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "b", "small", 100)
    await tell(rig, "a", report=UsageReport(Usage(cost_nanos=300)))
    before = await rig.store.rows(rig.org)
    PRICES.cards["big"], was = card(77), PRICES.cards["big"]
    await rebuild_org(rig.store, rig.org)
    PRICES.cards["big"] = was
    after = await rig.store.rows(rig.org)
    assert (after.runs, after.agents, after.usage) == (before.runs, before.agents, before.usage)
