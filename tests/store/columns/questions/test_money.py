"""What a run has spent in a time: by its row where that tells, else by its events; and which reservations are meant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.factories import run_row
from towerlog.model.budget import HeldWanted, Reservation
from towerlog.model.usage import Usage
from towerlog.store.columns.questions.money import is_wanted, span_of, spent_by_row
from towerlog.store.lookup_keys import SpentSince

HELD = Reservation(1, "r", 7, 10, 60_000, 99, ("b1", "b2"), "k")


@pytest.mark.parametrize(
    ("named", "found"),
    [({}, True), ({"run": 7, "key_id": "k", "budget_id": "b2"}, True), ({"run": 8}, False), ({"key_id": "l"}, False),
     ({"budget_id": "b3"}, False)],
)  # fmt: skip
def test_a_reservation_passes_every_filter_that_is_given(named: dict[str, Any], found: bool) -> None:
    assert is_wanted(HELD, HeldWanted(1, 9, **named)) is found


@pytest.mark.parametrize(
    ("changes", "since", "until", "spent"),
    [
        ({}, 100, 300, 5),
        ({"usage": Usage()}, 100, 300, 0),
        ({}, 201, 300, 0),
        ({}, 101, 300, None),
        ({}, 100, 200, None),
        ({"process_cost": 3}, 100, 300, None),
    ],
    ids=["all of it", "nothing", "before", "begun before", "goes on after", "of a process that other runs share"],
)
def test_a_row_tells_of_its_run_what_lies_wholly_in_the_time(
    changes: dict[str, Any], since: int, until: int, spent: int | None
) -> None:
    row = msgspec.structs.replace(run_row(created_at=100, last_event_at=200, usage=Usage(cost_nanos=5)), **changes)
    assert spent_by_row(row, SpentSince(1, "thread", "t", since, until=until)) == spent


def test_roll_ups_are_asked_by_whole_hours_and_of_an_agent_alone_where_it_is_one() -> None:
    day = span_of(SpentSince(1, "agent", "a", 24 * 3_600_000, until=48 * 3_600_000))
    assert (day.since_hour, day.until_hour, day.agent) == (24, 48, "a")
    assert span_of(SpentSince(1, "organisation", "", 0, until=3_600_000)).agent is None
