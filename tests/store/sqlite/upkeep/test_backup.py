"""A backup is the store of one moment, sound, another log by its epoch, and never in the place of something else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.support.factories import event, identity, run_changes, run_row
from tests.support.fakes import FakeClock, SeededIds
from towerlog.errors import SchemaMismatch, StorageFailed
from towerlog.store.placing import discard, publish
from towerlog.store.sqlite.connections.connection import PAGE_BYTES
from towerlog.store.sqlite.store import SqliteStore, open_store
from towerlog.store.sqlite.upkeep import pages
from towerlog.store.sqlite.upkeep.backup import copy_database


def unheard(done: int, total: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
async def store(tmp_path: Path):
    """A store with an organisation and ten events."""
    opened = await open_store(tmp_path / "towerlog.db", FakeClock(), SeededIds())
    await opened.org_create(*identity(1, name="ours"))
    await append(opened, 1, 10)
    yield opened
    await opened.close()


async def append(store: SqliteStore, run: int, count: int, size: int = 10) -> None:
    """A run with so many events."""
    begin = (run - 1) * 1000
    events = [event(begin + n, n, run=run, event_id=os.urandom(size).hex()) for n in range(1, count + 1)]
    async with store.begin() as unit:
        await unit.commit(run_changes(run_row(run), events))


def rows_of(path: Path, table: str) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(path))
    try:
        return list(db.execute(f"SELECT * FROM {table}"))
    finally:
        db.close()


async def test_a_copy_has_every_row_and_a_new_epoch(store, tmp_path) -> None:
    target = tmp_path / "copy.db"
    partial = copy_database(store.path, target, "e-new", unheard)
    assert not target.exists()
    assert partial.parent == target.parent
    size = publish(partial, target)
    assert size == target.stat().st_size
    assert not partial.exists()
    assert target.stat().st_mode & 0o777 == 0o600
    for table in ("event", "run", "org", "user", "api_key", "migration"):
        assert rows_of(target, table) == rows_of(store.path, table), table
    assert ("epoch", "e-new") in rows_of(target, "meta")
    assert ("epoch", "e-new") not in rows_of(store.path, "meta")


async def test_a_copy_is_the_store_of_one_moment_after_the_call(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pages, "STEP_PAGES", 1)
    await append(store, 2, 500, size=400)
    before = rows_of(store.path, "event")
    writer = apsw.Connection(str(store.path))
    heard: list[tuple[int, int]] = []

    def write_more(done: int, total: int) -> None:
        heard.append((done, total))
        if len(heard) == 3:
            with writer:
                writer.execute("UPDATE run SET status = 'failed'")
                writer.execute("DELETE FROM event WHERE seq > 3")

    partial = copy_database(store.path, tmp_path / "copy.db", "e-new", write_more)
    writer.close()
    assert 0 < len(rows_of(partial, "event")) < len(before)
    assert rows_of(partial, "event") == rows_of(store.path, "event")
    assert {row[7] for row in rows_of(partial, "run")} == {"failed"}
    assert [done for done, _ in heard] == sorted({done for done, _ in heard}), "the copy began anew"
    assert heard[-1][0] == heard[-1][1] > 10


async def test_a_copy_can_be_served(store, tmp_path) -> None:
    target = tmp_path / "elsewhere" / "towerlog.db"
    target.parent.mkdir()
    publish(copy_database(store.path, target, "e-new", unheard), target)
    restored = await open_store(target, FakeClock(), SeededIds())
    assert restored.epoch == "e-new"
    assert len(await restored.log(1, 0, 100)) == 10
    await restored.close()


@pytest.mark.parametrize("kind", ["file", "folder", "dangling-link"])
async def test_nothing_is_overwritten(store, tmp_path, kind) -> None:
    target = tmp_path / "mine"
    if kind == "file":
        target.write_text("keep me")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        copy_database(store.path, target, "e-new", unheard)
    partial = tmp_path / "partial"
    partial.write_text("a copy")
    with pytest.raises(FileExistsError):
        publish(partial, target)
    assert partial.exists()
    assert kind != "file" or target.read_text() == "keep me"


async def test_a_copy_that_cannot_be_made_leaves_nothing(store, tmp_path) -> None:
    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(OSError, match="No space"):
        copy_database(store.path, tmp_path / "copy.db", "e-new", full)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    with pytest.raises(OSError, match="No such file"):
        copy_database(store.path, tmp_path / "nowhere" / "copy.db", "e-new", unheard)


async def test_a_copy_that_sqlite_cannot_read_whole_is_refused(store, tmp_path, monkeypatch) -> None:
    await append(store, 2, 500, size=400)
    await store.writer.call(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").get)
    broken = tmp_path / "broken.db"
    content = bytearray(store.path.read_bytes())
    for page in range(20 * PAGE_BYTES, len(content), PAGE_BYTES):
        content[page : page + 4000] = b"\xa5" * 4000
    broken.write_bytes(content)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(StorageFailed):
        copy_database(broken, tmp_path / "copy.db", "e-new", unheard)
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("broken.db-"))
    assert left == before


async def test_a_copy_that_cannot_be_opened_is_told_in_words(store, tmp_path, monkeypatch) -> None:
    opener = apsw.Connection

    def fails(name: str, *more: Any, **named: Any) -> apsw.Connection:
        if name.endswith(".partial"):
            raise apsw.IOError("disk I/O error")
        return opener(name, *more, **named)

    monkeypatch.setattr(apsw, "Connection", fails)
    with pytest.raises(StorageFailed, match="disk I/O error"):
        copy_database(store.path, tmp_path / "copy.db", "e", lambda done, of: None)
    assert not list(tmp_path.glob(".copy*"))


async def test_a_database_of_somebody_else_is_refused(tmp_path) -> None:
    other = tmp_path / "other.db"
    db = apsw.Connection(str(other))
    db.execute("CREATE TABLE mine (a)")
    db.close()
    with pytest.raises(SchemaMismatch):
        copy_database(other, tmp_path / "copy.db", "e-new", unheard)


async def test_discarding_takes_what_sqlite_left_beside_it(tmp_path) -> None:
    partial = tmp_path / "copy.partial"
    for suffix in ("", "-journal", "-wal", "-shm"):
        (tmp_path / f"copy.partial{suffix}").write_text("x")
    discard(partial)
    discard(partial)
    assert list(tmp_path.iterdir()) == []
