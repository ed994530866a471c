"""Computing anew: what changes is shown before it is written, written once, and every sum follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.projections.test_computed_costs import HOUR_MS, call, checked, end, tell
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.wait import wait_until_async
from towerlog.engine.repricing import reprice
from towerlog.errors import Conflict, Overloaded
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.event import EventType
from towerlog.model.price import (
    FEMTOS_PER_NANO,
    CorrectCosts,
    CreatePrice,
    PriceCard,
    Rates,
    Reprice,
    RepricedPage,
)
from towerlog.model.run import RunRow
from towerlog.model.usage import Usage, UsageReport
from towerlog.model.usage_parts import UsageParts

WAIT_S = 30
"""How long it may take until something is refused."""


@pytest.fixture
def prices() -> FixedPrices:
    """Prices that a test may change."""
    return FixedPrices({"big": card(10), "small": card(1)})


@pytest.fixture
async def rig(tmp_path: Path, prices: FixedPrices) -> AsyncIterator[Rig]:
    """An engine with these prices."""
    async with open_rig(tmp_path, prices=prices) as made:
        yield made


async def anew(rig: Rig, *, write: bool = False, **more: Any) -> list[tuple[Any, ...]]:
    """Agent, model, old and new figures of what changes."""
    page: RepricedPage = await rig.do(Reprice(since=0, dry_run=not write, **more))
    assert page.next is None
    return [
        (change.agent, change.repriced.model, change.old_nanos, change.new_nanos, change.repriced.calls.unpriced)
        for change in page.changes
    ]


async def kinds(rig: Rig) -> list[EventType]:
    """The types of all events."""
    return [event.type for event in await rig.log()]


async def test_what_changes_is_shown_then_written_and_then_nothing_changes(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "a", "big", 50)
    await call(rig, "b", "small", 100)
    await call(rig, "b", "big", 100, cost=5)
    assert await anew(rig) == []
    prices.cards["big"] = card(7, version="test 2")
    expected = [("a", "big", 1500, 1050, 0)]
    assert await anew(rig) == await anew(rig) == expected
    assert EventType.COST_REPRICED not in await kinds(rig), "a dry run writes nothing"
    assert await checked(rig) == {"big": (1505, 1500, 0), "small": (100, 100, 0)}
    assert await anew(rig, write=True) == expected
    assert await checked(rig) == {"big": (1055, 1050, 0), "small": (100, 100, 0)}
    assert await anew(rig) == await anew(rig, write=True) == []
    events = await rig.log()
    assert [event.effects.priced.nanos for event in events if event.effects.priced is not None] == [1000, 500, 100]
    prices.cards["big"] = card(12, version="test 3")
    assert await anew(rig, write=True) == [("a", "big", 1050, 1800, 0)]
    assert await checked(rig) == {"big": (1805, 1800, 0), "small": (100, 100, 0)}
    rows = await rig.store.rows(rig.org)
    assert {agent.name: agent.usage.cost_nanos for agent in rows.agents} == {"a": 1800, "b": 105}


async def test_parts_and_terms_are_computed_anew_as_they_were_told(rig: Rig, prices: FixedPrices) -> None:
    """10 a token, 25 for an hour; then 7 and 30. What has no price for its parts, or its terms, gets none."""
    hour = UsageParts(cache_write_1h_tokens=4)

    def priced_at(each: int, for_an_hour: int) -> PriceCard:
        rates = msgspec.structs.replace(card(each).rates, cache_write_1h=for_an_hour * FEMTOS_PER_NANO)
        return PriceCard(rates, f"test {each}")

    prices.cards["big"] = priced_at(10, 25)
    for parts in (hour, None, UsageParts(output_audio_tokens=1)):
        report = UsageReport(Usage(100, None, 10, 1), "delta", parts=parts)
        await tell(rig, "a", model="big", report=report)
    assert await checked(rig) == {"big": (2280, 2280, 1)}
    prices.cards["big"] = priced_at(7, 30)
    assert await anew(rig, write=True) == [("a", "big", 2280, 1646, 0)]
    assert await anew(rig, write=True) == []
    prices.cards["big"] = priced_at(10, 25)
    assert await anew(rig, write=True) == [("a", "big", 1646, 2280, 0)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
async def test_a_total_with_parts_and_its_calls_come_to_the_same_in_any_order(
    rig: Rig, prices: FixedPrices, order: tuple[int, ...]
) -> None:
    """The calls decide; of what the total says beyond them nobody knows the price."""
    hour = UsageParts(cache_write_1h_tokens=10)
    prices.cards["big"] = PriceCard(
        msgspec.structs.replace(card(10).rates, cache_write_1h=25 * FEMTOS_PER_NANO), "test 10"
    )
    one = UsageReport(Usage(100, None, 10, 0), "delta", parts=hour)
    whole = UsageReport(Usage(200, None, 20, 0), whole_run=True, inclusive=False, parts=hour)
    for at in order:
        await tell(rig, "a", model="big", report=(one, one, whole)[at])
    assert await checked(rig) == {"big": (2500, 2500, 0)}
    more = UsageReport(Usage(250, None, 20, 0), whole_run=True, inclusive=False, parts=hour)
    await tell(rig, "a", model="big", report=more)
    assert await checked(rig) == {"big": (2500, 2500, 1)}
    assert await anew(rig) == []


async def test_what_had_no_price_gets_one(rig: Rig) -> None:
    await call(rig, "a", "house", 100)
    await call(rig, "a", "house", 50)
    assert await checked(rig) == {"house": (0, 0, 2)}
    await rig.do(CreatePrice("house", Rates(input=2 * FEMTOS_PER_NANO)))
    assert await anew(rig, write=True) == [("a", "house", 0, 300, -2)]
    assert await checked(rig) == {"house": (300, 300, 0)}
    assert [row.usage.unpriced_calls for row in (await rig.store.rows(rig.org)).runs] == [None]


async def test_what_has_no_price_any_more_keeps_its_cost(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    del prices.cards["big"]
    assert await anew(rig, write=True) == []
    assert await checked(rig) == {"big": (1000, 1000, 0)}


async def test_what_a_told_cost_has_replaced_is_left_alone(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "b", "big", 100)
    await tell(rig, "a", report=UsageReport(Usage(cost_nanos=5)))
    prices.cards["big"] = card(7)
    assert await anew(rig, write=True) == [("b", "big", 1000, 700, 0)]
    assert await checked(rig) == {"big": (705, 700, 0)}
    await end(rig, "a", cost_nanos=9)
    prices.cards["big"] = card(8)
    assert await anew(rig, write=True) == []


async def test_a_cost_stays_in_the_hour_of_its_calls(rig: Rig, prices: FixedPrices) -> None:
    began = rig.clock.now_ms()
    for tokens in (100, 200):
        await call(rig, "a", "big", tokens)
        rig.clock.advance(HOUR_MS)
    await end(rig, "a")
    rig.clock.advance(30 * HOUR_MS)
    prices.cards["big"] = card(20)
    page = await rig.do(Reprice(since=began + HOUR_MS, dry_run=False))
    assert [(one.old_nanos, one.new_nanos) for one in page.changes] == [(2000, 4000)]
    page = await rig.do(Reprice(since=0, until=began + HOUR_MS, dry_run=False))
    assert [(one.old_nanos, one.new_nanos) for one in page.changes] == [(1000, 2000)]
    hours: dict[int, int] = {}
    for cell in (await rig.store.rows(rig.org)).usage:
        hours[cell.hour] = hours.get(cell.hour, 0) + (cell.usage.cost_nanos or 0)
    assert {hour: cost for hour, cost in hours.items() if cost} == {
        began // HOUR_MS: 2000,
        began // HOUR_MS + 1: 4000,
    }
    await checked(rig)


async def test_only_the_models_that_are_meant(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    await call(rig, "a", "small", 100)
    prices.cards |= {"big": card(11), "small": card(2)}
    assert await anew(rig, model="b*") == [("a", "big", 1000, 1100, 0)]
    assert await anew(rig, model="small") == [("a", "small", 100, 200, 0)]


async def test_the_events_of_a_run_that_uses_no_such_model_are_not_read(
    rig: Rig, prices: FixedPrices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one whose agent has named several models they are, and of one with calls that nobody has named a model for."""
    for run, models in (("big", ["big"]), ("small", ["small"]), ("both", ["small", "big"]), ("none", [None])):
        for model in models:
            await call(rig, "a", model, 100, run=run)
    await end(rig, "lead", "big", input_tokens=350)
    prices.cards |= {"big": card(11), "small": card(2)}
    read: set[int] = set()
    begun = reprice.Repricing._begun

    async def noted(self: Any, asked: Any, row: RunRow) -> Any:
        read.add(row.run)
        return await begun(self, asked, row)

    monkeypatch.setattr(reprice.Repricing, "_begun", noted)
    runs = {row.thread_id: row.run for row in (await rig.store.rows(rig.org)).runs}
    assert await anew(rig, model="b?g") == [
        ("a", "big", 1000, 1100, 0),
        ("a", "big", 1000, 1100, 0),
        ("lead", "", 2500, 2750, 0),
    ]
    assert read == {runs["big"], runs["both"], runs["none"]}
    read.clear()
    assert len(await anew(rig)) == 5
    assert len(read) == 4


