"""Figures of runs, in SQLite: what is counted is what the rows say, and what takes too long is given up."""

from __future__ import annotations

import apsw
import msgspec

from tests.support.factories import run_row
from tests.support.fakes import START_MS
from towerlog.model.question import RunFilter
from towerlog.model.run import RunRow, Status
from towerlog.model.usage import MAX_SUM, RunSum, Usage
from towerlog.store.columns.questions import searches
from towerlog.store.sqlite import reads
from towerlog.store.sqlite.screens.facets import run_durations, run_facets, run_sums
from towerlog.store.sqlite.write import write_changes
from towerlog.store.values import Changes, RunChange


def put(db: apsw.Connection, *rows: RunRow) -> None:
    write_changes(db, Changes(runs={row.run: RunChange(None, row) for row in rows}))


def now() -> int:
    return 0


def test_a_duration_is_what_the_row_says(db: apsw.Connection, org: int) -> None:
    of = msgspec.structs.replace
    base = of(run_row(1, org=org), status=Status.COMPLETED, created_at=START_MS)
    told = {"start_told_at": START_MS - 500, "end_told_at": START_MS + 1000}
    rows = [
        of(base, ended_at=START_MS + 40),
        of(base, started_at=START_MS + 10, ended_at=START_MS + 30),
        of(base, started_at=START_MS + 10, ended_at=START_MS + 5),
        of(base, started_at=START_MS, ended_at=START_MS + 7, **told),
        of(base, started_at=START_MS, ended_at=START_MS + 7, start_told_at=START_MS + 9, end_told_at=START_MS),
        of(base, started_at=START_MS, ended_at=START_MS + 3, end_told_at=START_MS + 9),
    ]
    for number, row in enumerate(rows, start=1):
        name = f"a{number}"
        other = run_row(number, org=org)
        put(db, of(row, run=other.run, run_id=other.run_id, agent=name))
        [found] = run_durations(db, now, org, "agent", RunFilter(agent=name), 10) or []
        assert found == (name, 1, *[row.duration_ms()] * 3)


def test_percentiles_are_of_the_runs_and_groups_in_their_order(db: apsw.Connection, org: int) -> None:
    of = msgspec.structs.replace
    for number in range(1, 101):
        row = run_row(number, org=org)
        ended = {"created_at": START_MS, "ended_at": START_MS + number, "status": Status.FAILED}
        put(db, of(row, agent="a" if number <= 60 else None, **ended))
    found = run_durations(db, now, org, "agent", RunFilter(), 10)
    assert found == [("a", 60, 30, 57, 60), (None, 40, 80, 98, 100)]
    assert run_durations(db, now, org, "status", RunFilter(), 10) == [("failed", 100, 50, 95, 100)]
    assert run_durations(db, now, org, "agent", RunFilter(), 1) == found[:1]


def test_sums_are_of_the_runs_and_the_dearest_first(db: apsw.Connection, org: int) -> None:
    of, most = msgspec.structs.replace, MAX_SUM
    used = [Usage(input_tokens=1, cost_nanos=5), Usage(), Usage(input_tokens=2, cost_nanos=7), Usage(cost_nanos=most)]
    used.append(Usage(cost_nanos=most))
    for number, (name, usage) in enumerate(zip("aabcc", used, strict=True), start=1):
        put(db, of(run_row(number, org=org), thread_id=name, usage=usage))
    put(db, run_row(9, org=org + 1))
    found = run_sums(db, now, org, "thread", RunFilter(), 10)
    assert found == [
        RunSum("c", 2, Usage(cost_nanos=most)),
        RunSum("b", 1, Usage(input_tokens=2, cost_nanos=7)),
        RunSum("a", 2, Usage(input_tokens=1, cost_nanos=5)),
    ]
    assert run_sums(db, now, org, "thread", RunFilter(thread_id="b"), 10) == found[1:2]
    assert run_sums(db, now, org, "thread", RunFilter(), 1) == found[:1]


def test_what_takes_too_long_is_given_up_and_leaves_no_bound(db: apsw.Connection, org: int) -> None:
    put(db, *(run_row(number, org=org) for number in range(1, 2001)))
    late = iter(range(0, 10**9, searches.MAX_SEARCH_MS + 1))
    facets = run_facets(db, lambda: next(late), org, RunFilter(metadata=(("a", "1"),)))
    assert set(facets.values()) == {None}
    assert run_durations(db, lambda: next(late), org, "agent", RunFilter(), 5) is None
    assert run_sums(db, lambda: next(late), org, "agent", RunFilter(), 5) is None
    assert run_facets(db, now, org, RunFilter())["status"] is not None
    assert len(reads.runs(db, org, RunFilter(), 5, None)) == 5


def test_a_name_cannot_leave_its_path(db: apsw.Connection, org: int) -> None:
    metadata = msgspec.Raw(b'{"a.b": "x", "a": {"b": "y"}, "$": 1, "[0]": 2}')
    row = msgspec.structs.replace(run_row(1, org=org), metadata=metadata, usage=Usage(cost_nanos=5))
    put(db, row)
    for pair, found in ((("a.b", "x"), 1), (("a.b", "y"), 0), (("$", "1"), 1), (("[0]", "2"), 1), (("a", "y"), 0)):
        assert len(reads.runs(db, org, RunFilter(metadata=(pair,)), 5, None)) == found, pair
    assert len(reads.runs(db, org, RunFilter(min_cost_nanos=5, max_cost_nanos=5), 5, None)) == 1


def test_who_has_fallen_silent_is_found_while_somebody_waits_for_it(db: apsw.Connection, org: int) -> None:
    of = msgspec.structs.replace
    silent, ended, talking = (run_row(number, org=org) for number in (1, 2, 3))
    put(db, of(silent, silent_at=START_MS), of(ended, silent_at=START_MS, ended_at=START_MS + 1), talking)
    assert [row.run for row in reads.runs(db, org, RunFilter(silent=True), 5, None)] == [silent.run]
    assert {row.run for row in reads.runs(db, org, RunFilter(silent=False), 5, None)} == {ended.run, talking.run}
