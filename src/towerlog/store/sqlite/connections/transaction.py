"""One transaction of the writer, which leaves room on the disk for what it has begun.

What is committed takes room twice: in the log now, and in the database once the log is moved there. A log that cannot
be moved holds its room for good, and on a full disk nothing can be deleted either. So a commit leaves free what the log
has still to move, and the guard beside it; what makes room may use the guard up but for MARGIN_BYTES. And what was
rolled back is cut off the log, where it would hold that room.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from towerlog.errors import DiskFull
from towerlog.store.space import Space
from towerlog.store.sqlite.connections.connection import StoreConnection, log_of
from towerlog.store.sqlite.connections.failures import is_full
from towerlog.store.sqlite.connections.frames import FRAME, HEADER_BYTES

GROUP_BYTES = 96 * 1024 * 1024
"""What one transaction may add to the log: with more than that beside the guard no exact look is needed."""
MARGIN_BYTES = 1024 * 1024
"""What is left to the checkpoint, to the names of logs, to the index of the log, and to a start."""


@contextmanager
def transaction(db: apsw.Connection, *, makes_room: bool = False) -> Iterator[None]:
    """Commits at the end; where anything fails, also the commit, it is rolled back.

    Raises apsw.Error; DiskFull where too little room would be left.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        _commit(db, _space_of(db), makes_room)
    except BaseException as error:
        found_no_room = isinstance(error, DiskFull) or (
            isinstance(error, apsw.Error) and is_full(error, db.system_errno)
        )
        if db.in_transaction:
            db.execute("ROLLBACK")
        if found_no_room:
            # What stands in the way of that, stands in the way of nothing else.
            with suppress(apsw.Error, OSError):
                cut_log(db)
        raise


def _space_of(db: apsw.Connection) -> Space | None:
    return db.space if isinstance(db, StoreConnection) else None


def _commit(db: apsw.Connection, space: Space | None, makes_room: bool) -> None:
    if space is None:
        db.execute("COMMIT")
        return
    before = space.database_bytes
    space.database_bytes = _database_bytes(db)
    try:
        left = space.left_bytes()
        leaves = MARGIN_BYTES if makes_room or space.was_low else max(space.guard_bytes, MARGIN_BYTES)
        if left < leaves + GROUP_BYTES:
            # Its pages go to the log now, which shows how much of it that is; nothing of them counts before the commit.
            db.cache_flush()
            left = space.left_bytes()
            if left < leaves:
                raise DiskFull("too little room is left on the disk; nothing was stored", retry_after=1)
        db.execute("COMMIT")
    except BaseException:
        space.database_bytes = before
        raise
    space.note_left(left)


def _database_bytes(db: apsw.Connection) -> int:
    return int(db.pragma("page_count")) * int(db.pragma("page_size"))


def cut_log(db: apsw.Connection) -> None:
    """Cuts off the log what stands behind its last commit. Raises apsw.Error, OSError; without changes then.

    Nobody reads that: who reads the log does so up to a commit.
    """
    before = db.pragma("data_version")
    frames, _ = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    # From here on nobody commits; somebody may have before, and then the figure is none of now.
    db.execute("BEGIN IMMEDIATE")
    try:
        end = HEADER_BYTES + frames * (FRAME.size + int(db.pragma("page_size")))
        with log_of(Path(db.filename)).open("r+b", buffering=0) as log:
            if db.pragma("data_version") == before and os.fstat(log.fileno()).st_size > end:
                os.ftruncate(log.fileno(), end)
    finally:
        db.execute("ROLLBACK")
