"""The writer's cache: bounded, and never the only one to know something."""

from __future__ import annotations

import msgspec

from tests.support.factories import draft, run_row, traced
from tests.support.rig import Rig
from towerlog.engine.load import cache as cached
from towerlog.engine.load.cache import (
    CACHED_BYTES,
    CACHED_IDS,
    CACHED_NODES,
    CACHED_ROWS,
    DEFAULT_ROW_BYTES,
    MAX_DROPPED,
    MAX_IDS_OF_RUN,
    MAX_RUNS_OF_TRACE,
    Cache,
)
from towerlog.engine.verify import verify_org
from towerlog.model.agent_share import AgentShare
from towerlog.model.alert import MAX_CALLS, AlertRule, AlertTrigger
from towerlog.model.alert_channel import AlertChannel, ChannelType
from towerlog.model.computed_costs import ComputedCell
from towerlog.model.lane import Lane, QueueState
from towerlog.model.outcome import Stored
from towerlog.model.pending import Pending
from towerlog.model.run import OpenTool
from towerlog.model.thread import ThreadRow
from towerlog.projections.alerts.conditions import CALL_BYTES
from towerlog.projections.scopes.rules import RuleSet


def test_a_map_past_its_bound_loses_its_oldest_and_few_at_once() -> None:
    """Half of it at once kept the event loop from everything else for 80 ms."""
    cache = Cache()
    for number in range(CACHED_ROWS + 10):
        cache.runs[number] = run_row(1)
    for number in range(CACHED_NODES + MAX_DROPPED + 5):
        cache.nodes[number.to_bytes(4, "big")] = True
    cache.trim()
    assert (len(cache.runs), min(cache.runs)) == (CACHED_ROWS, 10)
    assert len(cache.nodes) == CACHED_NODES + 5
    cache.trim()
    assert len(cache.nodes) == CACHED_NODES


def test_a_map_within_its_bound_keeps_everything() -> None:
    cache = Cache()
    for number in range(CACHED_ROWS):
        cache.refs[1, "t", str(number)] = number
    cache.trim()
    assert len(cache.refs) == CACHED_ROWS


def test_ids_are_remembered_for_runs_that_began_here() -> None:
    cache = Cache()
    cache.note_ids(1, ["before the run is known"])
    assert 1 not in cache.event_ids
    cache.knows_ids(1)
    cache.note_ids(1, ["a"])
    assert cache.event_ids[1] == {hash("a")}
    assert cache.ids_held == 1


def test_a_run_with_too_many_ids_is_asked_about_again() -> None:
    cache = Cache()
    cache.knows_ids(1)
    for number in range(MAX_IDS_OF_RUN + 1):
        cache.note_ids(1, [str(number)])
    assert 1 not in cache.event_ids
    assert cache.ids_held == 0


def test_a_run_that_begins_is_one_of_its_trace() -> None:
    """Whoever begins it, and whatever colons its name has."""
    cache = Cache()
    cache.note_trace(1, "otlp:a", ())
    names = ("otlp:a", "otlp:a:b", "otlp:a:b:c", "otlp:ab", "otlp", "x:otlp:a", None)
    rows = [run_row(number, foreign_id=name) for number, name in enumerate(names, 1)]
    for row in (*rows, run_row(9, org=2, foreign_id="otlp:a")):
        cache.note_begun(row)
    assert set(cache.traces) == {(1, "otlp:a")}, "of others it is not known which runs they have"
    assert sorted(cache.traces[1, "otlp:a"]) == [row.run for row in rows[:3]]


def test_the_runs_of_a_trace_with_too_many_are_asked_for() -> None:
    cache = Cache()
    cache.note_trace(1, "t", ())
    for number in range(MAX_RUNS_OF_TRACE):
        cache.note_begun(run_row(number, foreign_id=f"t:{number}"))
    assert len(cache.traces[1, "t"]) == MAX_RUNS_OF_TRACE
    cache.note_begun(run_row(MAX_RUNS_OF_TRACE, foreign_id="t:more"))
    assert not cache.traces
    cache.note_begun(run_row(MAX_RUNS_OF_TRACE + 1, foreign_id="t:again"))
    assert not cache.traces, "some of them are not known"


def test_ids_of_all_runs_together_are_bounded() -> None:
    cache = Cache()
    runs = CACHED_IDS // 1000 + 2
    for run in range(runs):
        cache.knows_ids(run)
        for number in range(1000):
            cache.note_ids(run, [str(number)])
    cache.trim()
    assert cache.ids_held == sum(map(len, cache.event_ids.values())) <= CACHED_IDS
    assert runs - 1 in cache.event_ids


