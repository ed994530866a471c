"""A cost of a whole process, told by several agents, models, hours and runs of it.

Each dollar stands where it was spent, in whatever order the costs come.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.projections.test_computed_costs import HOUR_MS, checked
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoints.events import Places, RunnerEvent, draft_of
from towerlog.model.budget import BudgetAction, BudgetScope, CreateBudget, Period
from towerlog.model.command import Append
from towerlog.model.event import Item
from towerlog.model.spending import TOTAL_DECREASED
from towerlog.model.thread import MAX_COST_PLACES, MAX_COST_PLACES_BYTES
from towerlog.model.times import format_ms

Json = dict[str, Any]
MAX_HOURS = 3


class Cost(NamedTuple):
    """A checkpoint that tells what its process has spent so far; `more`: how much more than the one before it."""

    agent: str = "a"
    model: str = "big"
    hour: int = 0
    more: int = 1
    trace: str = "x"
    tokens: int = 0


costs = st.builds(
    Cost,
    st.sampled_from("aab"),
    st.sampled_from(["big", "big", "small"]),
    st.integers(0, MAX_HOURS - 1),
    st.integers(0, 9),
    st.sampled_from(["x", "x", "below"]),
    st.sampled_from([0, 0, 7]),
)


def posts(story: list[Cost], now_ms: int) -> list[Json]:
    """The checkpoints of a story, in its order; each hour is later than that of the one before it."""
    found: list[Json] = []
    steps, tokens, spent, hour = Counter[tuple[str, str]](), Counter[tuple[str, str]](), 0, 0
    for at, one in enumerate(story):
        whose, spent, hour = (one.trace, one.agent), spent + one.more, max(hour, one.hour)
        steps[whose] += 1
        tokens[whose] += one.tokens
        data = {
            "thread_id": "t",
            "trace_id": one.trace,
            "agent_id": one.agent,
            "parent_trace_id": "x" if one.trace == "below" else None,
            "step_index": steps[whose],
            "history": [{"role": "user", "content": "?"}] * steps[whose],
            "model": one.model,
            "run_cost_usd": spent / 1000,
            "tokens_used": tokens[whose] if one.tokens else None,
        }
        happened = now_ms - (MAX_HOURS - hour) * HOUR_MS + at
        found.append({"type": "checkpoint", "occurred_at": format_ms(happened), "data": data})
    return found


async def tell(rig: Rig, event: Json) -> None:
    raw = {**event, "data": msgspec.Raw(msgspec.json.encode(event["data"]))}
    item: Item = draft_of(msgspec.convert(raw, RunnerEvent), DialectSettings(), Places(), [])
    await rig.do(Append("checkpoints", [item]), dialect="checkpoints")


async def state(rig: Rig) -> dict[str, Any]:
    """Dollars/1000 by cell, and of budgets; flags of the runs."""
    cells = Counter[tuple[int, str, str]]()
    rows = await rig.store.rows(rig.org)
    for cell in rows.usage:
        cells[cell.hour, cell.agent, cell.model] += (cell.usage.cost_nanos or 0) // 1_000_000
    budgets = {row.name: row.spent_nanos // 1_000_000 for row in await rig.store.budgets(rig.org, 9, None)}
    flags = {row.trace_id: row.usage_flags for row in rows.runs}
    runs = {row.trace_id: (row.usage.cost_nanos or 0) // 1_000_000 for row in rows.runs}
    return {"cells": +cells, "budgets": budgets, "flags": flags, "runs": runs}


async def play(rig: Rig, events: list[Json]) -> dict[str, Any]:
    """Tells events in an organisation of its own, in this order."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    for agent in (None, "a", "b"):
        scope = BudgetScope(organisation=agent is None, agent=agent)
        await rig.do(CreateBudget(f"{agent}", scope, 10**12, Period.TOTAL, BudgetAction.WARN))
    start = {"thread_id": "t", "trace_id": "x", "agent_id": "a"}
    await tell(rig, {"type": "thread_started", "data": start})
    below = {"thread_id": "t", "trace_id": "below", "agent_id": "b", "parent_trace_id": "x"}
    if any(event["data"]["trace_id"] == "below" for event in events):
        await tell(rig, {"type": "thread_started", "data": below})
    for event in events:
        await tell(rig, event)
    await checked(rig)
    return await state(rig)