async def test_totals_are_computed_anew_by_what_they_added(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    await end(rig, "a", input_tokens=350)
    prices.cards["big"] = card(2)
    assert await anew(rig, write=True) == [("a", "big", 3500, 700, 0)]
    assert await checked(rig) == {"big": (700, 700, 0)}
    assert await anew(rig) == []


async def test_who_comes_second_looks_again(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    prices.cards["big"] = card(7)
    page = await rig.do(Reprice(since=0))
    await anew(rig, write=True)
    [row] = (await rig.store.rows(rig.org)).runs
    with pytest.raises(Conflict):
        await rig.do(CorrectCosts(row.run_id, 1, tuple(page.changes)))
    assert await checked(rig) == {"big": (700, 700, 0)}


async def test_a_large_answer_comes_in_pages(rig: Rig, prices: FixedPrices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reprice, "MAX_CHANGES", 2)
    for number in range(5):
        await call(rig, "a", "big", 100, run=f"r{number}")
    prices.cards["big"] = card(7)
    before, seen = None, []
    while True:
        page = await rig.do(Reprice(since=0, dry_run=False, before=before))
        seen += [change.run_id for change in page.changes]
        if page.next is None:
            break
        assert len(page.changes) == 2
        before = int(page.next)
    assert len(seen) == len(set(seen)) == 5
    assert await checked(rig) == {"big": (3500, 3500, 0)}


async def test_a_run_that_has_ended_stays_as_it_is(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    await end(rig, "a")
    [before] = (await rig.store.rows(rig.org)).runs
    prices.cards["big"] = card(7)
    await anew(rig, write=True)
    [after] = (await rig.store.rows(rig.org)).runs
    same = ("status", "ended_at", "late_events", "model", "process_at", "progress_at", "seen_at", "agent")
    assert {name: getattr(after, name) for name in same} == {name: getattr(before, name) for name in same}


async def test_budgets_count_what_is_computed_anew_of_their_period(rig: Rig, prices: FixedPrices) -> None:
    await call(rig, "a", "big", 100)
    rig.clock.advance(40 * 24 * HOUR_MS)
    await call(rig, "a", "big", 100, run="later")
    for period in (Period.TOTAL, Period.DAY):
        made = CreateBudget(period.value, BudgetScope(organisation=True), 10**9, period, BudgetAction.WARN)
        await rig.do(made)
    prices.cards["big"] = card(15)
    await anew(rig, write=True)
    spent = {budget.name: budget.spent_nanos for budget in await rig.store.budgets(rig.org, 9, None)}
    assert spent == {"total": 3000, "day": 1500}


async def test_asked_again_nothing_changes_of_a_total_that_was_priced_by_another_model(
    rig: Rig, prices: FixedPrices
) -> None:
    """It was priced while one model alone was named, and stands where the second one is now."""
    await call(rig, "a", "small", 3)
    await end(rig, "b", cost_nanos=None, input_tokens=80)
    await call(rig, "b", "big", 14)
    prices.cards |= {"big": card(7), "small": card(1)}
    await rig.do(Reprice(since=0, dry_run=False))
    assert (await rig.do(Reprice(since=0))).changes == []
    assert (await rig.store.rows(rig.org)).runs[0].usage.computed_nanos == 3 + 14 * 7


acts = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "call", "total", "cost", "end", "reprice", "pass"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["big", "small", "house", None]),
        st.integers(0, 40),
    ),
    max_size=16,
)


