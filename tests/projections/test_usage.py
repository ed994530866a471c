"""Roll-ups: hour × agent × model × status, what each event adds, and cells that merge."""

from __future__ import annotations

import msgspec

from tests.support.factories import event, run_row
from towerlog.model.run import RunRow, Status
from towerlog.model.spending import AgentShare
from towerlog.model.usage import NO_USAGE, Usage, UsageRow
from towerlog.projections import usage

KEY = (1, 7, "a", "m", "running")
ONE = event(1, 1)
"""An event that says nothing of usage."""


def test_the_cell_of_an_event_is_where_its_run_stands_now() -> None:
    row = run_row(model="another's", status=Status.PAUSED, shares={"a": AgentShare(model="m")})
    at = 5 * usage.HOUR_MS
    assert usage.key_of(row, event(1, 1, recorded_at=at), "a") == (1, 5, "a", "m", "paused")
    assert usage.key_of(row, event(1, 1, recorded_at=at - 1), "a")[1] == 4
    assert usage.key_of(row, event(1, 1, recorded_at=at), "b")[3] == "", "no agent spends under another's model"
    assert usage.key_of(run_row(), event(1, 1, recorded_at=at), None) == (1, 5, "", "", "running")


def test_an_hour_is_that_of_the_senders_clock_where_it_is_not_absurd() -> None:
    now = 500_000 * usage.HOUR_MS
    for told, hour in ((now - 3 * usage.HOUR_MS, 499_997), (None, 500_000), (5, 500_000), (now + 600_000, 500_000)):
        assert usage.hour_of(event(1, 1, recorded_at=now, occurred_at=told)) == hour


def test_what_an_event_spent() -> None:
    before, after = run_row(usage=Usage(3)), run_row(usage=Usage(5, cost_nanos=1))
    assert usage.spent(None, after) == Usage(5, cost_nanos=1)
    assert usage.spent(before, after) == Usage(2, cost_nanos=1)
    assert usage.spent(after, after) is NO_USAGE


def test_nothing_is_spent_where_nothing_changed_wherever_the_row_comes_from() -> None:
    row = run_row(usage=Usage(input_tokens=3))
    twin = msgspec.convert(msgspec.to_builtins(row), RunRow)
    assert twin.usage is not row.usage
    assert usage.spent(row, twin) is NO_USAGE


def test_beginnings_and_ends_are_counted_in_the_cell_of_their_event() -> None:
    running, ended = run_row(), run_row(status=Status.COMPLETED)
    cell = usage.fold(None, KEY, None, running, ONE)
    assert cell == UsageRow(*KEY, 1, 1, 0)
    cell = usage.fold(cell, KEY, running, ended, ONE)
    assert cell == UsageRow(*KEY, 2, 1, 1)
    assert usage.fold(cell, KEY, ended, ended, ONE) == UsageRow(*KEY, 3, 1, 1), "late ones end nothing"
    assert usage.fold(None, KEY, None, ended, ONE) == UsageRow(*KEY, 1, 1, 1)


def test_a_run_that_recovers_ends_once() -> None:
    failed, completed = run_row(status=Status.FAILED), run_row(status=Status.COMPLETED)
    assert usage.fold(None, KEY, failed, completed, ONE).runs_ended == 0


def test_a_cell_adds_what_was_spent() -> None:
    rows = [run_row(usage=Usage(input_tokens=n)) for n in (1, 4, 4)]
    cell = usage.fold(None, KEY, None, rows[0], ONE)
    cell = usage.fold(cell, KEY, rows[0], rows[1], ONE)
    cell = usage.fold(cell, KEY, rows[1], rows[2], ONE)
    assert cell == UsageRow(*KEY, 3, 1, 0, Usage(input_tokens=4))
    assert cell.usage.output_tokens is None


def test_a_start_moves_to_the_model_that_is_named_first() -> None:
    """Within its hour, agent and status: the sums by those stay as they were."""
    before = run_row(start_cell=(7, "a", "running"))
    assert usage.moved(before, before) is None, "no model yet"
    assert usage.moved(None, run_row(model="m")) is None, "it was counted there"
    assert usage.moved(run_row(model="m"), run_row(model="n")) is None, "only once"
    source, target = (1, 7, "a", "", "running"), (1, 7, "a", "m", "running")
    assert usage.moved(before, run_row(model="m", status=Status.PAUSED)) == (source, target)
