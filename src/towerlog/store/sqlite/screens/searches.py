"""Searches for runs by what no index helps with: back from the newest, stretch by stretch, as long as there is time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import apsw

from towerlog.model.principal import shard_bounds
from towerlog.model.question import RunFilter, unindexed
from towerlog.model.run import RunRow
from towerlog.store.columns import rows
from towerlog.store.columns.questions.searches import MAX_SEARCH_MS, stretches
from towerlog.store.sqlite.reads import one, run_conditions, runs, within
from towerlog.store.values import Found

_FIRST = "SELECT min(run) FROM run WHERE run >= ? AND run < ?"
_LAST = "SELECT max(run) FROM run WHERE run >= ? AND run < ?"
_FIRST_FROM = "SELECT doc FROM run WHERE run >= ? ORDER BY run LIMIT 1"


def runs_in_time(
    db: apsw.Connection, steady_ms: Callable[[], int], org: int, wanted: RunFilter, limit: int, before: int | None
) -> Found[RunRow]:
    """As `runs`; what no index helps with ends after MAX_SEARCH_MS, and says how far it has come."""
    if unindexed(wanted) is None:
        return runs(db, org, wanted, limit, before)
    looked_to: list[int] = []
    lowest, highest = shard_bounds(org)
    bounds = (lowest, highest if before is None else before)
    first, last = one(db, _FIRST, bounds), one(db, _LAST, bounds)
    if first is None or last is None:
        return Found()
    docs = _back(db, steady_ms, run_conditions(db, org, wanted), (first, last + 1), limit, looked_to)
    found = rows.up_to_a_page(docs, lambda row: rows.decode_run(row[0]))
    if looked_to and not found.cut:
        found.cut = True
        found.searched_to = rows.decode_run(one(db, _FIRST_FROM, looked_to))
    return found


def _back(
    db: apsw.Connection,
    steady_ms: Callable[[], int],
    condition: tuple[str, list[Any]],
    span: tuple[int, int],
    limit: int,
    looked_to: list[int],
) -> Iterator[rows.Row]:
    """At most so many rows. `looked_to` gets the number of the last run that was looked at, if time ends that."""
    where, values = condition
    # The numbers first: where SQLite has to sort, it sorts them and not whole rows.
    numbers = f"SELECT run FROM run WHERE run >= ? AND run < ?{where} ORDER BY run DESC LIMIT ?"
    sql = f"SELECT doc FROM run WHERE run IN ({numbers}) ORDER BY run DESC"
    until, reached = steady_ms() + MAX_SEARCH_MS, None
    for first, end in stretches(span[1], span[0]):
        try:
            # The first is looked through in any case: whoever goes on from there comes to the end some day.
            with nullcontext() if reached is None else within(db, until, steady_ms):
                page = db.execute(sql, (first, end, *values, limit)).fetchall()
        except apsw.InterruptError:
            page = None
        if page is None:
            looked_to.append(reached or end)
            return
        yield from page
        limit -= len(page)
        reached = first
        if limit <= 0:
            return
        if steady_ms() > until and first > span[0]:
            looked_to.append(first)
            return
