"""Totals of several buckets in several hours, and calls that are in them: what is left of a total has the price that it
would have had from the start, and what is shown as used costs what it is shown to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.engine.repricing.test_replay import DAY_MS, found, places
from tests.projections.test_computed_costs import HOUR_MS, checked, tell
from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.model.price import Reprice
from towerlog.model.usage import Usage, UsageReport

PRICE = (20, 2, 25, 80, 80)
"""Of a token of input, cached input, cache write, output and reasoning."""


class Told(NamedTuple):
    """A call, or what a running total has grown by since the last one; tokens that are None are not told."""

    kind: str
    sent: int = 0
    cached: int | None = None
    output: int = 0
    agent: str = "a"


tellings = st.builds(
    Told,
    st.sampled_from(["total"] * 3 + ["call"] * 3 + ["bare", "whole", "flat", "pass", "pass"]),
    st.integers(0, 99),
    st.none() | st.integers(0, 60),
    st.integers(0, 40),
    st.sampled_from("aab"),
)


class Running:
    """What an agent has told as a running total so far."""

    def __init__(self) -> None:
        self.sent = self.cached = self.output = 0

    def grown(self, told: Told) -> UsageReport:
        self.sent, self.output = self.sent + told.sent + (told.cached or 0), self.output + told.output
        self.cached += told.cached or 0
        all_tokens = self.sent + self.output
        if told.kind == "bare":
            return UsageReport(Usage(total_tokens=all_tokens), inclusive=True, by_size=True)
        if told.kind == "flat":
            usage = Usage(self.sent, output_tokens=self.output, total_tokens=all_tokens)
        else:
            usage = Usage(self.sent - self.cached, self.cached or None, None, self.output, None, all_tokens)
        return UsageReport(usage, "turn" if told.kind == "flat" else "total", inclusive=True, by_size=True)


async def play(rig: Rig, story: list[Told]) -> None:
    """Tells a story in an organisation of its own."""
    rig.principal = await rig.make_org(rig.ids.uuid())
    rig.clock.advance(DAY_MS - rig.clock.now_ms() % DAY_MS)
    running = {"a": Running(), "b": Running()}
    for told in story:
        if told.kind == "pass":
            rig.clock.advance(HOUR_MS)
        elif told.kind == "call":
            usage = Usage(told.sent, told.cached, output_tokens=told.output)
            await tell(rig, told.agent, model="big", report=UsageReport(usage, "delta"))
        elif told.kind == "whole":
            report = UsageReport(Usage(3 * told.sent, output_tokens=3 * told.output), whole_run=True, inclusive=True)
            await tell(rig, told.agent, report=report)
        else:
            await tell(rig, told.agent, model="big", report=running[told.agent].grown(told))


def worth(usage: Usage) -> int:
    """What these tokens cost."""
    told = (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
    return sum((tokens or 0) * price for tokens, price in zip(told, PRICE, strict=True))


async def check(rig: Rig, prices: FixedPrices, story: list[Told]) -> None:
    """One story under prices that hold from the start, and under none, with the costs computed anew."""
    prices.cards = {"big": card(*PRICE)}
    await play(rig, story)
    await checked(rig)
    at_once, where = await found(rig), await places(rig)
    for row in (await rig.store.rows(rig.org)).runs:
        cost = row.usage.cost_nanos or 0
        assert cost <= worth(row.usage), "it is shown to cost no more than its tokens do"
        if not row.usage.unpriced_calls:
            assert cost == worth(row.usage)
    prices.cards = {}
    await play(rig, story)
    prices.cards = {"big": card(*PRICE)}
    await rig.do(Reprice(since=0, dry_run=False))
    await checked(rig)
    assert (await rig.do(Reprice(since=0))).changes == []
    late = await found(rig)
    assert (late[0] or 0, late[1] or 0, late[2]) == (at_once[0] or 0, at_once[1] or 0, at_once[2])
    assert await places(rig) == where


STORIES = {
    "a call that tells no cache, in the second of two hours": [
        Told("total", 92, 91, 112),
        Told("pass"),
        Told("total", 26, 26, 16),
        Told("call", 63, None, 85),
    ],
    "a call that leaves of one hour what nobody knows the kind of": [
        Told("bare", 100),
        Told("pass"),
        Told("total", 50, 10, 20),
        Told("call", 40, 30, 10),
    ],
    "calls in turn": [
        Told("total", 92, 91, 12),
        Told("call", 63, None, 5),
        Told("pass"),
        Told("total", 26, 26, 16),
        Told("call", 63, 9, 35),
        Told("whole", 99, None, 99),
    ],
}


@table("name", STORIES)
async def test_what_calls_leave_of_a_total_is_priced_as_from_the_start(tmp_path: Path, name: str) -> None:
    prices = FixedPrices({})
    async with open_rig(tmp_path / name, prices=prices) as rig:
        await check(rig, prices, STORIES[name])


async def test_what_calls_leave_of_a_total_has_its_split_in_each_hour(tmp_path: Path) -> None:
    prices = FixedPrices({"big": card(*PRICE)})
    async with open_rig(tmp_path, prices=prices) as rig:
        await play(rig, STORIES["a call that tells no cache, in the second of two hours"])
        used = [cell.usage for cell in (await rig.store.rows(rig.org)).usage]
        assert [(one.total_tokens, one.unsplit_tokens()) for one in used] == [(189, 0), (174, 0)]
        assert [one.cost_nanos for one in used] == [worth(one) for one in used]


@pytest.mark.parametrize("examples", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_whatever_is_told_costs_what_its_tokens_do(tmp_path: Path, examples: int) -> None:
    prices = FixedPrices({})
    with asyncio.Runner() as runner:

        @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate, Phase.shrink], deadline=None)
        @given(st.lists(tellings, max_size=9))
        def holds(story: list[Told]) -> None:
            runner.run(check(rig, prices, story))

        opened = open_rig(tmp_path, prices=prices)
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))
