"""The fold of an agent: counts and sums over all its events."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import event, run_row
from tests.support.fakes import START_MS
from tests.support.stories import usages
from towerlog.model.agent import AgentRow
from towerlog.model.event import EventType
from towerlog.model.facts import Effects, Facts
from towerlog.model.usage import NO_USAGE, Usage
from towerlog.projections import agents

AGENT = AgentRow(1, 1, "id", "name", 5, last_heartbeat_at=77)


def test_the_first_event_of_a_run_counts_the_run() -> None:
    run = run_row(usage=Usage(input_tokens=3), process_at=START_MS + 1)
    row = agents.fold(AGENT, None, run, event(1, 1))
    assert (row.run_count, row.event_count, row.error_count) == (1, 1, 0)
    assert (row.usage, row.last_event_at, row.last_heartbeat_at) == (Usage(input_tokens=3), START_MS + 1, 77)
    again = agents.fold(row, run, run, event(2, 2))
    assert (again.run_count, again.event_count, again.usage) == (1, 2, Usage(input_tokens=3))


def test_only_what_an_event_added_is_added() -> None:
    before = run_row(usage=Usage(input_tokens=3, cost_nanos=10))
    after = run_row(usage=Usage(input_tokens=8, cost_nanos=4, output_tokens=1))
    row = agents.fold(AGENT, before, after, event(1, 2))
    assert row.usage == Usage(input_tokens=5, cost_nanos=-6, output_tokens=1)


def test_only_what_the_agent_told_is_its_last_event() -> None:
    run = run_row(process_at=START_MS + 1)
    heard = agents.fold(AGENT, None, run, event(1, 1))
    for n, kind in enumerate((EventType.RUN_SILENT, EventType.RUN_LOST, EventType.RUN_PAUSE_REQUESTED), start=2):
        row = agents.fold(heard, run, run, event(n, n, type=kind))
        assert (row.last_event_at, row.event_count) == (heard.last_event_at, 2)
        tallies = agents.Tallies(START_MS + n)
        tallies.take(heard, run, run, event(n, n, type=kind))
        rows: dict[int, AgentRow] = {}
        tallies.settle({(heard.org, heard.name): heard}, rows, {})
        assert rows[heard.agent] == row, "what is counted in a group is what a rebuild folds"


def test_failures_are_counted_unless_they_come_late() -> None:
    run = run_row()
    row = agents.fold(AGENT, run, run, event(1, 1, type=EventType.RUN_FAILED))
    row = agents.fold(row, run, run, event(2, 2, type=EventType.RUN_FAILED, late=True))
    row = agents.fold(row, run, run, event(3, 3, type=EventType.RUN_COMPLETED))
    assert (row.error_count, row.event_count) == (1, 3)


def test_whether_a_row_was_read_back_makes_no_difference() -> None:
    before = run_row(usage=Usage(input_tokens=3))
    twin = msgspec.convert(msgspec.to_builtins(before), type(before))
    assert twin.usage is not before.usage
    row = agents.fold(AGENT, before, twin, event(1, 2))
    assert row.usage == NO_USAGE
    assert row.usage.input_tokens is None


def test_what_is_left_without_events_is_identity_and_heartbeat() -> None:
    row = agents.fold(AGENT, None, run_row(usage=Usage(1)), event(1, 1))
    assert agents.unfolded(row) == AGENT


@given(st.lists(usages, max_size=8))
def test_the_sums_of_an_agent_are_those_of_its_run(totals: list[Usage]) -> None:
    row, before = AGENT, run_row()
    for position, total in enumerate(totals, start=1):
        after = run_row(usage=total)
        row = agents.fold(row, before, after, event(position, position))
        before = after
    for bucket in Usage.__struct_fields__:
        # Where the run forgets a figure that it knew, what was spent stays spent; see `subtract`.
        known = [getattr(total, bucket) for total in totals]
        if None not in known:
            assert (getattr(row.usage, bucket) or 0) == (known[-1] if known else 0)


def test_a_heartbeat_in_a_run_moves_the_agents_last_one_and_never_back() -> None:
    beat = Facts(effects=Effects(beat=True))
    row = AgentRow(1, 1, "id", "a", 0, last_heartbeat_at=START_MS + 50)
    told = [event(1, 1, recorded_at=START_MS + ms, facts=beat) for ms in (100, 70)]
    for one in told:
        row = agents.fold(row, run_row(), run_row(), one)
    assert row.last_heartbeat_at == START_MS + 100
    plain = agents.fold(row, run_row(), run_row(), event(2, 2, recorded_at=START_MS + 900))
    assert plain.last_heartbeat_at == START_MS + 100
    assert agents.fold(agents.unfolded(row), None, run_row(), told[0]).last_heartbeat_at == row.last_heartbeat_at