def spent(story: list[Cost], now_ms: int) -> Counter[tuple[int, str, str]]:
    """What each place has spent."""
    found, hour = Counter[tuple[int, str, str]](), 0
    for one in story:
        hour = max(hour, one.hour)
        found[now_ms // HOUR_MS - (MAX_HOURS - hour), one.agent, one.model] += one.more
    return +found


async def check(rig: Rig, story: list[Cost], orders: list[tuple[int, ...]]) -> None:
    rig.clock.advance(HOUR_MS - rig.clock.now_ms() % HOUR_MS + HOUR_MS // 4)
    now = rig.clock.now_ms()
    told = posts(story, now)
    in_order = await play(rig, told)
    assert in_order["cells"] == spent(story, now)
    for agent in "ab":
        assert in_order["budgets"][agent] == sum(one.more for one in story if one.agent == agent)
    assert in_order["budgets"]["None"] == sum(one.more for one in story)
    for order in orders:
        assert await play(rig, [told[at] for at in order]) == in_order, order


STORIES = {
    "two models of one agent": [Cost(), Cost(model="small", more=100), Cost(more=1)],
    "two agents": [Cost(), Cost("b", "small", more=100), Cost(more=1)],
    "hours": [Cost(more=5), Cost(hour=1, more=20), Cost(hour=2, more=7)],
    "a run below": [Cost(more=5), Cost("b", "small", 1, 20, "below"), Cost(hour=2, more=7)],
    "a step that costs nothing": [Cost(more=5), Cost("b", more=0), Cost(hour=1, more=7)],
}


@table("name", STORIES)
async def test_each_part_of_a_cost_stands_where_it_was_spent(tmp_path: Path, name: str) -> None:
    async with open_rig(tmp_path / name) as rig:
        await check(rig, STORIES[name], [*permutations(range(len(STORIES[name])))])


@pytest.mark.parametrize("examples", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_the_order_changes_nothing_of_where_a_cost_stands(tmp_path: Path, examples: int) -> None:
    with asyncio.Runner() as runner:

        @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate, Phase.shrink], deadline=None)
        @given(st.lists(costs, min_size=2, max_size=7), st.data())
        def holds(story: list[Cost], data: st.DataObject) -> None:
            orders = [tuple(data.draw(st.permutations(range(len(story))))) for _ in range(2)]
            runner.run(check(rig, story, orders))

        opened = open_rig(tmp_path)
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def test_a_cost_that_falls_is_flagged_in_either_order(tmp_path: Path) -> None:
    """The same agent tells less at a later step."""
    async with open_rig(tmp_path) as rig:
        first, second, third = posts([Cost(more=5), Cost(more=2), Cost(more=9)], rig.clock.now_ms())
        second["data"]["run_cost_usd"] = 0.001
        for order in permutations([first, second, third]):
            found = await play(rig, [*order])
            assert found["flags"]["x"] == (TOTAL_DECREASED,)
            assert sum(found["cells"].values()) == 16


@pytest.mark.parametrize("chars", [1, 90])
async def test_the_places_of_a_thread_are_bounded(tmp_path: Path, chars: int) -> None:
    """What is below the remembered ones stays where it is; the sum is right."""
    story = [Cost("ab"[at % 2] * chars, "m" * chars, more=1) for at in range(3 * MAX_COST_PLACES)]
    async with open_rig(tmp_path) as rig:
        told = posts(story, rig.clock.now_ms())
        found = await play(rig, [*told[1:], told[0]])
        assert sum(found["cells"].values()) == len(story)
        [thread] = (await rig.store.rows(rig.org)).threads
        [places] = thread.cost_places.values()
        assert len(places) <= MAX_COST_PLACES
        assert len(msgspec.json.encode(thread.cost_places)) <= MAX_COST_PLACES_BYTES
        assert places[-1].high == len(story) * 1_000_000
