"""The rows of an organisation in a plan: in order, and a change of one costs nothing for the others."""

from __future__ import annotations

from typing import NamedTuple

from towerlog.engine.load.cache import Cache, OrgRows, RowMap
from towerlog.engine.load.rows import Known
from towerlog.projections.scopes.row_sets import RowSet
from towerlog.store.values import Kind

LOOKED_AT: list[str] = []


class Row(NamedTuple):
    name: str
    figure: int


class Rows(RowSet[Row]):
    def id_of(self, row: Row) -> str:
        LOOKED_AT.append(row.name)
        return row.name

    def bytes_of(self, row: Row) -> int:
        LOOKED_AT.append(row.name)
        return 1

    def is_alike(self, before: Row, after: Row) -> bool:
        return before.name == after.name


def held(*rows: Row) -> tuple[RowMap[int, Rows], OrgRows[Rows]]:
    """What the cache has of organisation 1, and a plan's rows over it."""
    cached: RowMap[int, Rows] = RowMap(lambda rows: rows.held_bytes)
    cached[1] = Rows(rows)
    LOOKED_AT.clear()
    return cached, OrgRows(Known(Cache()), Kind.BUDGETS, cached)


def test_rows_keep_their_order_and_the_cache_learns_of_them_when_they_are_kept() -> None:
    cached, rows = held(Row("a", 1), Row("b", 1))
    assert rows.of(1).all() == (Row("a", 1), Row("b", 1))
    assert (rows.of(1).get("b"), rows.of(1).get("c")) == (Row("b", 1), None)
    rows.put(1, "a", Row("a", 2))
    rows.put(1, "c", Row("c", 1))
    rows.put(1, "b", None)
    rows.put(1, "never", None)
    assert rows.of(1).all() == (Row("a", 2), Row("c", 1))
    assert cached[1].all() == (Row("a", 1), Row("b", 1))
    rows.keep()
    assert cached[1].all() == (Row("a", 2), Row("c", 1))


def test_the_last_row_may_go_and_is_not_read_again() -> None:
    _, rows = held(Row("a", 1))
    rows.put(1, "a", None)
    assert rows.of(1).all() == ()


def test_a_change_looks_at_no_other_row() -> None:
    """Each event may change all of them: looking at all with each change would be quadratic."""
    cached, rows = held(*(Row(str(number), 0) for number in range(200)))
    for figure in range(50):
        for number in range(200):
            rows.put(1, str(number), Row(str(number), figure))
    rows.keep()
    assert LOOKED_AT == []
    assert cached[1].all() == tuple(Row(str(number), 49) for number in range(200))
