"""The loss of the process at a moment that the seed chooses: around the commit of one command.

What is left is a copy of the database's files. Which files it has is decided by the moment, not by how fast the
machine is, so that the same seed leaves the same files and the rest of its world runs the same way.
"""

from __future__ import annotations

import enum
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import apsw

from towerlog.store.sqlite.connections.connection import PAGE_BYTES
from towerlog.store.sqlite.store import SqliteStore

T = TypeVar("T")
WAL_HEADER_BYTES = 32
FRAME_BYTES = 24 + PAGE_BYTES


class Moment(enum.IntEnum):
    """When the process is lost, seen from the transaction of the command."""

    BEFORE = 0
    """Nothing of it was written."""
    AT_COMMIT = 1
    """Every statement has run; SQLite is about to commit."""
    TORN = 2
    """The commit was written to the WAL, and a part of it did not reach the disk."""
    AFTER = 3
    """All of it is on the disk."""


async def lose(
    moment: Moment, store: SqliteStore, source: Path, target: Path, send: Callable[[], Awaitable[T]], torn_percent: int
) -> T:
    """Sends a command and leaves in `target` what the disk held at that moment; the command's answer.

    `torn_percent` is how much of what the command added to the WAL is kept when it is torn.
    """
    if moment is Moment.BEFORE:
        copy_files(source, target)
    elif moment is Moment.AT_COMMIT:
        await store.writer.call(lambda db: _copy_at_commit(db, source, target))
    size = wal_size(source)
    answer = await send()
    if moment is not Moment.BEFORE:
        _copy_late(moment, source, target, size, torn_percent)
    return answer


def _copy_late(moment: Moment, source: Path, target: Path, size: int, torn_percent: int) -> None:
    """After the answer; a command that had nothing to commit never came to its commit."""
    if target.exists():
        return
    copy_files(source, target)
    if moment is Moment.TORN:
        os.truncate(target / "towerlog.db-wal", size + (wal_size(target) - size) * torn_percent // 100)


def _copy_at_commit(db: apsw.Connection, source: Path, target: Path) -> None:
    """The first commit from now on copies the files first."""

    def copy() -> bool:
        if not target.exists():
            copy_files(source, target)
        return False  # the commit goes on

    db.set_commit_hook(copy, id=str(target))


def wal_size(folder: Path) -> int:
    """Bytes that are in use of the WAL of the database in this folder: its file keeps its size when it begins anew."""
    wal = folder / "towerlog.db-wal"
    content = wal.read_bytes() if wal.exists() else b""
    salts, end = content[16:24], min(WAL_HEADER_BYTES, len(content))
    while content[end + 8 : end + 16] == salts and end + FRAME_BYTES <= len(content):
        end += FRAME_BYTES
    return end


def copy_files(source: Path, target: Path) -> None:
    """The files as they are at this moment: the database first, then its WAL."""
    target.mkdir()
    for suffix in ("", "-wal"):
        part = source / f"towerlog.db{suffix}"
        if part.exists():
            shutil.copy(part, target / part.name)
