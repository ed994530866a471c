"""Running totals and the calls that they are of, told in any order: one truth of tokens, costs, agents and models."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.projections.test_computed_costs import checked, tell
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.event import EventType
from towerlog.model.usage import Usage, UsageReport

PRICES = FixedPrices({"big": card(10, 1, 12, 40), "small": card(2, 1, 3, 8)})
Telling = dict[str, Any]
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without a search for the smallest story, each of which takes a while."""


def call(model: str | None, *tokens: int, agent: str = "a", **more: Any) -> Telling:
    """A call with tokens of input, cached input, cache write, output."""
    return {"agent": agent, "model": model, "report": UsageReport(Usage(*tokens), "delta"), **more}


def total(
    model: str | None, sent: int, written: int, agent: str = "a", whole_run: bool = False, by_size: bool = False
) -> Telling:
    """A running total whose input includes what was cached."""
    usage = Usage(input_tokens=sent, output_tokens=written, total_tokens=sent + written)
    report = UsageReport(usage, "total", whole_run, inclusive=True, by_size=by_size)
    return {"agent": agent, "model": model, "report": report, "kind": EventType.STEP}


async def sums(rig: Rig, tellings: list[Telling]) -> dict[str, Any]:
    """All that is shown of a run after these were told in an organisation of its own."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    for agent in (None, "a", "b"):
        scope = BudgetScope(organisation=agent is None, agent=agent)
        await rig.do(CreateBudget(f"of {agent}", scope, 10**9, Period.TOTAL, BudgetAction.WARN))
    for telling in tellings:
        await tell(rig, **telling)
    costs = await checked(rig)
    rows = await rig.store.rows(rig.org)
    [row] = rows.runs
    tokens: dict[str, Any] = {}
    for cell in rows.usage:
        of, buckets = cell.usage, tokens.setdefault(cell.model, [0] * 6)
        figures = (of.input_tokens, of.cached_input_tokens, of.cache_write_tokens, of.output_tokens)
        for at, figure in enumerate((*figures, of.reasoning_tokens, of.total_tokens)):
            assert (figure or 0) >= 0, cell
            buckets[at] += figure or 0
    spent = {one.name: one.spent_nanos for one in await rig.store.budgets(rig.org, 10, None)}
    by_agent = {one.name: (one.usage.all_tokens() or 0, one.usage.cost_nanos or 0) for one in rows.agents}
    known = {model: buckets for model, buckets in tokens.items() if any(buckets)}
    return {
        "run": row.usage,
        "tokens": known,
        "costs": costs,
        "budgets": spent,
        "agents": {name: figures for name, figures in by_agent.items() if any(figures)},
    }


CALLS = [call("big", 100, 900, 0, 100), call("big", 200, 1800, 50, 200)]
END = total("big", 3050, 300, whole_run=True)
OF_CALLS = 300 * 10 + 2700 + 50 * 12 + 300 * 40


@table("at", [0, 1, 2])
@table("end", [END, total("big", 3050, 300)])
async def test_calls_in_a_total_decide_whichever_came_first(tmp_path: Path, at: int, end: Telling) -> None:
    async with open_rig(tmp_path / f"{at} {end is END}", prices=PRICES) as rig:
        found = await sums(rig, [*CALLS[:at], end, *CALLS[at:]])
    assert found["run"] == Usage(300, 2700, 50, 300, None, 3350, OF_CALLS, OF_CALLS)
    assert found["tokens"] == {"big": [300, 2700, 50, 300, 0, 3350]}
    assert found["budgets"] == {"of None": OF_CALLS, "of a": OF_CALLS, "of b": 0}
    assert found["agents"] == {"a": (3350, OF_CALLS)}


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_calls_of_other_models_take_their_cost_with_them(tmp_path: Path, at: int) -> None:
    calls = [call("big", 100, 0, 0, 10), call("small", 200, 0, 0, 20)]
    async with open_rig(tmp_path, prices=PRICES) as rig:
        found = await sums(rig, [*calls[:at], total("big", 300, 30, whole_run=True), *calls[at:]])
    assert found["costs"] == {"big": (1400, 1400, 0), "small": (560, 560, 0)}
    assert found["budgets"]["of a"] == 1960


async def test_no_budget_counts_a_call_twice_for_a_moment(tmp_path: Path) -> None:
    """The total leaves before the call comes, so a budget of just its cost is not exceeded by both."""
    async with open_rig(tmp_path, prices=PRICES) as rig:
        await rig.do(CreateBudget("all", BudgetScope(organisation=True), 43_000, Period.TOTAL, BudgetAction.CANCEL))
        for telling in (total("big", 3000, 300), call("big", 3000, 0, 0, 300)):
            await tell(rig, **telling)
        [row] = (await rig.store.rows(rig.org)).runs
        assert (row.usage.cost_nanos, row.cancel_requested_at) == (42_000, None)


counts = st.integers(0, 40)
calls = st.builds(call, st.sampled_from(["big", "small"]), counts, counts, counts, counts, agent=st.sampled_from("ab"))


@given(data=st.data())
@settings(max_examples=25, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_calls_and_totals_changes_nothing(tmp_path: Path, data: st.DataObject) -> None:
    """Totals that are those of some calls or more, of each agent and of the run, in any order with the calls."""
    told = data.draw(st.lists(calls, min_size=1, max_size=5))
    tellings = list(told)
    for agent in "ab":
        mine = [one["report"].usage for one in told if one["agent"] == agent]
        for upto in data.draw(st.lists(st.integers(1, len(mine)), max_size=2)) if mine else ():
            sent = sum(one.all_input_tokens() or 0 for one in mine[:upto])
            written = sum(one.output_tokens or 0 for one in mine[:upto])
            tellings.append(total(None, sent, written, agent, by_size=data.draw(st.booleans())))
    if data.draw(st.booleans()):
        sent = sum(one["report"].usage.all_input_tokens() or 0 for one in told)
        written = sum(one["report"].usage.output_tokens or 0 for one in told)
        tellings.append(total("big", sent, written, data.draw(st.sampled_from("ab")), whole_run=True))
    shuffled = data.draw(st.permutations(tellings))

    async def both() -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            async with open_rig(Path(folder), prices=PRICES) as rig:
                found, expected = await sums(rig, list(shuffled)), await sums(rig, told)
                for one in (found, expected):  # who was told 0 is no news
                    one["run"] = [figure or 0 for figure in msgspec.structs.astuple(one["run"])]
                for name, value in expected.items():
                    assert found[name] == value, name

    asyncio.run(both())
