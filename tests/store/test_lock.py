"""One writer to a database, under whatever path, and who may write beside it; SQLite's own locks are not disturbed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.support.fakes import FakeClock, SeededIds
from towerlog.errors import StoreLocked, StoreTorn
from towerlog.store import lock as module
from towerlog.store.lock import WriterLock, make_folder, may_write_beside, take_writer_place
from towerlog.store.sqlite.store import open_store

SHARED_BYTES = (0x40000002, 510)
"""Where SQLite holds its shared lock on a database: offset and length."""
TRY_EXCLUSIVE = f"""
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, {SHARED_BYTES[1]}, {SHARED_BYTES[0]})
    except OSError:
        sys.exit(0)
sys.exit("nobody holds SQLite's shared lock")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "towerlog.db"


def taken(path: Path) -> WriterLock:
    """The place with its database, as a writer takes it."""
    lock = take_writer_place(path)
    try:
        lock.take_database()
    except BaseException:
        lock.close()
        raise
    return lock


def test_an_empty_file_is_only_taken_where_a_database_was_being_made(path: Path) -> None:
    taken(path).close()  # and killed before it had a schema
    lock = taken(path)
    lock.note_made()
    lock.close()
    with pytest.raises(StoreTorn, match="0 bytes"):
        taken(path)
    lock = take_writer_place(path)
    lock.lock_database()  # to be replaced
    lock.close()


def test_a_second_writer_is_refused(path: Path) -> None:
    path.write_bytes(b"a database")
    lock = taken(path)
    for _ in range(2):
        with pytest.raises(StoreLocked, match=r"towerlog\.db is in use"):
            taken(path)
    assert path.with_name("towerlog.db.lock").read_text() == f"{os.getpid()}\n", "who holds it can be read"
    lock.close()
    taken(path).close()


def test_the_place_of_a_writer_that_was_killed_is_free(path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.store.lock_holder", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreLocked):
            taken(path)
    finally:
        holder.kill()
        holder.communicate(timeout=60)
    taken(path).close()


def test_another_path_to_the_same_file_is_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"a database")
    lock = taken(path)
    elsewhere = tmp_path / "elsewhere" / "other.db"
    elsewhere.parent.mkdir()
    elsewhere.hardlink_to(path)
    with pytest.raises(StoreLocked, match="under another path"):
        taken(elsewhere)
    path.with_name("towerlog.db.lock").unlink()
    with pytest.raises(StoreLocked, match=r"towerlog\.db is in use"):
        taken(path)
    lock.close()
    taken(elsewhere).close()


def test_others_may_write_beside_a_writer_that_lets_them_and_lives(path: Path) -> None:
    log = path.with_name("towerlog.db-wal")
    assert not may_write_beside(log)
    lock = taken(path)
    log.touch()
    assert not may_write_beside(log), "it is not ready"
    asking = os.open(log, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not may_write_beside(log), "one that asks is no writer"
    with pytest.raises(StoreLocked, match="looks at"):
        lock.let_others_write(log)
    os.close(asking)
    lock.let_others_write(log)
    assert may_write_beside(log)
    lock.close()
    assert not may_write_beside(log)


@pytest.mark.parametrize("deep", [1, 3])
def test_the_names_on_the_way_to_a_new_database_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: int
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(module, "sync", synced.append)
    path = tmp_path.joinpath(*(["deep"] * deep), "towerlog.db")
    make_folder(path)
    assert set(synced) == set(path.parents[1 : len(path.relative_to(tmp_path).parts)])
    synced.clear()
    path.touch()
    make_folder(path)
    assert synced == []


async def test_the_locks_of_sqlite_are_not_disturbed(path: Path, tmp_path: Path) -> None:
    """Neither by the lock that is held nor by one that was refused: this process keeps its share of the file."""
    store = await open_store(path, FakeClock(), SeededIds())
    try:
        link = tmp_path / "link.db"
        link.hardlink_to(path)
        with pytest.raises(StoreLocked):
            taken(link)
        await store.ping()
        command = [sys.executable, "-c", TRY_EXCLUSIVE, str(path)]
        await asyncio.to_thread(subprocess.run, command, check=True)
        # Another writer waits for its turn and takes it, as a command beside the server does.
        beside = apsw.Connection(str(path))
        beside.set_busy_timeout(5000)
        async with store.begin() as unit:
            await unit.load({}, 0)
            beside.execute("UPDATE org SET name = name")
        beside.close()
        await store.ping()
    finally:
        await store.close()
    taken(path).close()
