"""Whatever is told, and however often prices change: computed anew it is what it would have been from the start.

Held against the same story told under the last prices alone, against a model of its own, and against a rebuild.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.projections.test_computed_costs import HOUR_MS, call, checked, end, tell
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.engine.repricing import reprice
from towerlog.errors import Conflict
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.event import EventType
from towerlog.model.price import CorrectCosts, Reprice
from towerlog.model.usage import Usage, UsageReport
from towerlog.projections import budgets as fold

DAY_MS = 24 * HOUR_MS
FIRST = {"big": 10, "small": 1}
PERIODS = (Period.TOTAL, Period.DAY, Period.HOUR)


class Act(NamedTuple):
    """What happens: a report, a change of prices, or an hour that passes."""

    kind: str
    agent: str = "a"
    model: str = "big"
    figure: int = 0


acts = st.builds(
    Act,
    st.sampled_from(["call"] * 4 + ["total"] * 3 + ["whole"] * 2 + ["cost", "told", "reprice", "reprice", "pass"]),
    st.sampled_from("ab"),
    st.sampled_from(["big", "big", "small", "house"]),
    st.integers(0, 40),
)


async def play(rig: Rig, prices: FixedPrices, story: list[Act], figures: dict[str, int], *, changes: bool) -> None:
    """Tells a story in an organisation of its own, which has budgets; at first under these prices of a token."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    rig.clock.advance(DAY_MS - rig.clock.now_ms() % DAY_MS)
    prices.cards = {model: card(figure) for model, figure in figures.items()}
    for agent in (None, "a", "b"):
        for period in PERIODS:
            scope = BudgetScope(organisation=agent is None, agent=agent)
            await rig.do(CreateBudget(f"{agent} {period}", scope, 10**9, period, BudgetAction.WARN))
    for act in story:
        match act.kind:
            case "call":
                await call(rig, act.agent, act.model, act.figure)
            case "total":
                usage = Usage(input_tokens=3 * act.figure, output_tokens=0)
                await tell(rig, act.agent, model=act.model, report=UsageReport(usage))
            case "whole":
                await tell(rig, "lead", report=UsageReport(Usage(input_tokens=5 * act.figure), whole_run=True))
            case "cost":
                await tell(rig, act.agent, report=UsageReport(Usage(cost_nanos=10 * act.figure), "delta"))
            case "told":
                await tell(rig, act.agent, report=UsageReport(Usage(cost_nanos=100 * act.figure)))
            case "reprice" if changes:
                prices.cards |= {"big": card(act.figure), act.model: card(act.figure % 7)}
                await rig.do(Reprice(since=0, dry_run=False))
            case "pass":
                rig.clock.advance(HOUR_MS)


async def found(rig: Rig) -> tuple[int | None, int | None, int | None]:
    """Cost, computed part and unpriced calls of the run."""
    rows = (await rig.store.rows(rig.org)).runs
    usages = [row.usage for row in rows]
    return (usages[0].cost_nanos, usages[0].computed_nanos, usages[0].unpriced_calls) if usages else (None, None, None)


async def places(rig: Rig) -> Counter[tuple[int, str, str]]:
    """What was spent, by hour of the day, agent and model."""
    cells: Counter[tuple[int, str, str]] = Counter()
    for cell in (await rig.store.rows(rig.org)).usage:
        cells[cell.hour % 24, cell.agent, cell.model] += cell.usage.cost_nanos or 0
    return +cells


async def budgets(rig: Rig) -> dict[str, int]:
    """What each budget has counted in its present period, by name."""
    rows = await rig.store.budgets(rig.org, 50, None)
    return {row.name: fold.current(row, rig.clock.now_ms()).spent_nanos for row in rows}


