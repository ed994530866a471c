"""A page that the disk does not hand out is told from one that is damaged, whatever was before."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import apsw
import pytest

from towerlog.errors import StorageFailed
from towerlog.model.event import READ_FAILED
from towerlog.store.sqlite.connections.failures import storage_failed
from towerlog.store.sqlite.connections.read_errors import take_errno

ROWS = 2_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of more pages than its readers keep in memory."""
    path = tmp_path / "store.db"
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("CREATE TABLE event (key INTEGER PRIMARY KEY, body TEXT)")
        db.executemany("INSERT INTO event VALUES (?, ?)", [(key, "x" * 400) for key in range(ROWS)])
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path


@pytest.fixture
def db(path: Path) -> Iterator[apsw.Connection]:
    """A reader that keeps a few pages."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA cache_size = 5")
    # From now on the log says how long the database is, and nobody asks its file for that.
    connection.execute("UPDATE event SET body = body || 'y' WHERE key = 1")
    yield connection
    connection.close()


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """This process' open files of this path fail each read with EIO, as the memory of a process does at address 0."""
    found = [int(name) for name in os.listdir("/proc/self/fd") if _path_of(int(name)) == str(path)]
    assert found, f"{path} is not open"
    kept = {number: os.dup(number) for number in found}
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    for number in found:
        os.dup2(memory, number)
    try:
        yield
    finally:
        for number, before in kept.items():
            os.dup2(before, number)
            os.close(before)
        os.close(memory)


def _path_of(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""  # it was the folder's own


def read_all(db: apsw.Connection) -> None:
    assert len(db.execute("SELECT key, body FROM event").fetchall()) >= ROWS


def failure(db: apsw.Connection, unread: Path | None = None) -> StorageFailed:
    """What a question is told; with a file that fails its reads. No disk fails one behind a file's end."""
    with pytest.raises(apsw.Error) as caught, unreadable(unread) if unread is not None else nullcontext():
        read_all(db)
    return storage_failed(caught.value, db)


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_read_that_failed_is_told_as_that(db: apsw.Connection, path: Path, suffix: str) -> None:
    db.execute("UPDATE event SET body = body || 'y' WHERE key % 2" if suffix else "SELECT 1").fetchall()
    read_all(db)
    failed = failure(db, Path(f"{path}{suffix}"))
    assert failed.message.startswith(f"{READ_FAILED}: {os.strerror(errno.EIO)}"), failed.message
    assert failed.fatal
    read_all(db)


def test_a_read_that_failed_before_hides_no_damage(db: apsw.Connection, path: Path) -> None:
    read_all(db)
    assert READ_FAILED in failure(db, path).message
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xa5" * (os.path.getsize(path) - 40 * 4096))
    failed = failure(db)
    assert failed.message.startswith("the database is damaged"), failed.message
    assert READ_FAILED not in failed.message


def test_another_errno_is_no_failed_read(db: apsw.Connection) -> None:
    assert take_errno(db) == 0
    db.close()
    assert take_errno(db) == 0
