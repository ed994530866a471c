"""A commit leaves room on the disk for what the log has still to move; what makes room goes on below the guard."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from tests.support.fakes import FakeClock
from towerlog.errors import DiskFull
from towerlog.store.space import MIB, Space
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.transaction import MARGIN_BYTES, cut_log, transaction

ROW_BYTES = 300_000
Opened = Callable[[int | None], apsw.Connection]


class Disk:
    """So many bytes, of which the files in a folder take what they are long."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size

    def free(self) -> int:
        return self.size - sum(file.stat().st_size for file in self.folder.iterdir())

    def statvfs(self, _path: object) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=max(self.free(), 0), f_frsize=1, f_blocks=self.size)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(tmp_path, 48 * MIB)
    monkeypatch.setattr(os, "statvfs", made.statvfs)
    return made


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def opened(guard_mib: int | None) -> apsw.Connection:
        path, clock = tmp_path / "t.db", FakeClock()
        db = files.open_connection(path, space=Space(tmp_path, clock.steady_ms, guard_mib, path))
        with transaction(db):
            db.execute("CREATE TABLE IF NOT EXISTS t (doc)")
        return db

    return opened


def add(db: apsw.Connection, rows: int = 1) -> None:
    with transaction(db):
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?1)"
                   " INSERT INTO t SELECT randomblob(?2) FROM n", (rows, ROW_BYTES))  # fmt: skip


def fill(db: apsw.Connection, rows: int = 1) -> None:
    """Until there is no room."""
    with pytest.raises(DiskFull):
        collections.deque((add(db, rows) for _ in itertools.count()), maxlen=0)


def space_of(db: apsw.Connection) -> Space:
    assert isinstance(db, files.StoreConnection)
    assert db.space is not None
    return db.space


@pytest.mark.parametrize("rows", [1, 12], ids=["small", "large"])
@pytest.mark.parametrize("guard_mib", [None, 0, 20])
def test_what_was_committed_has_room_in_the_database(
    disk: Disk, opened: Opened, guard_mib: int | None, rows: int
) -> None:
    db = opened(guard_mib)
    for _ in range(8):
        fill(db, rows)
        leaves = max({None: 0, 0: 16, 20: 20}[guard_mib] * MIB, MARGIN_BYTES)
        assert space_of(db).left_bytes() >= leaves
        files.checkpoint(db, apsw.SQLITE_CHECKPOINT_RESTART)
        assert disk.free() >= leaves, "with the log as long as it was"
        files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert disk.free() < leaves + 3 * rows * ROW_BYTES, "all else could be used"


def test_what_makes_room_goes_on_where_all_else_is_refused(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    db = opened(0)
    fill(db)
    assert not space_of(db).was_low, "what had no room has taken none"
    disk.size -= 4 * MIB
    with pytest.raises(DiskFull):
        add(db)
    count = db.execute("SELECT count(*) FROM t").get
    while db.execute("SELECT count(*) FROM t").get:
        files.checkpoint(db, apsw.SQLITE_CHECKPOINT_RESTART)
        with transaction(db, makes_room=True):
            db.execute("DELETE FROM t WHERE rowid IN (SELECT rowid FROM t LIMIT 8)")
        assert disk.free() > 0
    assert count > 20
    add(db)


def test_below_the_guard_little_is_written_and_all_of_it_fits(disk: Disk, opened: Opened) -> None:
    """What the engine lets through there: keys that are revoked, and marks of what is erased."""
    db = opened(0)
    fill(db)
    disk.size -= 2 * MIB
    space_of(db).forget()
    assert space_of(db).is_low()
    add(db)
    fill(db)
    assert space_of(db).left_bytes() >= MARGIN_BYTES
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert disk.free() >= MARGIN_BYTES


def test_what_had_no_room_takes_none(disk: Disk, opened: Opened, tmp_path: Path) -> None:
    db = opened(0)
    add(db)
    before = files.log_bytes(tmp_path / "t.db")
    with pytest.raises(DiskFull):
        add(db, 200)
    assert files.log_bytes(tmp_path / "t.db") == before
    assert db.execute("SELECT count(*) FROM t").get == 1
    add(db)
    assert db.pragma("integrity_check") == "ok"


def test_a_log_is_cut_behind_the_last_commit_of_whomever(opened: Opened, tmp_path: Path) -> None:
    db, beside = opened(None), apsw.Connection(str(tmp_path / "t.db"))
    add(db)
    db.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (randomblob(500000))")
    db.cache_flush()
    db.execute("ROLLBACK")
    long = files.log_bytes(tmp_path / "t.db")
    beside.execute("INSERT INTO t VALUES ('beside')")
    cut_log(db)
    assert files.log_bytes(tmp_path / "t.db") < long - 400_000
    cut_log(db)
    db.close()
    beside.close()
    with apsw.Connection(str(tmp_path / "t.db")) as again:
        assert again.execute("SELECT count(*), max(doc = 'beside') FROM t").get == (2, 1)


def test_a_log_that_was_emptied_stays_empty(opened: Opened, tmp_path: Path) -> None:
    db = opened(None)
    files.checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    cut_log(db)
    assert files.log_bytes(tmp_path / "t.db") == 0
