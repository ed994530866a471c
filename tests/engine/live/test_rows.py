"""Which reader is told of which row."""

from __future__ import annotations

import pytest

from towerlog.engine.live.rows import WATCHED, Traits, fits
from towerlog.model.question import RowFilter, RowKind
from towerlog.model.run import Status

RUN = RowKind.RUN
ROW = Traits("a", Status.RUNNING, "t", "r")


@pytest.mark.parametrize(
    ("wanted", "is_told"),
    [
        (RowFilter(), True),
        (RowFilter(kinds=frozenset({RowKind.LANE})), False),
        (RowFilter(agent="a", thread_id="t", run_id="r", statuses=frozenset({Status.RUNNING})), True),
        (RowFilter(agent="b"), False),
        (RowFilter(thread_id="u"), False),
        (RowFilter(run_id="s"), False),
        (RowFilter(statuses=frozenset({Status.QUEUED})), False),
    ],
)
def test_all_conditions_apply(wanted: RowFilter, is_told: bool) -> None:
    assert fits(wanted, RUN, ROW, ()) is is_told
    assert fits(wanted, RUN, ROW, (ROW,)) is is_told


def test_a_row_that_leaves_is_told_of_once_more() -> None:
    open_ones = RowFilter(statuses=frozenset({Status.RUNNING, Status.QUEUED}))
    ended = Traits("a", Status.COMPLETED, "t", "r")
    assert fits(open_ones, RUN, ended, (ROW,))
    assert not fits(open_ones, RUN, ended, (ended,))
    assert fits(RowFilter(agent="default"), RUN, ROW, (Traits("default", Status.RUNNING, "t", "r"),))


def test_a_condition_that_a_kind_cannot_meet_is_none() -> None:
    assert fits(RowFilter(statuses=frozenset({Status.QUEUED})), RowKind.AGENT, Traits("a"), ())
    assert not fits(RowFilter(thread_id="t"), RowKind.AGENT, Traits("a"), ())


def test_what_is_gone_is_told_to_all_who_watch_its_kind() -> None:
    assert fits(RowFilter(agent="a"), RowKind.BUDGET, None, ())
    assert not fits(RowFilter(kinds=frozenset({RUN})), RowKind.BUDGET, None, ())


def test_every_kind_is_watched() -> None:
    assert set(WATCHED) == set(RowKind)
