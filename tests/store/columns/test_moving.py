"""A store moves to PostgreSQL whole: every table and column, page by page, and what differs afterwards is found."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from tests.support.backends import PostgresBackend, empty_database
from tests.support.factories import run_row
from tests.support.postgres import cluster
from tests.support.samples import slow
from towerlog.errors import SchemaMismatch, StoreLocked
from towerlog.model.budget import BudgetAction, BudgetRow, BudgetScope, Period
from towerlog.model.principal import SHARD_BITS
from towerlog.store.columns import moving
from towerlog.store.columns.rows import RUN_COLUMNS, run_indexed
from towerlog.store.columns.tables import METAS, TABLES
from towerlog.store.postgres.upkeep.arrival import Arrival, arriving, parts_of
from towerlog.store.sqlite.upkeep import departure
from towerlog.store.sqlite.upkeep.departure import departing

ORGS = 2
EACH = 23
"""Rows of a table for each organisation: several pages of PAGE."""
PAGE = 10
NOT_MOVED = {"migration", "meta"}
NASTY = "a\0b'\"\\\t\n\U0010fffe é"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with rows in every table, moved in small pages."""
    monkeypatch.setattr(departure, "PAGE_ROWS", PAGE)
    file = tmp_path / "towerlog.db"
    file.write_bytes(empty_database())
    with closing(apsw.Connection(str(file))) as db:
        db.execute("INSERT INTO meta VALUES ('epoch', 'e1'), ('secret', 's'), ('age', '[1]'), ('tries', '7')")
        for table in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table[0] not in NOT_MOVED:
                fill(db, str(table[0]))
    return file


def fill(db: apsw.Connection, table: str) -> None:
    """Rows of two organisations, with texts and bytes of every kind."""
    columns = [(str(row[1]), str(row[2]), bool(row[3])) for row in db.execute(f"PRAGMA table_info({table})")]
    for org in range(1, ORGS + 1) if table != "org" else (0,):
        for number in range(1, EACH + 1):
            values = [value_of(table, *column, org, number) for column in columns]
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def value_of(table: str, name: str, kind: str, needed: bool, org: int, number: int) -> object:
    """A value that no other row of its table has, as far as the column allows it."""
    sharded = org << SHARD_BITS | number
    indexed = dict(zip(RUN_COLUMNS.split(", "), run_indexed(run_row(number, org=org)), strict=False))
    if table == "run" and name in indexed:
        return indexed[name]
    if name in ("run", "key", "agent") and kind == "INTEGER":
        return sharded
    if name in ("message", "node", "meta_list") and kind == "INTEGER":
        return (number - 1) * ORGS + org
    if table == "removed_org" and name == "org":
        return (number - 1) * ORGS + org  # one row an organisation
    if name == "org" and table != "org":
        return org
    if name == "doc" and table in ("run", "budget"):
        return msgspec.json.encode(run_row(number, org=org) if table == "run" else budget(org, number))
    if name in ("is_member", "initial", "packed", "timed", "quiet"):
        return number % 2
    if name == "recorded_at":
        return number * 40 * 86_400_000  # a month and more apart
    if name in ("status", "step_index", "flags", "held") and kind == "INTEGER":
        return number
    if not needed and number % 3 == 0:
        return None
    if kind == "INTEGER":
        return (1 << 62) - number if number == 1 else number
    text = f"{name}{org}.{number}"
    return f"{text}{NASTY}" if kind == "TEXT" else b"\0\xff" + text.encode()


def budget(org: int, number: int) -> BudgetRow:
    """A budget whose period began at its number."""
    scope = BudgetScope(organisation=True)
    return BudgetRow(
        org, f"b{number}", number, "n", scope, 1, Period.DAY, BudgetAction.WARN, 0.5, 1, 1, period_start=number
    )


@pytest.fixture
def target(tmp_path: Path) -> PostgresBackend:
    """An empty database."""
    return PostgresBackend.fresh(tmp_path).make()


async def moved(path: Path, target: PostgresBackend) -> tuple[int, list[str]]:
    """All of it, and what differs then."""
    with departing(path) as source:
        async with arriving(target.location, source.fingerprint()) as arrival:
            count = await moving.move(source, arrival, lambda done: None)
            differences = await moving.compare(source, arrival, lambda done: None)
            await arrival.finish(source.metas(), [])
    return count, differences