@pytest.mark.parametrize("examples", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_the_sums_agree_whatever_is_told_and_computed_anew(tmp_path: Path, examples: int) -> None:
    """Calls, totals and costs of two agents in any order, with prices that change: held against a rebuild each time."""
    import asyncio

    prices = FixedPrices({"big": card(10), "small": card(1)})
    with asyncio.Runner() as runner:

        @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate], deadline=None)
        @given(acts)
        def holds(story: list[tuple[str, str, str | None, int]]) -> None:
            runner.run(check(rig, prices, story))

        opened = open_rig(tmp_path, prices=prices)
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check(rig: Rig, prices: FixedPrices, story: list[tuple[str, str, str | None, int]]) -> None:
    """Plays a story in an organisation of its own."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    for act, agent, model, figure in story:
        match act:
            case "call":
                await call(rig, agent, model, figure)
            case "total":
                await tell(rig, agent, model=model, report=UsageReport(Usage(input_tokens=3 * figure, output_tokens=0)))
            case "cost":
                await tell(rig, agent, report=UsageReport(Usage(cost_nanos=10 * figure), "delta"))
            case "end":
                await end(rig, agent, cost_nanos=100 * figure if figure % 2 else None, input_tokens=5 * figure)
            case "reprice":
                prices.cards |= {"big": card(figure), "house": card(figure % 7)}
                await rig.do(Reprice(since=0, dry_run=False))
                page = await rig.do(Reprice(since=0))
                assert page.changes == [], "asked again, nothing changes"
            case "pass":
                rig.clock.advance(HOUR_MS)
        await checked(rig)
    prices.cards.pop("house", None)


async def test_an_organisation_has_its_costs_computed_once_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for meanwhile waits, up to a number of requests; another organisation waits for none of them."""
    other = await rig.make_org("other")
    at_work: list[int] = []
    go_on = asyncio.Event()
    page = reprice.Repricing._page

    async def held(self: Any, asked: Any) -> RepricedPage:
        at_work.append(asked.principal.org)
        if asked.principal.org == rig.org:
            await go_on.wait()
        return await page(self, asked)

    monkeypatch.setattr(reprice.Repricing, "_page", held)
    asking = [asyncio.ensure_future(rig.do(Reprice(since=0, dry_run=True))) for _ in range(1 + reprice.MAX_WAITING)]
    await wait_until_async(lambda: bool(at_work), "the first to begin")
    with pytest.raises(Overloaded):
        await asyncio.wait_for(rig.do(Reprice(since=0, dry_run=True)), WAIT_S)
    await rig.do(Reprice(since=0, dry_run=True), principal=other)
    assert at_work == [rig.org, other.org]
    go_on.set()
    assert [found.changes for found in await asyncio.gather(*asking)] == [[]] * len(asking)
    assert at_work == [rig.org, other.org, *[rig.org] * reprice.MAX_WAITING]
    assert rig.engine._repricing._waiting == {}
