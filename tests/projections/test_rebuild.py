"""The laws of all folds together, for random stories: a rebuild from the log gives the rows that are there."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from msgspec.structs import replace

from tests.support.prices import FixedPrices, card
from tests.support.rig import Rig, open_rig
from tests.support.stories import play, stories
from towerlog.engine.verify import verify_org
from towerlog.model.event import EventType
from towerlog.model.principal import Principal
from towerlog.model.run import TERMINAL, TRANSITIONS, RunRow, Status
from towerlog.model.usage import NO_USAGE, Usage
from towerlog.projections import runs as run_fold
from towerlog.store.values import Rows


@pytest.mark.parametrize("examples", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_rebuild_equals_incremental(tmp_path: Path, examples: int) -> None:
    """Whatever is sent in whatever order, with the writer's cache or without it."""
    names = map("org {}".format, itertools.count())

    with asyncio.Runner() as runner:
        # Not shrunk: a story is short enough to read, and shrinking one takes minutes.
        @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate])
        @given(stories)
        def holds(story: list[tuple[str, Any]]) -> None:
            runner.run(check_story(rig, next(names), story))

        # One of the models has a price.
        opened = open_rig(tmp_path, prices=FixedPrices({"m1": card(3, 1, 4, 7, 9)}))
        rig = runner.run(opened.__aenter__())
        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def check_story(rig: Rig, name: str, story: list[tuple[str, Any]]) -> None:
    """Plays it in an organisation of its own, then holds every law against what is there."""
    who = await rig.make_org(name)
    await play(rig, story, who)
    complaints: list[str] = []
    assert await verify_org(rig.store, who.org, complaints.append) == 0, complaints
    rows = await rig.store.rows(who.org)
    check_sums(rows)
    for row in rows.runs:
        await check_status(rig, who, row)
        await check_numbers(rig, who, row)
    for thread in rows.threads:
        runs = [row for row in rows.runs if row.thread_id == thread.thread_id]
        assert thread.open_runs == tuple(sorted(row.run for row in runs if not row.is_terminal()))
        assert thread.run_count == len(runs)
        assert thread.newest_run == max((row.run for row in runs), default=0)


def check_sums(rows: Rows) -> None:
    """Runs, agents and roll-up cells tell the same sums, each in its own way."""
    for bucket in Usage.__struct_fields__:

        def total(found: list[Any], bucket: str = bucket) -> int:
            return sum(getattr(row.usage, bucket) or 0 for row in found)

        assert total(rows.agents) == total(rows.usage), bucket
        of_runs = total(rows.runs)
        # A cost that one process tells in several runs of a thread is counted once.
        least = of_runs if bucket != "cost_nanos" else least_cost(rows.runs)
        assert least <= total(rows.usage) <= of_runs, bucket
        for row in (*rows.runs, *rows.agents, *rows.usage):
            assert (getattr(row.usage, bucket) or 0) >= 0, (bucket, row)
    events = sum(row.last_seq for row in rows.runs)
    assert events == rows.position == sum(cell.events for cell in rows.usage)
    assert events == sum(agent.event_count for agent in rows.agents)
    assert len(rows.runs) == sum(cell.runs_started for cell in rows.usage)
    assert sum(row.is_terminal() for row in rows.runs) == sum(cell.runs_ended for cell in rows.usage)
    for model in {row.first_model for row in rows.runs} | {cell.model or None for cell in rows.usage}:
        of_model = [row for row in rows.runs if row.first_model == model]
        cells = [cell for cell in rows.usage if (cell.model or None) == model]
        assert len(of_model) == sum(cell.runs_started for cell in cells), model
        assert sum(row.is_terminal() for row in of_model) == sum(cell.runs_ended for cell in cells), model
    assert all(min(cell.events, cell.runs_started, cell.runs_ended) >= 0 for cell in rows.usage)


def as_told(usage: Usage) -> Usage:
    """Without what was computed."""
    return replace(usage, cost_nanos=usage.reported_nanos() or None, computed_nanos=None, unpriced_calls=None)


def least_cost(runs: list[RunRow]) -> int:
    """The cost of the runs if one process in each thread has told all of its costs of processes."""
    alone = sum(row.usage.cost_nanos or 0 for row in runs if row.process_cost is None)
    shared: dict[str, int] = {}
    for row in runs:
        if row.process_cost is not None:
            shared[row.thread_id] = max(shared.get(row.thread_id, 0), row.usage.cost_nanos or 0)
    return alone + sum(shared.values())


async def check_numbers(rig: Rig, who: Principal, row: RunRow) -> None:
    """The ledger tells what a set of the numbers of all stored events would."""
    received: dict[str, set[int]] = {}
    dropped: dict[str, set[int]] = {}
    for event in await rig.store.events(who.org, row.run, 0, 1000):
        facts = event.facts
        if facts.client_id is None or facts.client_seq is None:
            continue
        received.setdefault(facts.client_id, set()).add(facts.client_seq)
        first, last = facts.client_dropped or (1, 0)
        dropped.setdefault(facts.client_id, set()).update(range(first, last + 1))
    assert set(row.clients) == set(received)
    for client_id, ledger in row.clients.items():
        came, gone = received[client_id], dropped[client_id] - received[client_id]
        assert (ledger.received_count(), ledger.dropped_count()) == (len(came), len(gone))
        holes = {number for first, last in ledger.missing() for number in range(first, last + 1)}
        assert holes == set(range(1, max(came | gone) + 1)) - came - gone


def sums_of(usage: Usage) -> tuple[int, ...]:
    """All input, all output, all tokens and the cost, 0 where they are unknown."""
    figures = (usage.all_input_tokens(), usage.all_output_tokens(), usage.all_tokens(), usage.cost_nanos)
    return tuple(figure or 0 for figure in figures)


async def check_status(rig: Rig, who: Principal, row: RunRow) -> None:
    """The status only moves along the table, and nothing moves it once it has ended."""
    agents = {agent.agent: agent.name for agent in (await rig.store.rows(who.org)).agents}
    events = await rig.store.events(who.org, row.run, 0, 1000)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    current = run_fold.begin(events[0])
    assert current.status is (Status.QUEUED if events[0].type is EventType.RUN_QUEUED else Status.RUNNING)
    endings, told = 0, sums_of(NO_USAGE)
    for event in events:
        after = run_fold.fold(current, event, agents.get(event.agent))
        if event.type is not EventType.USAGE_RECOUNTED:  # the event after it counts what that takes from totals
            now = sums_of(as_told(after.usage))
            assert all(was <= one for was, one in zip(told, now, strict=True)), "no sum that was told falls"
            told = now
        if after.status is not current.status:
            revived = current.status is Status.FAILED and event.effects.recovered
            assert after.status in TRANSITIONS[current.status] or revived
            endings += after.is_terminal() and not revived
        if current.is_terminal() and current.status is after.status:
            assert event.late, "an event after the end is marked"
        if event.late:
            unmoved = (
                "status",
                "ended_at",
                "ended_seq",
                "error",
                "pending",
            )
            assert all(getattr(after, name) == getattr(current, name) for name in unmoved)
        assert after.thread_id == (event.effects.thread_id or current.thread_id)
        current = after
    assert endings == (row.status in TERMINAL)
    assert current.status is row.status
