"""What a commit costs the database, whatever it knows of its tables; and values on their way to it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tests.support.factories import event, run_row
from towerlog.errors import StorageFailed
from towerlog.model.principal import Counters
from towerlog.model.run import RunRow
from towerlog.store.postgres import connections, write
from towerlog.store.postgres.connections import NO_NUL, sendable
from towerlog.store.postgres.store import PostgresStore
from towerlog.store.postgres.upkeep.figures import FACTOR, FIRST, LAST, Growth
from towerlog.store.values import Changes, Kind, RunChange

RUNS, MOVED = 300, 40
LOOKED_AT = (
    "SELECT pg_stat_get_xact_tuples_returned('run'::regclass)"
    " + (SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid)) FROM pg_index WHERE indrelid = 'run'::regclass)"
)
"""Rows, and entries of indexes, that this transaction has gone through so far."""


def changes_of(org: int, rows: list[RunRow], before: dict[int, RunRow], first: int) -> Changes:
    """An event of each of these runs."""
    changes = Changes(counters={org: Counters(first + len(rows), RUNS, 0)})
    for position, row in enumerate(rows, first + 1):
        changes.events.append(event(position, row.last_seq, org=org, run=row.run & 0xFFFFFFFF))
        changes.runs[row.run] = RunChange(before.get(row.run), row)
    return changes


async def test_a_commit_goes_through_the_rows_that_it_changes_and_no_others(store: PostgresStore, org: int) -> None:
    """The tables are new: the planner has no figures of them, and has planned the statements while they were empty."""
    rows = {row.run: row for row in (run_row(n, org=org, last_seq=1, last_position=n) for n in range(1, RUNS + 1))}
    for _ in range(2):
        async with store.begin() as unit:
            await unit.hold(frozenset({org}))
            position = (await unit.load({Kind.COUNTERS: [org]}, 0))[Kind.COUNTERS][org].position
            known = dict(rows) if position else {}
            moved = [
                msgspec.structs.replace(row, last_seq=row.last_seq + 1) if position else row
                for row in list(rows.values())[: MOVED if position else RUNS]
            ]
            changes = changes_of(org, moved, known, position)
            await store.months.ensure(one.recorded_at for one in changes.events)
            await write.write_changes(unit._db, changes, {org})
            looked_at = await unit._db.value(LOOKED_AT)
            await unit._db.connection.execute("COMMIT")
            unit.is_open = False
    assert MOVED <= looked_at <= 3 * MOVED, f"{looked_at} rows were looked at to change {MOVED}"
    assert [row.last_seq for row in (await store.runs_by_number(org, list(rows))).values()].count(2) == MOVED


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", [1, None, -(2**62)]),
        ("text", ["a", None, "", "ä\0b"]),
        ("bytea", [b"", b"\0\xff", None]),
        ("boolean", [True, None, False]),
        ("text", [None, None]),
        ("bigint", []),
    ],
)
async def test_values_arrive_as_they_were_sent(store: PostgresStore, kind: str, values: list[Any]) -> None:
    async def told(values: Any) -> Any:
        async with store.begin() as unit:
            return await unit._db.value(f"SELECT $1::{kind}[]", values)

    expected = [value.replace("\0", NO_NUL) if isinstance(value, str) else value for value in values]
    assert await told(values) == expected
    assert await told(tuple(values)) == expected


def test_a_column_is_looked_through_once_and_read_as_often_as_one_likes() -> None:
    column = sendable([1, 2])
    assert list(iter(column)) == []
    assert [list(column), len(column)] == [[1, 2], 2]
    assert list(column) == [1, 2]


async def test_a_driver_that_looks_at_arrays_in_another_way_is_refused(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looked through them twice would send nothing of them."""
    async with store.begin() as unit:
        await connections.check_arrays(unit._db.connection)
        monkeypatch.setattr(connections.Column, "__iter__", lambda column: iter(()))
        with pytest.raises(StorageFailed, match=r"asyncpg .* sends arrays in another way"):
            await connections.check_arrays(unit._db.connection)


async def test_units_of_two_nodes_may_hold_at_the_same_time(store: PostgresStore, org: int, other: int) -> None:
    async def hold(of: int) -> bool:
        async with store.begin() as unit:
            return await unit.hold(frozenset({of}))

    assert await asyncio.gather(hold(org), hold(other)) == [True, True]


@pytest.mark.parametrize("count", [FIRST, 5 * FIRST])
async def test_what_is_loaded_is_found_by_its_key(store: PostgresStore, org: int, count: int) -> None:
    """Figures are taken in time: of a table without any the planner goes through all rows of the organisation."""
    rows = [run_row(n, org=org, last_seq=1, last_position=n) for n in range(1, count + 1)]
    keys = [row.run for row in rows[-MOVED:]]
    wanted = {Kind.COUNTERS: [org], Kind.RUN: keys, Kind.EVENT_ID: [(run, "none") for run in keys]}
    async with store.begin() as unit:
        await unit.load(wanted, 0)
        await unit.commit(changes_of(org, rows, {}, 0))
    await asyncio.gather(*store._ending)
    async with store.begin() as unit:
        found = await unit.load(wanted, 0)
        assert len(found[Kind.RUN]) == MOVED
        assert await unit._db.value(LOOKED_AT) == MOVED
        assert await unit._db.value(LOOKED_AT.replace("'run'", "'place'")) <= MOVED


def test_figures_are_taken_less_and_less_often() -> None:
    growth = Growth()
    taken = [events for events in range(1, 2 * LAST) if growth.is_due(1)]
    assert taken == [FIRST, FIRST * FACTOR, FIRST * FACTOR**2, FIRST * FACTOR**3]
    assert [Growth().is_due(10 * LAST), growth.is_due(10 * LAST)] == [True, False]