def test_every_table_and_column_is_moved(tmp_path: Path, target: PostgresBackend) -> None:
    """Who adds a column here or there finds out."""
    file = tmp_path / "empty.db"
    file.write_bytes(empty_database())
    with closing(apsw.Connection(str(file))) as db:
        tables = {str(row[0]) for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        here = {name: {str(row[1]) for row in db.execute(f"PRAGMA table_info({name})")} for name in tables}
    given: dict[str, set[str]] = {}
    for table in TABLES:
        kept = departure._KEPT.get(table.name, departure._Kept())
        used = {re.split(r"[ (]", kept.of.get(name, name))[0] for name in table.columns}
        given[kept.table or table.name] = used | set(kept.key.split(", ")) - {""}
    spare = {"checkpoint", "approval", "cancel_spread", "erasing", "lane", "run", "agent", "audit_entry"}
    assert set(here) - NOT_MOVED == set(given)
    for name in given:
        # `indexed` says in which indexes of this file a row is.
        assert here[name] <= given[name] | {"indexed"} | ({"org"} if name in spare else set()), name
    there = {name: set(columns) for name, columns in target.tables().items() if not re.fullmatch(r"event_\d+", name)}
    taken: dict[str, set[str]] = {}
    for table in TABLES:
        for part in parts_of(table):
            taken.setdefault(part.name, set()).update(part.columns)
    assert set(there) - NOT_MOVED == set(taken)
    assert {name: columns - taken[name] for name, columns in there.items() if name not in NOT_MOVED} == {
        name: {"contents", "stamp"} if name == "org_count" else set() for name in taken
    }


async def test_what_arrives_is_what_was_there(path: Path, target: PostgresBackend) -> None:
    count, differences = await moved(path, target)
    assert differences == []
    with departing(path) as source:
        assert sum(source.counts().values()) == count
        assert all(source.counts().values())
        assert set(source.metas()) == {"epoch", "secret", "age"} <= set(METAS)
    database = target.name
    assert cluster().sql("SELECT name, value FROM meta ORDER BY name", database) == [
        ["age", "[1]"], ["epoch", "e1"], ["secret", "s"],
    ]  # fmt: skip
    sql = "SELECT count(*), count(DISTINCT org), max(position) FROM place JOIN event USING (org, position, recorded_at)"
    assert cluster().sql(sql, database) == [[str(ORGS * EACH), str(ORGS), str(EACH)]]
    assert cluster().sql("SELECT min(contents), max(contents) FROM org_count", database) == [["0", str(ORGS * EACH)]]
    assert cluster().sql("SELECT count(*) FROM credential", database) == [[str(3 * ORGS * EACH)]]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE event SET data = 'other' WHERE org = 1 AND position = 7", "event: 1 of 46 rows are missing or not"),
        ("UPDATE place SET seq = seq + 1000 WHERE org = 2", "event: 23 of 46 rows are missing or not"),
        slow("DELETE FROM thread WHERE org = 1 AND number = 5", "thread: 1 of 46 rows are missing or not"),
        slow("DELETE FROM credential WHERE kind = 1 AND org = 1", "api_key: 23 of 46 rows are missing or not"),
        slow("UPDATE budget SET period_start = 0", "budget: 46 of 46 rows are missing or not"),
        (
            "INSERT INTO trim (org, run, seq, hash) VALUES (9, 9, 9, '')",
            "trim: there are 47 rows, the source has 46",
        ),
    ],
)
async def test_what_differs_is_found(path: Path, target: PostgresBackend, sql: str, told: str) -> None:
    await moved(path, target)
    cluster().sql(sql, target.name)
    cluster().sql("""INSERT INTO meta VALUES ('moving', '{"source":"x"}')""", target.name)
    with departing(path) as source:
        async with arriving(target.location, "x") as arrival:
            [found, *more] = await moving.compare(source, arrival, lambda done: None)
    assert found.startswith(told)
    assert len(more) <= 1, more


class Broken(Exception):
    """A move that ends in the middle."""


async def test_it_goes_on_where_it_was(path: Path, target: PostgresBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off behind each page in turn, nothing is written twice and nothing is left out."""
    take = Arrival.take

    async def broken(self: Arrival, *given: object) -> None:
        await take(self, *given)  # type: ignore[arg-type]
        raise Broken

    monkeypatch.setattr(Arrival, "take", broken)
    pages = 0
    while True:
        try:
            count, differences = await moved(path, target)
            break
        except Broken:
            pages += 1
    assert pages >= len(TABLES)
    assert differences == []
    assert count == sum_of(path)


def sum_of(path: Path) -> int:
    with departing(path) as source:
        return sum(source.counts().values())


async def test_a_database_with_data_is_refused(path: Path, target: PostgresBackend) -> None:
    await moved(path, target)
    with pytest.raises(SchemaMismatch, match="has data already"):
        await moved(path, target)


def broken_off(_done: int) -> None:
    raise RuntimeError("broken off")


async def test_of_a_move_that_has_brought_nothing_nothing_is_left(path: Path, target: PostgresBackend) -> None:
    """Another store may come, or this one after it was written to."""
    async with arriving(target.location, "another"):
        pass
    count, differences = await moved(path, target)
    assert (count > 0, differences) == (True, [])


async def test_a_source_that_was_written_meanwhile_is_refused(path: Path, target: PostgresBackend) -> None:
    with departing(path) as source:
        async with arriving(target.location, source.fingerprint()) as arrival:
            with pytest.raises(RuntimeError, match="broken off"):
                await moving.move(source, arrival, broken_off)
    with closing(apsw.Connection(str(path))) as db:
        db.execute("UPDATE org SET position = position + 1 WHERE org = 2")
    with pytest.raises(SchemaMismatch, match="a part of another store"):
        await moved(path, target)


async def test_two_moves_at_once_are_refused(path: Path, target: PostgresBackend) -> None:
    with departing(path) as source:
        async with arriving(target.location, source.fingerprint()):
            with pytest.raises(StoreLocked, match="stop it first"):
                await moved(path, target)
