"""Migrations: what is still to be done, what is refused, and that a broken one leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import apsw
import pytest

from tests.support.fakes import FakeClock, SeededIds
from towerlog.errors import SchemaMismatch
from towerlog.store import migrate
from towerlog.store.migrate import Migration, apply_migrations, load_migrations, plan_migrations
from towerlog.store.sqlite.connections import connection
from towerlog.store.sqlite.store import open_reader, open_store

ONE, TWO, THREE = (Migration(n, f"000{n}_x", f"CREATE TABLE t{n} (a);") for n in (1, 2, 3))
HALF = "CREATE TABLE half (a); INSERT INTO half VALUES (1); INSERT INTO nowhere VALUES (1);"


def schema(db: apsw.Connection) -> list[tuple[object, ...]]:
    """Every table and index as it was written, and what is recorded as applied."""
    made = list(db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"))
    return made + list(db.execute("SELECT number, name, checksum FROM migration"))


def bytes_of(path: Path) -> bytes:
    """The file as it lies there."""
    return path.read_bytes()


def give(monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """This version knows these as well from now on."""
    known = load_migrations("sqlite")
    later = [Migration(len(known) + n, f"more_{n}", sql) for n, sql in enumerate(more, 1)]
    monkeypatch.setattr(connection, "load_migrations", lambda _: known + later)


def test_what_is_not_applied_is_to_be_applied_in_order() -> None:
    assert plan_migrations({}, [ONE, TWO, THREE]) == [ONE, TWO, THREE]
    assert plan_migrations({1: ONE.checksum}, [ONE, TWO, THREE]) == [TWO, THREE]
    assert plan_migrations({1: ONE.checksum, 2: TWO.checksum}, [ONE, TWO]) == []


def test_a_newer_schema_is_refused_with_both_numbers() -> None:
    applied = {1: ONE.checksum, 2: TWO.checksum}
    with pytest.raises(SchemaMismatch, match="has schema 2, this version knows 1"):
        plan_migrations(applied, [ONE])
    with pytest.raises(SchemaMismatch, match="knows 0"):
        plan_migrations(applied, [])


def test_a_changed_file_is_refused_by_name() -> None:
    with pytest.raises(SchemaMismatch, match=r"0001_x was changed since.*new data folder"):
        plan_migrations({1: "another checksum"}, [ONE, TWO])


def test_the_checksum_is_of_the_text() -> None:
    assert ONE.checksum == hashlib.sha256(b"CREATE TABLE t1 (a);").hexdigest()
    assert ONE.checksum != Migration(1, ONE.name, ONE.sql + " ").checksum


def test_they_are_applied_in_order_and_none_after_one_that_failed() -> None:
    done: list[int] = []

    def apply_one(migration: Migration) -> None:
        if migration.number == 2:
            raise RuntimeError("no")
        done.append(migration.number)

    with pytest.raises(RuntimeError):
        apply_migrations([ONE, TWO, THREE], apply_one)
    assert done == [1]


@pytest.mark.parametrize("names", [["0001_a.sql", "0003_b.sql"], ["0002_a.sql"], ["0001_a.sql", "0001_b.sql"]])
def test_a_hole_in_the_files_is_refused(names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sql" / "sqlite"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("no migration")
    for name in names:
        (folder / name).write_text("SELECT 1;")
    monkeypatch.setattr(migrate.resources, "files", lambda _: tmp_path)
    with pytest.raises(SchemaMismatch, match="do not count"):
        load_migrations("sqlite")


def test_a_second_time_there_is_nothing_to_do(db: apsw.Connection) -> None:
    before = schema(db)
    assert connection.migrate(db) == len(load_migrations("sqlite"))
    assert schema(db) == before


def test_a_planted_newer_schema_is_refused_and_left_alone(db: apsw.Connection) -> None:
    db.execute("INSERT INTO migration VALUES (99, '0099_later', 'x')")
    before = schema(db)
    with pytest.raises(SchemaMismatch, match="use a newer version"):
        connection.migrate(db)
    with pytest.raises(SchemaMismatch, match="use a newer version"):
        connection.check_schema(db)
    assert schema(db) == before


def test_a_planted_change_of_an_applied_file_is_refused(db: apsw.Connection) -> None:
    db.execute("UPDATE migration SET checksum = 'x' WHERE number = 1")
    with pytest.raises(SchemaMismatch, match=f"^{re.escape(db.filename)} was made by a development build"):
        connection.migrate(db)


def test_a_migration_that_fails_half_way_leaves_nothing(db: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = schema(db)
    give(monkeypatch, "CREATE TABLE whole (a);", HALF, "CREATE TABLE never (a);")
    with pytest.raises(apsw.SQLError):
        connection.migrate(db)
    assert not db.in_transaction
    left = {str(row[1]) for row in schema(db)} - {str(row[1]) for row in before}
    assert left == {"whole", "more_1"}, "the one before it stays, of the broken one nothing does"


def test_who_only_reads_is_told_of_an_older_schema(db: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.check_schema(db)
    before = schema(db)
    give(monkeypatch, "CREATE TABLE more (a);")
    with pytest.raises(SchemaMismatch, match="older schema"):
        connection.check_schema(db)
    assert schema(db) == before


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_the_database_of_another_program_is_refused_and_left_as_it_was(journal: str, path: Path) -> None:
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", journal)
    db.execute("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")
    db.close()
    before = bytes_of(path)
    with pytest.raises(SchemaMismatch, match=f"{re.escape(str(path))} is another program's database"):
        await open_store(path, FakeClock(), SeededIds())
    with pytest.raises(SchemaMismatch, match=f"{re.escape(str(path))} is not a towerlog database"):
        await open_reader(path, FakeClock())
    assert bytes_of(path) == before
    db = apsw.Connection(str(path))
    assert [str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema")] == ["mine"]
    db.close()


async def test_what_is_refused_is_let_go_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        give(newer, "CREATE TABLE more (a);")
        await (await open_store(path, FakeClock(), SeededIds())).close()
    for _ in range(2):
        with pytest.raises(SchemaMismatch):
            await open_store(path, FakeClock(), SeededIds())
    assert not opened_files(path), "its files are still open"


def opened_files(path: Path) -> list[str]:
    """Which files of this database the process has open."""
    found = [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]
    return [one for one in found if one.startswith(str(path))]
