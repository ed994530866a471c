"""A copy made page by page beside a writer is what one commit has left, whatever the writer does meanwhile."""

from __future__ import annotations

import os
import random
from pathlib import Path

import apsw
import pytest

from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.transaction import WalGauge
from towerlog.store.sqlite.upkeep import pages
from towerlog.store.sqlite.upkeep.pages import copy_pages

BOUND_BYTES = 1024 * 1024


def slow(seed: int) -> object:
    return pytest.param(seed, marks=pytest.mark.slow)


class Writer:
    """One that writes, checkpoints and lets its log start anew; what each commit has left."""

    def __init__(self, path: Path, seed: int) -> None:
        self.db = files.open_connection(path)
        files.migrate(self.db)
        self.random = random.Random(seed)
        self.left: list[int] = []
        """What all rows together were, after each commit."""
        for _ in range(40):
            self.commit()
        files.checkpoint(self.db)
        for _ in range(5):
            self.commit()

    def commit(self) -> None:
        draw = self.random.random()
        with self.db:
            for _ in range(self.random.randint(1, 5)):
                number = self.random.randint(1, 60)
                if draw < 0.2:
                    self.db.execute("DELETE FROM message WHERE message = ?", (number,))
                else:
                    body = self.random.randbytes(self.random.choice([10, 5000, 30_000]))
                    row = (number, 1, number.to_bytes(2, "big"), 0, body)
                    self.db.execute("INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?)", row)
        self.left.append(state(self.db))

    def act(self) -> None:
        """A few things that a server does."""
        for _ in range(self.random.randint(0, 3)):
            draw = self.random.random()
            if draw < 0.6:
                self.commit()
            elif draw < 0.9:
                files.checkpoint(self.db)
            else:
                files.checkpoint(self.db, apsw.SQLITE_CHECKPOINT_RESTART)


def state(db: apsw.Connection) -> int:
    return hash(tuple(db.execute("SELECT message, body FROM message ORDER BY message")))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "towerlog.db"


def copied(path: Path, into: Path, between: object = None) -> apsw.Connection:
    """The copy, opened."""

    def told(done: int, of: int) -> None:
        if callable(between):
            between()

    def unreadable(page: int, error: apsw.Error) -> None:
        raise error

    handle = os.open(into, os.O_WRONLY | os.O_CREAT)
    try:
        copy_pages(path, handle, told, unreadable)
    finally:
        os.close(handle)
    db = apsw.Connection(str(into))
    assert db.pragma("integrity_check") == "ok"
    return db


@pytest.mark.parametrize("seed", [*range(4), *map(slow, range(4, 60))])
def test_a_copy_is_what_one_commit_has_left(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(pages, "STEP_PAGES", 4)
    monkeypatch.setattr(pages, "MAX_WAITING_BYTES", seed % 3 * 100_000)
    writer = Writer(path, seed)
    begin, let_go = pages._begin, pages._let_go

    def begun(db: apsw.Connection) -> None:
        begin(db)
        writer.act()

    def let(db: apsw.Connection) -> None:
        writer.act()
        let_go(db)

    monkeypatch.setattr(pages, "_begin", begun)
    monkeypatch.setattr(pages, "_let_go", let)
    before = len(writer.left)
    copy = copied(path, tmp_path / "copy.db", writer.act)
    assert state(copy) in writer.left[before - 1 :]
    assert len(writer.left) > before + 10
    copy.close()
    writer.db.close()


def test_the_log_starts_anew_while_a_copy_is_made(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that holds back where its log is long, as the store's does, goes on a few steps later."""
    monkeypatch.setattr(pages, "STEP_PAGES", 1)
    writer = Writer(path, 1)
    gauge = WalGauge()
    gauge.watch(writer.db)
    begun = held = most_held = longest = 0

    def write_more() -> None:
        nonlocal begun, held, most_held, longest
        if gauge.written_bytes > BOUND_BYTES:
            held += 1
            most_held = max(most_held, held)
            if files.checkpoint(writer.db, apsw.SQLITE_CHECKPOINT_RESTART)[0] < 0:
                return
            gauge.start_anew()
            begun += 1
        held = 0
        writer.commit()
        longest = max(longest, gauge.written_bytes) if begun else 0

    copy = copied(path, tmp_path / "copy.db", write_more)
    assert begun >= 2
    assert most_held <= 3
    assert longest < 2 * BOUND_BYTES
    assert state(copy) in writer.left[-2:], "what was committed in the last step may be left out"
    copy.close()
    writer.db.close()


def test_a_database_without_a_log_is_copied_as_it_is(path: Path, tmp_path: Path) -> None:
    writer = Writer(path, 2)
    writer.db.pragma("journal_mode", "delete")
    kept = state(writer.db)
    writer.db.close()
    copy = copied(path, tmp_path / "copy.db")
    assert state(copy) == kept
    copy.close()