class Plain:
    """The rules of what counts, in the simplest form, of tokens of input alone."""

    def __init__(self, prices: dict[str, int]) -> None:
        self.prices = prices
        self.calls: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.computed: Counter[str] = Counter()
        self.rests: dict[str, list[tuple[tuple[int, str, str | None], int]]] = {"a": [], "b": [], "": []}
        """Of each agent and of the run: (hour, model, model that it is priced by), tokens; the newest at the end."""
        self.costs: dict[str, int] = {}
        self.told: dict[str, int] = {}
        self.models: dict[str, set[str]] = {}
        self.whole = self.hour = 0

    def of_rest(self, who: str) -> int:
        return sum(tokens * self.prices.get(by or "", 0) for (_, _, by), tokens in self.rests[who])

    def of_agent(self, agent: str) -> int:
        if agent in self.told:
            return 0
        return self.computed[agent] + (0 if agent in self.costs else self.of_rest(agent))

    def computed_cost(self) -> int:
        found = self.of_agent("a") + self.of_agent("b")
        return found + (0 if self.costs or self.told else self.of_rest(""))

    def settle(self, who: str, model: str, by: str | None) -> None:
        """The rest of totals, of this agent or of the run, as it is now: what it is less is taken, what is more added.

        Taken from those of the model of the event, and then from the newest."""
        of_agents = {agent: max(self.calls[agent], self.totals[agent]) for agent in "ab"}
        now = self.whole - sum(of_agents.values()) if not who else of_agents[who] - self.calls[who]
        rests = self.rests[who]
        more = max(0, now) - sum(tokens for _, tokens in rests)
        if more > 0:
            key = (self.hour, model if who else "", by)
            same = [one for one in rests if one[0] == key]
            self.rests[who] = [one for one in rests if one not in same]
            self.rests[who].append((key, more + sum(tokens for _, tokens in same)))
        for at in sorted(range(len(rests)), key=lambda at: (rests[at][0][1] == model, at), reverse=True):
            if more < 0:
                some = min(-more, rests[at][1])
                rests[at], more = (rests[at][0], rests[at][1] - some), more + some
        self.rests[who] = [one for one in self.rests[who] if one[1]]

    def name(self, agent: str, model: str) -> None:
        """A model is named: the rest of totals of the run is priced by it while it is the only one."""
        self.models.setdefault(agent, set()).add(model)
        self.rests[""] = [((hour, of, self.alone()), tokens) for (hour, of, _), tokens in self.rests[""]]

    def alone(self) -> str | None:
        """The only model that was named."""
        named = set().union(*self.models.values()) if self.models else set()
        return next(iter(named)) if len(named) == 1 else None

    def cost(self) -> int:
        told = sum(max(self.costs.get(agent, 0), self.told.get(agent, 0)) for agent in "ab")
        return told + self.computed_cost()

    def take(self, act: Act) -> None:
        agent, price = act.agent, self.prices.get(act.model, 0)
        match act.kind:
            case "call":
                self.name(agent, act.model)
                self.calls[agent] += act.figure
                self.computed[agent] += act.figure * price
                self.settle(agent, act.model, None)
                self.settle("", act.model, None)
            case "total":
                self.name(agent, act.model)
                self.totals[agent] = max(self.totals[agent], 3 * act.figure)
                self.settle(agent, act.model, act.model)
                self.settle("", act.model, None)
            case "whole":
                self.whole = max(self.whole, 5 * act.figure)
                self.settle("", "", self.alone())
            case "pass":
                self.hour += 1
            case "cost":
                self.costs[agent] = self.costs.get(agent, 0) + 10 * act.figure
            case "told":
                self.told[agent] = max(self.told.get(agent, 0), 100 * act.figure)


def last_prices(story: list[Act]) -> dict[str, int]:
    """Those that hold at the end."""
    figures = dict(FIRST)
    for act in story:
        if act.kind == "reprice":
            figures |= {"big": act.figure}
            figures |= {act.model: act.figure % 7}
    return figures


@pytest.mark.parametrize("examples", [10, pytest.param(400, marks=pytest.mark.slow)])
def test_computed_anew_it_is_what_it_would_have_been_from_the_start(tmp_path: Path, examples: int) -> None:
    prices = FixedPrices({})
    with asyncio.Runner() as runner:

        @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate, Phase.shrink], deadline=None)
        @given(st.lists(acts, max_size=16))
        def holds(story: list[Act]) -> None:
            runner.run(check(rig, prices, story))

        opened = open_rig(tmp_path, prices=prices)
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check(rig: Rig, prices: FixedPrices, story: list[Act]) -> None:
    """One story, told twice."""
    last = last_prices(story)
    await play(rig, prices, story, FIRST, changes=True)
    prices.cards = {model: card(figure) for model, figure in last.items()}
    shown = await rig.do(Reprice(since=0))
    before = (await found(rig))[0] or 0
    written = await rig.do(Reprice(since=0, dry_run=False))
    assert shown == written
    anew = await found(rig)
    differences = sum(change.new_nanos - change.old_nanos for change in written.changes)
    assert differences == (anew[0] or 0) - before, "what it says is what it has changed"
    assert (await rig.do(Reprice(since=0))).changes == []
    await checked(rig)
    where, counted = await places(rig), await budgets(rig)
    await play(rig, prices, story, last, changes=False)
    assert anew == await found(rig)
    plain = Plain(last)
    for act in story:
        plain.take(act)
    assert (anew[0] or 0) == plain.cost()
    if not any(act.kind in ("cost", "told") for act in story):  # a told cost stays where it replaced a computed one
        assert where == await places(rig)
        assert counted == await budgets(rig)


