"""Outlines are worked out once: what was read of a long run is kept, and grows by what is new."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from towerlog.engine.queries.context import QueryContext
from towerlog.engine.queries.screens import kept_outlines, outlines
from towerlog.engine.queries.screens.kept_outlines import MIN_KEPT_EVENTS
from towerlog.model.event import EventType as E
from towerlog.model.facts import Facts
from towerlog.model.outline import Outline
from towerlog.model.question import GetOutline, RunFilter

KINDS = (E.MESSAGE_DELTA, E.TOOL_CALL, E.STEP, E.OTHER)
PER_REQUEST = 500


async def tell(rig: Rig, trace: str, count: int) -> str:
    """More events of a run, of several kinds; its id."""
    for start in range(0, count, PER_REQUEST):
        told = [
            draft(KINDS[n % 4], traced(trace), facts=Facts(tool=f"t{n % 3}", duration_ms=n % 5))
            for n in range(start, min(count, start + PER_REQUEST))
        ]
        await rig.append(*told)
        rig.clock.advance(1700)
    [found] = [row for row in await rig.store.runs(rig.org, RunFilter(), 10, None) if row.trace_id == trace]
    return found.run_id


@pytest.fixture
def read_after(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After which seq events were read for outlines."""
    asked: list[int] = []
    real = rig.store.moments

    async def moments(org: int, run: int, after_seq: int, limit: int) -> Any:
        asked.append(after_seq)
        return await real(org, run, after_seq, limit)

    monkeypatch.setattr(rig.store, "moments", moments)
    return asked


def source_of(rig: Rig) -> QueryContext:
    """One that knows no run yet."""
    return QueryContext(rig.store, rig.clock, rig.engine._serving)


async def ask(source: QueryContext, rig: Rig, run_id: str) -> Outline:
    return await outlines.answer(source, rig.principal, GetOutline(run_id, 500, None, None))


async def test_a_long_run_is_read_on_from_where_it_was_known(rig, read_after) -> None:
    run_id, source = await tell(rig, "a", MIN_KEPT_EVENTS), source_of(rig)
    first = await ask(source, rig, run_id)
    assert (first.events, first.whole, read_after) == (MIN_KEPT_EVENTS, True, [0])
    await tell(rig, "a", 700)
    read_after.clear()
    grown = await ask(source, rig, run_id)
    assert (grown.events, read_after) == (MIN_KEPT_EVENTS + 700, [MIN_KEPT_EVENTS])
    assert grown == await ask(source_of(rig), rig, run_id)
    assert len(grown.tools) == 3


async def test_a_short_run_is_read_again_and_leaves_nothing(rig, read_after) -> None:
    run_id, source = await tell(rig, "a", MIN_KEPT_EVENTS - 1), source_of(rig)
    assert await ask(source, rig, run_id) == await ask(source, rig, run_id)
    assert read_after == [0, 0]


async def test_those_who_ask_at_once_are_told_the_same_and_no_event_counts_twice(rig, monkeypatch) -> None:
    monkeypatch.setattr(outlines, "PAGE_MOMENTS", 300)
    run_id, source = await tell(rig, "a", MIN_KEPT_EVENTS), source_of(rig)
    await ask(source, rig, run_id)
    await tell(rig, "a", 2100)
    expected = await ask(source_of(rig), rig, run_id)
    assert expected.events == MIN_KEPT_EVENTS + 2100
    assert await asyncio.gather(*(ask(source, rig, run_id) for _ in range(6))) == [expected] * 6


async def test_whoever_goes_away_leaves_an_outline_that_is_whole(rig, monkeypatch) -> None:
    monkeypatch.setattr(outlines, "PAGE_MOMENTS", 300)
    run_id, source = await tell(rig, "a", MIN_KEPT_EVENTS), source_of(rig)
    await ask(source, rig, run_id)
    await tell(rig, "a", 2100)
    for turns in range(1, 40, 3):
        asking = asyncio.create_task(ask(source, rig, run_id))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
    assert await ask(source, rig, run_id) == await ask(source_of(rig), rig, run_id)


async def test_those_asked_for_longest_ago_give_way(rig, read_after, monkeypatch) -> None:
    monkeypatch.setattr(kept_outlines, "MAX_KEPT_SPANS", MIN_KEPT_EVENTS * 2)
    source = source_of(rig)
    runs = [await tell(rig, trace, MIN_KEPT_EVENTS) for trace in "abc"]
    for run_id in (*runs, runs[2], runs[1], runs[0]):
        await ask(source, rig, run_id)
    held = sum(one.outliner.span_count for one in source.outlines._of_runs.values())
    assert 0 < held <= MIN_KEPT_EVENTS * 2
    assert read_after == [0, 0, 0, MIN_KEPT_EVENTS, MIN_KEPT_EVENTS, 0]
