"""Usage for people: how cells are grouped, cut by time and paged, and that nothing is lost or counted twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.fakes import START_MS, FakeClock
from tests.support.rig import Rig, open_rig
from tests.support.tables import table
from towerlog.engine.queries.usage import MAX_SPAN_HOURS
from towerlog.engine.verify import verify_org
from towerlog.errors import Invalid
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.question import GetUsage
from towerlog.model.usage import Usage, UsageReport, UsageRow
from towerlog.projections.usage import HOUR_MS

HOUR = START_MS // HOUR_MS


async def spend(rig: Rig, agent: str, model: str, tokens: int) -> None:
    """One model call of an agent, in a run of its own with that model."""
    facts = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=tokens), "delta"), model=model))
    await rig.append(draft(EventType.MODEL_CALL, traced(f"{agent} {model}"), agent=agent, facts=facts))


@pytest.fixture
async def spent(rig: Rig) -> Rig:
    """Three hours: 1 + 10 in the first, 100 in the second, 1000 in the third."""
    await spend(rig, "a", "m", 1)
    await spend(rig, "b", "m", 10)
    rig.clock.advance(HOUR_MS)
    await spend(rig, "a", "n", 100)
    rig.clock.advance(HOUR_MS)
    await spend(rig, "b", "n", 1000)
    return rig


async def usage(rig: Rig, by: str = "hour", limit: int = 100, **fields: Any) -> list[UsageRow]:
    """One page's rows."""
    rows: list[UsageRow] = (await rig.do(GetUsage(by, limit, **fields))).rows
    return rows


def tokens(rows: list[UsageRow]) -> list[int | None]:
    """What went in, row by row."""
    return [row.usage.input_tokens for row in rows]


async def test_cells_are_added_up_by_what_is_asked_for(spent: Rig) -> None:
    rows = await usage(spent)
    assert [(row.hour, row.agent, row.model, row.status) for row in rows] == [
        (hour, "", "", "") for hour in (HOUR, HOUR + 1, HOUR + 2)
    ]
    assert tokens(rows) == [11, 100, 1000]
    by_agent = await usage(spent, "agent")
    assert [(row.agent, row.hour, row.model, row.status) for row in by_agent] == [("a", 0, "", ""), ("b", 0, "", "")]
    assert tokens(by_agent) == [101, 1010]
    by_model = await usage(spent, "model")
    assert [(row.model, row.hour, row.agent) for row in by_model] == [("m", 0, ""), ("n", 0, "")]
    assert tokens(by_model) == [11, 1100]
    for groups in (rows, by_agent, by_model):
        assert sum(row.events for row in groups) == 4
        assert sum(row.runs_started for row in groups) == 4


async def test_agent_and_model_narrow_it(spent: Rig) -> None:
    assert tokens(await usage(spent, agent="a")) == [1, 100]
    assert tokens(await usage(spent, "agent", model="n")) == [100, 1000]
    assert tokens(await usage(spent, "model", agent="b", model="m")) == [10]
    assert await usage(spent, agent="nobody") == []


async def test_times_are_cut_to_whole_hours_that_they_touch(spent: Rig) -> None:
    """A cell is an hour: the one that the end lies in counts whole, unless the end is its very beginning."""
    start = HOUR * HOUR_MS
    cases = {
        (start, start + HOUR_MS): [11],
        (start, start + HOUR_MS + 1): [11, 100],
        (start + HOUR_MS - 1, start + 3 * HOUR_MS): [11, 100, 1000],
        (start + HOUR_MS, start + 3 * HOUR_MS): [100, 1000],
        (start + 3 * HOUR_MS, start + 9 * HOUR_MS): [],
        (start, start): [],
    }
    for (since, until), expected in cases.items():
        assert tokens(await usage(spent, since=since, until=until)) == expected, (since, until)


async def test_without_times_it_is_the_week_up_to_now(spent: Rig) -> None:
    assert tokens(await usage(spent)) == [11, 100, 1000], "the hour that is not over counts"
    spent.clock.advance(24 * 7 * HOUR_MS - 2 * HOUR_MS)
    assert tokens(await usage(spent)) == [100, 1000]
    spent.clock.advance(24 * 7 * HOUR_MS)
    assert await usage(spent) == []
    assert tokens(await usage(spent, since=START_MS)) == [11, 100, 1000]


