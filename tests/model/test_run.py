"""Runs: one status machine for all dialects, and the row that the folds keep."""

from __future__ import annotations

import msgspec
import pytest

from towerlog.model.agent import AgentRow
from towerlog.model.run import TERMINAL, TRANSITIONS, OpenTool, RunRow, Status
from towerlog.model.thread import ThreadRow
from towerlog.model.usage import Usage


def row(status: Status = Status.RUNNING, **fields: object) -> RunRow:
    """A run that was created at 100 ms."""
    return msgspec.convert(
        {"run": 1, "org": 1, "run_id": "r", "thread_id": "t", "trace_id": "x", "created_at": 100, "status": status}
        | fields,
        RunRow,
    )


def test_every_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_terminal_is_final(status: Status) -> None:
    assert TRANSITIONS[status] == frozenset()
    assert row(status).is_terminal()


@pytest.mark.parametrize("status", sorted(set(Status) - TERMINAL))
def test_an_open_run_can_end_in_every_way(status: Status) -> None:
    assert TRANSITIONS[status] >= TERMINAL
    assert not row(status).is_terminal()


def test_nothing_brings_back_a_run_that_is_being_cancelled() -> None:
    assert TRANSITIONS[Status.CANCELLING] <= TERMINAL


@pytest.mark.parametrize("status", sorted(Status))
def test_no_status_follows_itself(status: Status) -> None:
    assert status not in TRANSITIONS[status]


def test_the_duration_is_known_at_the_end() -> None:
    assert row().duration_ms() is None
    assert row(ended_at=350).duration_ms() == 250
    assert row(started_at=150, ended_at=350).duration_ms() == 200


def test_a_span_is_measured_by_the_senders_clock_where_it_told_both_ends() -> None:
    told = row(started_at=150, start_told_at=9000, ended_at=350, end_told_at=9150)
    assert (told.span(), told.duration_ms(), told.began_at()) == ((9000, 9150), 150, 9000)
    assert row(started_at=150, start_told_at=9000, ended_at=350).span() == (150, 350)
    assert row(started_at=150, ended_at=350, end_told_at=9150).span() == (150, 350)
    assert row(started_at=150, start_told_at=9000).span() == (9000, None)
    assert row(started_at=150).span() == (150, None)
    assert row(start_told_at=9000).span() == (None, None), "its start has not come"
    assert row().began_at() == row().created_at


def test_no_run_is_shown_as_created_after_its_start() -> None:
    told = row(started_at=150, start_told_at=20, ended_at=350, end_told_at=90)
    assert (told.shown_created_at(), told.span()) == (20, (20, 90))
    assert row(started_at=150, ended_at=350).shown_created_at() == 100
    assert row(ended_at=350).shown_created_at() == 100
    assert row(started_at=150, start_told_at=9000, ended_at=350, end_told_at=9150).shown_created_at() == 100


def test_no_clock_that_was_set_back_makes_a_span_negative() -> None:
    assert row(started_at=150, start_told_at=9150, ended_at=350, end_told_at=9000).duration_ms() == 200
    assert row(started_at=350, ended_at=150).span() == (350, 350)
    assert row(ended_at=50).duration_ms() == 0


def test_rows_survive_their_storage() -> None:
    run = row(shares={"a": {"totals": {"input_tokens": 1}, "step_index": 4}}, open_tools=[("shell", "c1", 5)])
    again = msgspec.json.decode(msgspec.json.encode(run), type=RunRow)
    assert msgspec.json.encode(again) == msgspec.json.encode(run)
    assert (again.shares["a"].step_index, again.open_tools) == (4, (OpenTool("shell", "c1", 5),))
    for other in (ThreadRow(1, "t", 5, open_runs=(3,)), AgentRow(1, 1, "id", "name", 5, usage=Usage(cost_nanos=7))):
        assert msgspec.json.decode(msgspec.json.encode(other), type=type(other)) == other


def test_a_new_row_keeps_nothing_that_is_not_known() -> None:
    known = {"run", "org", "run_id", "thread_id", "trace_id", "created_at", "status"}
    assert set(msgspec.json.decode(msgspec.json.encode(row()))) == known
