"""The rows of an organisation in a plan: in order, and a change of one costs nothing for the others."""

from __future__ import annotations

from typing import NamedTuple

from towerlog.engine.load.cache import Cache, OrgRows, RowMap
from towerlog.engine.load.known import Known
from towerlog.store.values import Kind

LOOKED_AT: list[str] = []


class Row(NamedTuple):
    name: str
    figure: int

    @property
    def row_id(self) -> str:
        LOOKED_AT.append(self.name)
        return self.name


def no_more(_rows: tuple[Row, ...]) -> int:
    return 0


def held(*rows: Row) -> tuple[RowMap[int, tuple[Row, ...]], OrgRows[Row]]:
    """What the cache has of organisation 1, and a plan's rows over it. No row has been looked at yet."""
    cached: RowMap[int, tuple[Row, ...]] = RowMap(no_more)
    cached[1] = rows
    LOOKED_AT.clear()
    return cached, OrgRows(Known(Cache()), Kind.BUDGETS, cached, "row_id")


def test_rows_keep_their_order_and_the_cache_learns_of_them_when_they_are_kept() -> None:
    cached, rows = held(Row("a", 1), Row("b", 1))
    assert rows.all(1) == (Row("a", 1), Row("b", 1))
    assert (rows.one(1, "b"), rows.one(1, "c")) == (Row("b", 1), None)
    rows.put(1, "a", Row("a", 2))
    rows.put(1, "c", Row("c", 1))
    rows.put(1, "b", None)
    rows.put(1, "never", None)
    assert rows.all(1) == (Row("a", 2), Row("c", 1))
    assert cached[1] == (Row("a", 1), Row("b", 1))
    rows.keep()
    assert cached[1] == (Row("a", 2), Row("c", 1))


def test_a_change_looks_at_no_other_row() -> None:
    """Each event may change all of them: looking at all with each change would be quadratic."""
    _, rows = held(*(Row(str(number), 0) for number in range(200)))
    for figure in range(50):
        for number in range(200):
            rows.put(1, str(number), Row(str(number), figure))
    assert len(LOOKED_AT) == 200
    assert rows.all(1) == tuple(Row(str(number), 49) for number in range(200))