async def test_more_than_a_year_is_refused(spent: Rig) -> None:
    start = HOUR * HOUR_MS
    with pytest.raises(Invalid) as caught:
        await usage(spent, since=start, until=start + MAX_SPAN_HOURS * HOUR_MS + 1)
    assert caught.value.field == "since"
    assert len(await usage(spent, since=start, until=start + MAX_SPAN_HOURS * HOUR_MS)) == 3


@table("by", ["hour", "agent", "model"])
@table("limit", [1, 2, 3])
async def test_pages_follow_one_another_without_gap_or_repeat(spent: Rig, by: str, limit: int) -> None:
    whole = await usage(spent, by)
    found: list[UsageRow] = []
    after = None
    while True:
        page = await spent.do(GetUsage(by, limit, after=after))
        assert len(page.rows) <= limit
        found += page.rows
        after = page.next
        if after is None:
            break
    assert found == whole


async def test_the_last_page_says_that_it_is_the_last(spent: Rig) -> None:
    assert (await spent.do(GetUsage("agent", 1))).next == "a"
    assert (await spent.do(GetUsage("agent", 2))).next is None


async def test_hours_are_in_order_whatever_their_length(tmp_path: Path) -> None:
    async with open_rig(tmp_path, clock=FakeClock(99_999 * HOUR_MS)) as rig:
        await spend(rig, "a", "m", 1)
        rig.clock.advance(HOUR_MS)
        await spend(rig, "a", "m", 10)
        first = await rig.do(GetUsage("hour", 1))
        assert [row.hour for row in first.rows] == [99_999]
        assert [row.hour for row in await usage(rig, after=first.next)] == [100_000]


async def test_unknown_figures_stay_unknown(rig: Rig) -> None:
    await rig.append(draft(run=traced("x"), agent="a"))
    await spend(rig, "b", "m", 0)
    assert tokens(await usage(rig, "agent")) == [None, 0]
    assert tokens(await usage(rig)) == [0]


async def test_another_organisation_sees_nothing_of_it(spent: Rig) -> None:
    other = await spent.make_org("other")
    assert (await spent.do(GetUsage("agent", 100), principal=other)).rows == []


async def test_a_page_says_which_time_was_added_up(spent: Rig) -> None:
    """Without a beginning the sums are of seven days: what is older would otherwise be missing without a word."""
    page = await spent.do(GetUsage("hour", 1))
    assert page.span == ((HOUR + 3) * HOUR_MS - 7 * 24 * HOUR_MS, (HOUR + 3) * HOUR_MS)
    page = await spent.do(GetUsage("hour", 9, since=5 * HOUR_MS + 1, until=7 * HOUR_MS + 1))
    assert page.span == (5 * HOUR_MS, 8 * HOUR_MS)


async def test_a_run_counts_under_the_model_that_it_names_later(rig: Rig) -> None:
    """Once, and where it began: under no other model, in no other hour."""
    await rig.append(draft(run=traced("x"), agent="a"))
    await rig.append(draft(run=traced("silent"), agent="a"))
    rig.clock.advance(HOUR_MS)
    for model in ("m", "n"):
        facts = Facts(effects=Effects(report=UsageReport(Usage(input_tokens=1), "delta"), model=model))
        await rig.append(draft(EventType.MODEL_CALL, traced("x"), agent="b", facts=facts))
    assert {row.model: row.runs_started for row in await usage(rig, "model")} == {"": 1, "m": 1, "n": 0}
    assert [row.runs_started for row in await usage(rig)] == [2, 0]
    assert {row.agent: row.runs_started for row in await usage(rig, "agent")} == {"a": 2, "b": 0}
    assert await verify_org(rig.store, rig.principal.org) == 0


async def test_what_a_run_did_before_it_named_a_model_counts_under_that_model(rig: Rig) -> None:
    """Also when it is named after the end; and nothing is left of the group that had it."""
    start = Facts(effects=Effects(is_start=True))
    kinds = (EventType.STEP, EventType.TOOL_CALL, EventType.RUN_COMPLETED)
    await rig.append(draft(EventType.RUN_STARTED, traced("a m"), agent="a", facts=start))
    await rig.append(*(draft(kind, traced("a m")) for kind in kinds))

    async def counts(by: str) -> list[tuple[str, int, int, int]]:
        return [(row.model, row.events, row.runs_started, row.runs_ended) for row in await usage(rig, by)]

    assert await counts("model") == [("", 4, 1, 1)]
    await spend(rig, "a", "m", 5)
    assert await counts("model") == [("m", 5, 1, 1)]
    assert await counts("hour") == await counts("agent") == [("", 5, 1, 1)]
    assert await verify_org(rig.store, rig.org) == 0