@pytest.fixture
def prices() -> FixedPrices:
    """Prices that a test may change."""
    return FixedPrices({"big": card(10)})


UP, DOWN = Act("reprice", model="small", figure=20), Act("reprice", model="small", figure=5)
OVERTAKING = {
    "a total, then a call": [Act("total", figure=20), Act("call", figure=40)],
    "a total of all, then a call": [Act("call", figure=1), Act("whole", figure=12), Act("call", figure=40)],
    "a total, a call, a total": [Act("total", figure=20), Act("call", figure=40), Act("total", figure=30)],
    "turns": [act for turn in range(1, 9) for act in (Act("total", figure=4 * turn), Act("call", figure=15))],
}


@table("changes", [[UP], [DOWN], [UP, UP], [UP, DOWN]])
@table("name", OVERTAKING)
async def test_totals_and_calls_may_overtake_each_other(
    tmp_path: Path, prices: FixedPrices, name: str, changes: list[Act]
) -> None:
    story = OVERTAKING[name]
    async with open_rig(tmp_path / f"{name} {changes}", prices=prices) as rig:
        await check(rig, prices, [*story, *changes, Act("pass"), *story[-1:], *changes])


async def test_an_hour_that_is_not_meant_keeps_what_was_computed_of_it(tmp_path: Path, prices: FixedPrices) -> None:
    """The first hour anew at 20, with what its total says beyond a call; then the other at 11 and at 30."""
    async with open_rig(tmp_path, prices=prices) as rig:
        rig.clock.advance(HOUR_MS - rig.clock.now_ms() % HOUR_MS)
        began = rig.clock.now_ms()
        await tell(rig, "a", model="big", report=UsageReport(Usage(input_tokens=160, output_tokens=0)))
        rig.clock.advance(HOUR_MS)
        await call(rig, "a", "big", 100)
        assert (await found(rig))[0] == 1600
        prices.cards["big"] = card(20)
        await rig.do(Reprice(since=0, until=began + HOUR_MS, dry_run=False))
        assert (await found(rig))[0] == 2200
        prices.cards["big"] = card(11)
        await rig.do(Reprice(since=began + HOUR_MS, dry_run=False))
        assert (await found(rig))[0] == 2300
        prices.cards["big"] = card(30)
        await rig.do(Reprice(since=began + HOUR_MS, dry_run=False))
        assert (await found(rig))[0] == 4200
        del prices.cards["big"]
        assert (await rig.do(Reprice(since=0, dry_run=False))).changes == []
        await checked(rig)


async def test_a_run_that_spends_meanwhile_is_looked_at_again(
    tmp_path: Path, prices: FixedPrices, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(tmp_path, prices=prices) as rig:
        await call(rig, "a", "big", 100)
        prices.cards["big"] = card(20)
        page = await rig.do(Reprice(since=0))
        await call(rig, "a", "big", 1)
        [row] = (await rig.store.rows(rig.org)).runs
        with pytest.raises(Conflict):
            await rig.do(CorrectCosts(row.run_id, row.usage_seq - 1, tuple(page.changes)))
        write, spent = rig.engine._repricing._submit, []

        async def late(principal: Any, command: Any, *more: Any) -> Any:
            if isinstance(command, CorrectCosts) and len(spent) < 3:
                spent.append(await tell(rig, "a", model="big", report=UsageReport(Usage(input_tokens=1), "delta")))
            return await write(principal, command, *more)

        monkeypatch.setattr(rig.engine._repricing, "_submit", late)
        monkeypatch.setattr(reprice, "EVENTS_AT_ONCE", 1)
        await rig.do(Reprice(since=0, dry_run=False))
        assert (await found(rig))[0] == 20 * 104
        kinds = [event.type for event in await rig.log()]
        assert kinds.count(EventType.COST_REPRICED) == 1
        await end(rig, "a")
        await checked(rig)