async def test_nothing_comes_out_differently_without_the_cache(rig: Rig, monkeypatch: object) -> None:
    """The same ids, runs and agents, with a cache that forgets everything between any two groups."""
    for forgetful in (False, True):
        thread = f"thread {forgetful}"
        places = []
        for number in range(6):
            if forgetful:
                rig.engine.forget()
            [first, again] = await rig.append(
                draft(run=traced("x", thread), event_id=f"id-{number}", agent="a"),
                draft(run=traced("x", thread), event_id=f"id-{max(number - 1, 0)}", agent="a"),
            )
            assert isinstance(first, Stored)
            assert isinstance(again, Stored)
            places.append((first.seq, first.duplicate, again.seq, again.duplicate))
        assert places == [(1, False, 1, True), *((n, False, n - 1, True) for n in range(2, 7))]
    assert await verify_org(rig.store, rig.org) == 0


async def test_a_cache_of_one_row_is_enough(rig: Rig) -> None:
    """Trimmed to almost nothing after every group, the writer asks the store and goes on."""
    bounds = cached.CACHED_ROWS, cached.CACHED_NODES
    cached.CACHED_ROWS, cached.CACHED_NODES = 1, 1
    try:
        for number in range(12):
            run = traced(f"trace {number % 3}", f"thread {number % 2}")
            await rig.append(draft(run=run, agent=f"agent {number % 3}", event_id=str(number)))
    finally:
        cached.CACHED_ROWS, cached.CACHED_NODES = bounds
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints
    assert [event.position for event in await rig.log()] == list(range(1, 13))


def test_rows_are_bounded_in_bytes_as_well_as_in_number() -> None:
    cache = Cache()
    text = msgspec.Raw(b'{"a":"' + b"x" * 16_000 + b'"}')
    for number in range(2 * CACHED_BYTES // 16_000):
        cache.runs[number] = run_row(1, metadata=text)
        cache.trim()
        assert cache.runs.held_bytes <= CACHED_BYTES + 32_000
    assert len(cache.runs) < CACHED_ROWS
    assert max(cache.runs) == 2 * CACHED_BYTES // 16_000 - 1


def test_the_bytes_of_rows_that_change_or_go_are_given_back() -> None:
    cache = Cache()
    asked = Pending(1, "input", "x" * 5000)
    cache.runs[1] = run_row(1, pending=(asked,), shares={"a": AgentShare()}, open_tools=(OpenTool("t", "i" * 900, 5),))
    assert cache.runs.held_bytes > DEFAULT_ROW_BYTES + 5000
    cache.runs[1] = run_row(1)
    assert cache.runs.held_bytes == DEFAULT_ROW_BYTES
    cache.lanes[1] = Lane(1, 1, QueueState.QUEUED, "a", 0, {"k": "v" * 200})
    assert cache.lanes.held_bytes > DEFAULT_ROW_BYTES + 200
    del cache.lanes[1]
    assert cache.lanes.held_bytes == 0


def test_long_lists_of_money_count_as_what_they_take() -> None:
    cache = Cache()
    cells = tuple(ComputedCell(hour, "a", "m", "running", 1, 0) for hour in range(64))
    cache.runs[1] = run_row(1, computed_cells=cells)
    assert cache.runs.held_bytes > DEFAULT_ROW_BYTES + 64 * 100
    cache.threads[1, "t"] = ThreadRow(1, "t", 0, process_costs={f"process {number}": 1 for number in range(32)})
    assert cache.threads.held_bytes > DEFAULT_ROW_BYTES + 32 * 100


def test_calls_and_rules_are_counted_by_what_they_hold() -> None:
    cache = Cache()
    whole = bytes(CALL_BYTES * MAX_CALLS)
    for run in range(CACHED_BYTES // len(whole)):
        cache.calls[run] = whole
    assert cache.calls.held_bytes > CACHED_BYTES
    cache.trim()
    assert cache.calls.held_bytes <= CACHED_BYTES
    cache.calls.clear()
    assert cache.calls.held_bytes == 0
    quiet = {f"agent {number}": 1 for number in range(500)}
    hook = AlertChannel(ChannelType.WEBHOOK, "https://h.example.com/" + "x" * 2000)
    rule = AlertRule(1, "r", 1, "ours", AlertTrigger.ERROR, 0, channels=(hook,) * 10, quiet=quiet)
    cache.alert_rules[1] = RuleSet([rule])
    assert cache.alert_rules.held_bytes > 100_000
