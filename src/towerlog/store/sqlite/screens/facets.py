"""How many runs a filter finds, by what they have in common; how long they took, and what they have used. Each answer
has a time limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw

from towerlog.model.question import RunFilter
from towerlog.model.usage import RunSum
from towerlog.store.columns.questions.searches import MAX_SEARCH_MS
from towerlog.store.columns.rows import USAGE_FIGURES
from towerlog.store.sqlite.reads import halves, run_conditions, usage_of, within
from towerlog.store.values import Durations

FACETS = ("status", "agent", "model", "persona_id")
_INDEXED = ("status", "agent")
_ALL = RunFilter()
MAX_VALUES = 100
"""Values of a facet: those that most runs have."""
_DOC = "CAST(doc AS TEXT)"
# As RunRow.span() has it: by the sender's clock where that told both ends, else as they arrived.
_BEGAN = f"coalesce({_DOC} ->> '$.started_at', {_DOC} ->> '$.created_at')"
_TOLD = f"{_DOC} ->> '$.end_told_at' - {_DOC} ->> '$.start_told_at'"
_TOOK = f"CASE WHEN {_TOLD} >= 0 THEN {_TOLD} ELSE max({_DOC} ->> '$.ended_at', {_BEGAN}) - {_BEGAN} END"
_GROUPS = {
    "hour": "began_at / 3600000",
    "day": "began_at / 86400000",
    "agent": "agent",
    "model": "model",
    "status": "status",
    "thread": "thread_id",
}


def run_facets(
    db: apsw.Connection, steady_ms: Callable[[], int], org: int, wanted: RunFilter
) -> dict[str, list[tuple[str | None, int]] | None]:
    """Facet → (value, how many runs), the most first; None for one that would take longer than there is time."""
    where, values = run_conditions(db, org, wanted)
    until = steady_ms() + MAX_SEARCH_MS
    found: dict[str, list[tuple[str | None, int]] | None] = {}
    for name in FACETS:
        if wanted == _ALL:
            # Counted in the index that begins with both, where there is one; else in the rows.
            where = " AND org = ?" if name in _INDEXED else " AND +org = ?"
        sql = f"SELECT {name}, count(*) FROM run WHERE 1{where} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_VALUES}"
        counted = _rows(db, sql, values, until, steady_ms)
        found[name] = None if counted is None else [(value, count) for value, count in counted]
    return found


def run_durations(
    db: apsw.Connection, steady_ms: Callable[[], int], org: int, by: str, wanted: RunFilter, limit: int
) -> list[Durations] | None:
    """Of ended runs, by what they are grouped by: the newest hours and days, the largest of other groups first.

    None where that would take longer than there is time.
    """
    where, values = run_conditions(db, org, wanted)
    order = "1 DESC" if by in ("hour", "day") else "2 DESC, 1"
    took = f"SELECT {_GROUPS[by]} AS name, {_TOOK} AS took FROM run WHERE {_DOC} ->> '$.ended_at' IS NOT NULL{where}"
    ranked = (
        "SELECT name, took, row_number() OVER (PARTITION BY name ORDER BY took) AS rank,"
        f" count(*) OVER (PARTITION BY name) AS runs FROM ({took})"
    )
    # The smallest that is not below so large a part of them.
    sql = (
        "SELECT name, max(runs), min(took) FILTER (WHERE rank * 100 >= runs * 50),"
        f" min(took) FILTER (WHERE rank * 100 >= runs * 95), max(took) FROM ({ranked})"
        f" GROUP BY name ORDER BY {order} LIMIT ?"
    )
    return _rows(db, sql, (*values, limit), steady_ms() + MAX_SEARCH_MS, steady_ms)


def run_sums(
    db: apsw.Connection, steady_ms: Callable[[], int], org: int, by: str, wanted: RunFilter, limit: int
) -> list[RunSum] | None:
    """What runs have used, by what they are grouped by: the newest hours and days, the dearest of other groups first.

    None where that would take longer than there is time.
    """
    where, values = run_conditions(db, org, wanted)
    # The limits keep SQLite from reading each row's JSON once for each figure.
    used = f"SELECT {_GROUPS[by]} AS name, {_DOC} -> '$.usage' AS used FROM run WHERE 1{where} LIMIT -1"
    told = ", ".join(f"used ->> '$.{name}' AS {name}" for name in USAGE_FIGURES)
    sums = ", ".join(map(halves, USAGE_FIGURES))
    order = "1 DESC" if by in ("hour", "day") else "total(cost_nanos) DESC, 2 DESC, 1"
    sql = (
        f"SELECT name, count(*), {sums} FROM (SELECT name, {told} FROM ({used}) LIMIT -1)"
        f" GROUP BY name ORDER BY {order} LIMIT ?"
    )
    found = _rows(db, sql, (*values, limit), steady_ms() + MAX_SEARCH_MS, steady_ms)
    return None if found is None else [RunSum(name, runs, usage_of(parts)) for name, runs, *parts in found]


def _rows(
    db: apsw.Connection, sql: str, values: Sequence[Any], until: int, steady_ms: Callable[[], int]
) -> list[Any] | None:
    """The rows; None where they are not there in time."""
    try:
        with within(db, until, steady_ms):
            return list(db.execute(sql, tuple(values)))
    except apsw.InterruptError:
        return None
