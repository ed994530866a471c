"""A store moves from one backend to another: page by page, so that it can be broken off anywhere and goes on there.

The target notes with each page how far it is, in the same transaction. It is nobody's store until all of it is there,
was held against the source, and `finish` was called. The source is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from towerlog.model.audit import AuditEntry
from towerlog.store.columns.order import advanced
from towerlog.store.columns.tables import TABLES, Table

Row = tuple[Any, ...]
PAGE_ROWS = 2000
PAGE_BYTES = 8 * 1024 * 1024
"""A page ends with the row that passes either."""


class Reached(msgspec.Struct, frozen=True):
    """How far a move is: behind this row of this table. An empty name: at the beginning."""

    table: str = ""
    after: Row | None = None
    """None: nothing of the table yet."""
    rows: int = 0
    """All that were taken so far."""


class StoreSource(Protocol):
    """Where a store comes from, as of one moment."""

    def fingerprint(self) -> str:
        """What is another one once anything was written to the store."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Rows of each table."""
        ...

    def page(self, table: Table, after: Row | None) -> tuple[list[Row], Row | None]:
        """The rows after this one, in the order of the source's keys, and behind which they end; None at the end."""
        ...

    def metas(self) -> Mapping[str, str]:
        """What is known of the store as a whole."""
        ...


class StoreTarget(Protocol):
    """Where it goes."""

    reached: Reached

    async def take(self, table: Table, rows: list[Row], reached: Reached) -> None:
        """Writes a page and how far the move is with it, in one transaction."""
        ...

    async def differing(self, table: Table, rows: list[Row]) -> int:
        """How many of these rows are not there, or are there otherwise."""
        ...

    async def count(self, table: Table) -> int:
        """Rows of a table."""
        ...

    async def finish(self, metas: Mapping[str, str], told: Iterable[AuditEntry]) -> None:
        """From now on it is a store like any other. `told`: what its audit says of that."""
        ...


async def move(source: StoreSource, target: StoreTarget, progress: Callable[[int], None]) -> int:
    """Writes what is not there yet; how many rows the store has. `progress`: told how many are there."""
    done = target.reached.rows
    for table, after in _left(target.reached):
        while True:
            rows, after = _page(source, table, after)
            done += len(rows)
            if rows:
                await target.take(table, rows, Reached(table.name, after, done))
            progress(done)
            if after is None:
                break
    return done


def _page(source: StoreSource, table: Table, after: Row | None) -> tuple[list[Row], Row | None]:
    rows, end = source.page(table, after)
    return rows, None if end is None else advanced(table.name, after, end)


def _left(reached: Reached) -> Iterable[tuple[Table, Row | None]]:
    """Tables that are not done, each with the row behind which it goes on.

    A table whose last page was taken without a row to go on behind is done.
    """
    names = [table.name for table in TABLES]
    first = names.index(reached.table) if reached.table else 0
    if reached.table and reached.after is None:
        first += 1
    for table in TABLES[first:]:
        yield table, reached.after if table.name == reached.table else None


async def compare(source: StoreSource, target: StoreTarget, progress: Callable[[int], None]) -> list[str]:
    """Holds every row of the source against the target's; what differs, in words."""
    differences: list[str] = []
    done = 0
    for table in TABLES:
        after: Row | None = None
        count = wrong = 0
        while True:
            rows, after = _page(source, table, after)
            if rows:
                wrong += await target.differing(table, rows)
            count += len(rows)
            progress(done + count)
            if after is None:
                break
        done += count
        there = await target.count(table)
        if wrong:
            differences.append(f"{table.name}: {wrong} of {count} rows are missing or not what they were")
        if there != count:
            differences.append(f"{table.name}: there are {there} rows, the source has {count}")
    return differences
