"""Which run is whose child: a parent is named by its run id, its trace or its foreign id; and what is below a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import apsw

from towerlog.model.run import RunRow
from towerlog.store.columns import rows
from towerlog.store.columns.questions.parents import IS_A_CHILD, child_condition, names_of, passed_over
from towerlog.store.lookup_keys import Family, Parent
from towerlog.store.values import MAX_DESCENDANTS, MAX_FAMILY, Found, Spread

PARENTS_AT_ONCE = 200
"""Runs per query for children."""
_LEAN = "run, run_id, thread_id, trace_id, foreign_id, status"


OF_A_CHILD = (
    f"EXISTS (SELECT 1 FROM run AS child WHERE child.run = run.run AND child.parent_key IS NOT NULL AND ({IS_A_CHILD}))"
)
"""Whether a `run` has a parent in the same thread: its state is not the thread's own."""


def run_ids_of_parents(db: apsw.Connection, org: int, children: Sequence[RunRow]) -> dict[int, str]:
    """Parents' run ids by the numbers of their children."""
    by_id = "SELECT run_id FROM run WHERE org = ? AND run_id = ? AND run <> ?"
    by_foreign_id = "SELECT run_id FROM run WHERE org = ? AND foreign_id = ? AND run <> ? ORDER BY run DESC LIMIT 1"
    of_trace = "SELECT run_id FROM run WHERE org = ? AND trace_id = ? AND run <> ?"
    nearest = "run < ? DESC, CASE WHEN run < ? THEN -run ELSE run END"
    by_trace = f"{of_trace} ORDER BY thread_id = ? DESC, {nearest} LIMIT 1"
    found: dict[int, str] = {}
    for child in children:
        kind, _, value = (child.parent_key or "").partition(":")
        if kind == "run":
            run_id = _one(db, by_id, (org, value, child.run))
        elif kind == "foreign":
            run_id = _one(db, by_foreign_id, (org, value, child.run))
        else:
            values = (org, value, child.run, child.thread_id, child.run, child.run)
            run_id = _one(db, by_trace, values) if value else None
        if run_id is not None:
            found[child.run] = run_id
    return found


def run_children(db: apsw.Connection, org: int, run: RunRow | Parent, limit: int) -> Found[RunRow]:
    """Direct children, oldest first; a run is no child of its own."""
    condition, values = child_condition(run.run_id, run)
    sql = f"SELECT doc FROM run WHERE org = ? AND {condition} ORDER BY run LIMIT ?"
    return rows.up_to_a_page(db.execute(sql, (org, *values, limit)), lambda row: rows.decode_run(row[0]))


def run_descendants(db: apsw.Connection, org: int, run: RunRow | Parent, limit: int) -> list[RunRow]:
    """Runs below this one, level by level; a loop of parents ends where it closes."""
    return runs_in_order(db, [parent.run for parent, _ in islice(_below(db, org, run), limit)])


def open_below(db: apsw.Connection, family: Family) -> Found[RunRow]:
    """The first MAX_FAMILY of the runs below one that are asked for."""
    parent, passed = family.parent, passed_over(family)
    still_open = (one.run for one, status in _below(db, parent.org, parent) if status not in passed)
    numbers = list(islice(still_open, MAX_FAMILY + 1))
    found = Found(runs_in_order(db, numbers[:MAX_FAMILY]))
    found.cut = len(numbers) > MAX_FAMILY
    return found


def spreads(db: apsw.Connection, limit: int) -> list[Spread]:
    """Cancels that have not reached all runs below theirs."""
    found = db.execute("SELECT doc FROM cancel_spread ORDER BY run LIMIT ?", (limit,))
    return [rows.decode_spread(row[0]) for row in found]


def _below(db: apsw.Connection, org: int, top: RunRow | Parent) -> Iterator[tuple[Parent, str]]:
    """Name and status of the runs below one, level by level, at most MAX_DESCENDANTS; never the run itself."""
    seen = {top.run}
    level: Sequence[RunRow | Parent] = [top]
    while level and len(seen) <= MAX_DESCENDANTS:
        below: list[Parent] = []
        for parent in _with_children(db, org, level):
            condition, values = child_condition(parent.run_id, parent)
            sql = f"SELECT {_LEAN} FROM run WHERE org = ? AND {condition} ORDER BY run"
            for number, run_id, thread_id, trace_id, foreign_id, status in db.execute(sql, (org, *values)):
                if number not in seen and len(seen) <= MAX_DESCENDANTS:
                    seen.add(number)
                    below.append(Parent(number, org, run_id, thread_id, trace_id, foreign_id or ""))
                    yield below[-1], status
        level = below


def _with_children(db: apsw.Connection, org: int, parents: Sequence[RunRow | Parent]) -> Iterator[RunRow | Parent]:
    """Those that any run names as its parent: most have none, and one question for each would take long."""
    for start in range(0, len(parents), PARENTS_AT_ONCE):
        some = parents[start : start + PARENTS_AT_ONCE]
        names = [names_of(parent) for parent in some]
        wanted = sorted({name for of_one in names for name in of_one})
        sql = f"SELECT DISTINCT parent_key FROM run WHERE org = ? AND parent_key IN ({', '.join('?' * len(wanted))})"
        named = {row[0] for row in db.execute(sql, (org, *wanted))}
        yield from (parent for parent, of_one in zip(some, names, strict=True) if not named.isdisjoint(of_one))


def runs_in_order(db: apsw.Connection, numbers: Sequence[int]) -> list[RunRow]:
    """Whole rows of whichever organisation, in this order; without those that are gone."""
    sql = "SELECT doc FROM run WHERE run = ?"
    return [rows.decode_run(doc) for number in numbers for (doc,) in db.execute(sql, (number,))]


def _one(db: apsw.Connection, sql: str, values: Sequence[Any]) -> Any:
    """The first column of the first row, None when there is none."""
    return db.execute(sql, tuple(values)).get
