"""Searches in SQLite: they go back for as long as there is time, say how far they came, and come to the end."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import pytest

from tests.support.factories import run_row
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow
from towerlog.model.run_text import RunText
from towerlog.store.columns.questions.searches import FIRST_STRETCH, MAX_SEARCH_MS, MAX_STRETCH, stretches
from towerlog.store.sqlite import reads
from towerlog.store.sqlite.screens.searches import runs_in_time
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes, RunChange

RUNS = 5000


@pytest.fixture
def rows(db: apsw.Connection, org: int) -> list[RunRow]:
    """Many runs; the oldest says a word of its own."""
    made = [run_row(number, org=org) for number in range(1, RUNS + 1)]
    texts = {made[0].run: RunText(made[0].run, org, produced="the needle", anew=True)}
    write_changes(db, Changes(runs={row.run: RunChange(None, row) for row in made}, texts=texts))
    return made


def late() -> Iterator[int]:
    """A clock by which each look is after the end of the time."""
    return iter(range(0, 10**9, MAX_SEARCH_MS + 1))


def test_stretches_lie_side_by_side_and_grow_to_a_bound() -> None:
    found = list(stretches(50_000, 7))
    assert found[0] == (50_000 - FIRST_STRETCH, 50_000)
    assert [end for _, end in found[1:]] == [first for first, _ in found[:-1]]
    assert found[-1][0] == 7
    assert max(end - first for first, end in found) == MAX_STRETCH
    assert list(stretches(7, 7)) == []


@pytest.mark.parametrize(
    "wanted",
    [
        RunFilter(q="needle"),
        RunFilter(metadata=(("a", "1"),)),
        RunFilter(labels=(("a", "1"),)),
        RunFilter(min_cost_nanos=1),
        RunFilter(max_cost_nanos=-1),
        RunFilter(has_errors=True),
        RunFilter(silent=True),
    ],
)
def test_a_search_without_time_looks_at_the_newest_and_says_so(
    db: apsw.Connection, org: int, rows: list[RunRow], wanted: RunFilter
) -> None:
    clock = late()
    found = runs_in_time(db, lambda: next(clock), org, wanted, 10, None)
    assert (list(found), found.cut) == ([], True)
    assert found.searched_to == rows[-FIRST_STRETCH]
    assert len(reads.runs(db, org, RunFilter(), 5, None)) == 5, "no bound is left behind"


def test_who_goes_on_comes_to_the_end(db: apsw.Connection, org: int, rows: list[RunRow]) -> None:
    before, found, asked = None, [], 0
    clock = late()
    while True:
        page = runs_in_time(db, lambda: next(clock), org, RunFilter(q="NEEDLE"), 10, before)
        found += page
        asked += 1
        if page.searched_to is None:
            break
        before = page.searched_to.run
    assert found == rows[:1]
    assert asked == RUNS / FIRST_STRETCH


def test_with_time_enough_all_of_it_is_one_page(db: apsw.Connection, org: int, rows: list[RunRow]) -> None:
    found = runs_in_time(db, lambda: 5, org, RunFilter(q="THREAD-7"), RUNS, None)
    assert found == [row for row in reversed(rows) if "thread-7" in row.thread_id]
    assert (found.cut, found.searched_to) == (False, None)
    some = runs_in_time(db, lambda: 5, org, RunFilter(q="thread"), 7, rows[2000].run)
    assert some == [rows[number] for number in range(1999, 1992, -1)]
    assert runs_in_time(db, lambda: 5, org + 1, RunFilter(q="thread"), 7, None) == []
