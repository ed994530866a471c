"""What whoever becomes the writer of a store does first, the server and a command alike.

The place, then the files, then the log: what an earlier writer left is made whole and durable before anything is built
on it, and what is begun is on disk, name and all, before anything is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from towerlog.errors import StoreLocked
from towerlog.store import owner, placing
from towerlog.store.lock import WriterLock, make_folder, take_writer_place
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.upkeep import matching_files, replacement
from towerlog.store.sqlite.upkeep.index_room import check_index_room, take_index_room

T = TypeVar("T")
TURNS = 100
TURN_PAUSE_S = 0.05
"""How often, and how long apart, to look again while another process has the writer's place for a moment."""


async def in_turn(act: Callable[[], T], is_vain: Callable[[], bool] = lambda: False) -> T:
    """What `act` returns once it raises StoreLocked no more. That is raised after `TURNS`, or where `is_vain`."""
    for _ in range(TURNS):
        try:
            return act()
        except StoreLocked:
            if is_vain():
                raise
        await asyncio.sleep(TURN_PAUSE_S)
    return act()


def take_place(path: Path) -> WriterLock:
    """The writer's place, and the folder where there is none. Raises StoreLocked, OSError, StorageFailed."""
    make_folder(path)
    return take_writer_place(path)


def prepare(lock: WriterLock) -> None:
    """The files as they were meant to be, and the database locked.

    Where it raises, the place is given back. Raises StoreTorn, StoreLocked, OSError, StorageFailed.
    """
    try:
        replacement.finish(lock.path)
        check_index_room(lock.path)
        matching_files.check_whole(lock.path)
        lock.take_database()
        owner.keep_private(lock.path)
        placing.remove_left(placing.copy_to_verify(lock.path, lock.path.parent))
    except BaseException:
        lock.close()
        raise


def begin(db: apsw.Connection, lock: WriterLock, token: str) -> str:
    """The log as it was meant to be, this version's schema, a log with a name of its own; returns the epoch.

    `token` names this opening. Raises apsw.Error, SchemaMismatch, StorageFailed.
    """
    take_index_room(db, lock)
    files.write_again(db, files.log_of(lock.path))
    files.migrate(db)
    lock.note_made()
    epoch = files.ensure_epoch(db, f"e{token}")
    matching_files.begin_log(db, f"{token}.0")
    # SQLite syncs the folder as well, and says nothing where that fails.
    lock.sync_folder()
    return epoch
