"""The files: what every connection is set to, one writer a folder, and a write-ahead log that stays small."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from tests.support.factories import event, identity, run_changes, run_row
from tests.support.fakes import FakeClock, SeededIds
from tests.support.wait import wait_until_async
from towerlog.ambient import Clock, SystemClock
from towerlog.errors import StorageFailed
from towerlog.store import sqlite
from towerlog.store.sqlite.connections import connection as connections
from towerlog.store.sqlite.connections.connection import migrate, open_connection
from towerlog.store.sqlite.connections.transaction import WalGauge
from towerlog.store.sqlite.store import SqliteStore, open_store
from towerlog.store.sqlite.upkeep import start

KIB = 1024
STRANGER = 54_321


def wal_bytes(path: Path) -> int:
    """Size of the write-ahead log on disk."""
    return path.with_name(path.name + "-wal").stat().st_size


def pragmas(db: apsw.Connection, *names: str) -> list[object]:
    """What SQLite itself says of its settings."""
    return [db.pragma(name) for name in names]


def test_a_writing_connection_is_durable(db: apsw.Connection, path: Path) -> None:
    told = pragmas(db, "journal_mode", "synchronous", "page_size", "wal_autocheckpoint", "journal_size_limit")
    assert told == ["wal", 2, connections.PAGE_BYTES, 0, 64 * KIB * KIB]
    assert pragmas(db, "busy_timeout", "cache_size", "temp_store", "query_only") == [10_000, -65536, 2, 0]
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[16:18], "big") == connections.PAGE_BYTES, "the page size of the file itself"


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_of_somebody_else_is_told_as_one(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "towerlog.db"
    path.write_bytes(b"")
    path.chmod(0)
    # Root may open everything, and the folders of the tests are nobody else's: from inside, as another user.
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.chdir(tmp_path)
            if os.geteuid() == 0:
                os.seteuid(STRANGER)
            open_connection(Path(path.name), read_only=read_only)
        except PermissionError as error:
            code = 0 if error.filename == path.name else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_reading_connection_cannot_write(db: apsw.Connection, path: Path) -> None:
    reader = open_connection(path, read_only=True)
    assert pragmas(reader, "journal_mode", "query_only", "busy_timeout") == ["wal", 1, 10_000]
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("INSERT INTO meta VALUES ('a', 'b')")
    reader.close()


def test_opening_commits_nothing_behind_a_log_that_may_not_be_on_disk(db: apsw.Connection, path: Path) -> None:
    migrate(db)
    log = path.with_name(path.name + "-wal")
    found = log.read_bytes()
    open_connection(path).close()
    assert log.read_bytes() == found


def test_a_reading_connection_makes_no_file(path: Path) -> None:
    with pytest.raises(StorageFailed, match=path.name):
        open_connection(path, read_only=True)
    assert not path.exists()


@pytest.mark.parametrize("read_only", [True, False])
def test_every_connection_lowers_all_scripts(db: apsw.Connection, path: Path, read_only: bool) -> None:
    connection = open_connection(path, read_only=read_only)
    lowered = [connection.execute(f"SELECT {connections.LOWER}(?)", (text,)).get for text in ("ÄÖÜ Я", None, 7)]
    assert lowered == ["äöü я", None, None]
    connection.close()


@pytest.mark.parametrize(("version", "is_good"), [("3.51.2", False), ("3.9.99", False), ("3.51.3", True)])
def test_an_sqlite_with_the_wal_fault_is_refused(version: str, is_good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    connections.check_library()
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    if is_good:
        connections.check_library()
    else:
        with pytest.raises(StorageFailed, match="too old"):
            connections.check_library()


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "towerlog.db"
    before = os.umask(0)
    try:
        lock = start.take_place(path)
        start.prepare(lock)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    lock.close()


def test_the_epoch_is_given_once_and_replaced_on_purpose_alone(db: apsw.Connection) -> None:
    assert connections.ensure_epoch(db, "e1") == "e1"
    assert connections.ensure_epoch(db, "e2") == "e1"
    assert connections.read_copied(db) is None
    connections.make_a_copy(db, "e3")
    assert connections.read_copied(db) == {}
    assert connections.read_epoch(db) == "e3"


def test_a_checkpoint_waits_for_nobody(db: apsw.Connection, path: Path) -> None:
    reader = open_connection(path, read_only=True)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM meta").get == 0
    connections.ensure_epoch(db, "e1")
    pages, moved = connections.checkpoint(db)
    assert 0 <= moved < pages, "what the reader does not see yet must wait"
    reader.execute("COMMIT")
    reader.close()
    pages, moved = connections.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert pages == moved == wal_bytes(path) == 0


def test_a_checkpoint_that_finds_another_at_work_says_so(db: apsw.Connection, path: Path) -> None:
    second = open_connection(path)
    second.set_busy_timeout(0)
    db.execute("BEGIN IMMEDIATE; INSERT INTO meta VALUES ('a', 'b')")
    assert connections.checkpoint(second, apsw.SQLITE_CHECKPOINT_TRUNCATE) == (-1, 0)
    db.execute("ROLLBACK")
    second.close()


def test_the_gauge_tells_what_the_size_of_the_file_does_not(tmp_path: Path) -> None:
    gauge = WalGauge()
    writer = gauge.watch(connections.open_connection(tmp_path / "gauge.db"))
    writer.execute("CREATE TABLE t (x)")
    for _ in range(20):
        writer.execute("INSERT INTO t VALUES (zeroblob(20000))")
    written = gauge.unmoved_bytes
    assert written == gauge.written_bytes > 20 * 20000
    _, moved = connections.checkpoint(writer)
    gauge.note_moved(moved)
    assert gauge.unmoved_bytes == 0
    writer.execute("INSERT INTO t VALUES (1)")
    # The log has started anew inside a file that kept its size.
    assert 0 < gauge.unmoved_bytes == gauge.written_bytes < written
    assert wal_bytes(tmp_path / "gauge.db") >= written
    writer.close()


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    """A store with one organisation."""
    store = await open_store(path, clock, SeededIds())
    try:
        await store.org_create(*identity(1))
        yield store
    finally:
        await store.close()


async def fill(store: SqliteStore, units: int, events_each: int, event_bytes: int) -> list[int]:
    """Commits unit after unit; the size of the WAL after each."""
    sizes = []
    for unit_number in range(units):
        first = unit_number * events_each + 1
        numbers = range(first, first + events_each)
        events = [event(n, n, data=b'"' + os.urandom(event_bytes // 2).hex().encode() + b'"') for n in numbers]
        row = run_row(last_seq=first)
        async with store.begin() as unit:
            await unit.commit(run_changes(row, events, before=row if unit_number else None))
        sizes.append(wal_bytes(store.path))
    return sizes


async def test_the_wal_stays_bounded_under_a_load_of_writing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WAL_CHECKPOINT_BYTES", 256 * KIB)
    monkeypatch.setattr(connections, "WAL_RESET_BYTES", 1024 * KIB)
    # However late the checkpoint beside the writer comes, on a busy machine: there writes wait for it.
    monkeypatch.setattr(connections, "WAL_HELD_BYTES", 2 * 1024 * KIB)
    monkeypatch.setattr(sqlite.store, "HELD_TRIES", 10_000)
    async with opened(path, FakeClock()) as store:
        sizes = await fill(store, units=300, events_each=20, event_bytes=2000)
        pages = await store.writer.call(lambda db: db.pragma("page_count"))
        stored = await store.writer.call(lambda db: db.execute("SELECT count(*) FROM event").get)
    assert stored == 6000
    assert pages * 16 * KIB > 6 * 1024 * KIB, "too little was written to say anything"
    assert max(sizes) > 256 * KIB, "the threshold was never reached"
    assert max(sizes) < 3 * 1024 * KIB, f"the WAL grew to {max(sizes)} bytes"


async def test_where_little_room_is_left_the_log_is_short(path: Path) -> None:
    """Where writes come one after the other there is no idle moment in which it would be emptied."""
    async with opened(path, FakeClock()) as store:
        await fill(store, units=3, events_each=200, event_bytes=6000)
        assert wal_bytes(path) > 2 * connections.LOW_LOG_BYTES
        store.space.spare_bytes = 2 * connections.LOW_LOG_BYTES
        async with store.begin():
            assert wal_bytes(path) < connections.LOW_LOG_BYTES


async def test_the_wal_is_emptied_when_nobody_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite.store, "IDLE_TRUNCATE_SECONDS", 0.1)
    async with opened(path, SystemClock()) as store:
        # Of a busy machine's looks some may come after it was emptied.
        assert any(await fill(store, units=3, events_each=5, event_bytes=500))
        await wait_until_async(lambda: wal_bytes(path) <= 2 * 17 * KIB, "the WAL to be emptied but for its name")


def failing(error: apsw.Error) -> Callable[..., tuple[int, int]]:
    def checkpoint(*_: object) -> tuple[int, int]:
        raise error

    return checkpoint


async def test_a_checkpoint_that_failed_on_the_disk_stops_the_commits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path, FakeClock()) as store:
        with monkeypatch.context() as patched:
            patched.setattr(connections, "WAL_CHECKPOINT_BYTES", 0)
            patched.setattr(connections, "checkpoint", failing(apsw.IOError("the disk is gone")))
            await fill(store, units=1, events_each=1, event_bytes=100)
            await wait_until_async(lambda: store.trouble.final is not None, "the checkpoint to fail")
        with pytest.raises(StorageFailed) as raised:
            await fill(store, units=1, events_each=1, event_bytes=100)
    assert raised.value.fatal


@pytest.mark.parametrize("error", [apsw.FullError("full"), apsw.BusyError("busy")], ids=["full", "busy"])
async def test_a_checkpoint_that_found_no_room_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: apsw.Error
) -> None:
    async with opened(path, FakeClock()) as store:
        with monkeypatch.context() as patched:
            patched.setattr(connections, "WAL_CHECKPOINT_BYTES", 0)
            patched.setattr(connections, "checkpoint", failing(error))
            await fill(store, units=1, events_each=1, event_bytes=100)
            await wait_until_async(lambda: store.trouble.failed_checkpoints > 1, "the checkpoint to fail twice")
            assert store.trouble.checkpoint is not None
            async with store.begin() as unit:
                await unit.commit(run_changes(run_row(last_seq=2), [event(2, 2)], before=run_row(last_seq=1)))
        await wait_until_async(lambda: store.trouble.checkpoint is None, "the next one to succeed")
        assert store.trouble.final is None


async def test_closing_leaves_one_file(path: Path) -> None:
    async with opened(path, FakeClock()):
        assert len(os.listdir(path.parent)) > 2
    assert sorted(os.listdir(path.parent)) == ["towerlog.db", "towerlog.db.lock"]
    db = open_connection(path)
    migrate(db)
    assert db.execute("SELECT count(*) FROM org").get == 1
    db.close()
