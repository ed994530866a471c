"""The writer's transactions, which leave room on the disk for what they have begun; how much of the log there is.

What is committed takes room twice: in the log now, and in the database once the log is moved there. A log that cannot
be moved holds its room for good, and on a full disk nothing can be deleted either. So a commit leaves free what the log
has still to move, and the guard beside it; what makes room may use the guard up but for MARGIN_BYTES. And what was
rolled back is cut off the log, where it would hold that room.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from towerlog.errors import DiskFull, StoreMoved
from towerlog.store.space import Space
from towerlog.store.sqlite.connections.connection import PAGE_BYTES, StoreConnection, log_of
from towerlog.store.sqlite.connections.failures import is_full, moved
from towerlog.store.sqlite.connections.frames import FRAME, HEADER_BYTES

GROUP_BYTES = 96 * 1024 * 1024
"""What one transaction may add to the log: with more than that beside the guard its own size does not matter."""
PLENTY_BYTES = 1024 * 1024 * 1024
"""With more than that beside the guard nobody looks before a commit: the engine's timer does so once a second."""
MARGIN_BYTES = 1024 * 1024
"""What is left to the checkpoint, to the names of logs, to the index of the log, and to a start."""


class WalGauge:
    """How much of the write-ahead log has not been moved into the database yet.

    The file does not tell: it keeps its size when the log starts anew inside it.
    """

    def __init__(self) -> None:
        """Nothing written yet."""
        self._pages = 0
        self._moved = 0
        self.unmoved_bytes = 0
        """What a checkpoint would have to move."""
        self.written_bytes = 0
        """The log since it last started anew."""

    def watch(self, connection: apsw.Connection) -> apsw.Connection:
        """Follows a writer's commits."""
        connection.set_wal_hook(self._committed)
        return connection

    def _committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:
            self._moved = 0  # the log has started anew
        self._pages = pages
        self.written_bytes = pages * PAGE_BYTES
        self.unmoved_bytes = max(pages - self._moved, 0) * PAGE_BYTES
        return apsw.SQLITE_OK

    def note_moved(self, pages: int) -> None:
        """After a checkpoint: so many pages of the log are in the database."""
        self._moved = max(pages, 0)
        self.unmoved_bytes = max(self._pages - self._moved, 0) * PAGE_BYTES

    def start_anew(self) -> None:
        """The next commit begins the log from its start."""
        self._pages = self._moved = self.unmoved_bytes = self.written_bytes = 0


@contextmanager
def transaction(db: apsw.Connection, *, makes_room: bool = False) -> Iterator[None]:
    """Commits at the end; where anything fails, also the commit, it is rolled back.

    Raises apsw.Error; DiskFull where too little room would be left.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        commit(db, makes_room=makes_room)
    except BaseException as error:
        roll_back(db, error)
        raise


def roll_back(db: apsw.Connection, error: BaseException) -> None:
    """Ends a transaction that has failed with this."""
    found_no_room = isinstance(error, DiskFull) or (isinstance(error, apsw.Error) and is_full(error, db.system_errno))
    if db.in_transaction:
        db.execute("ROLLBACK")
    if found_no_room:
        # What stands in the way of that, stands in the way of nothing else.
        with suppress(apsw.Error, OSError):
            cut_log(db)


def commit(db: apsw.Connection, *, makes_room: bool = False) -> None:
    """Ends a transaction. Raises apsw.Error, StorageFailed; it is to be rolled back then."""
    # What is committed to a file without a name is gone with this process.
    refuse_moved(db, "; nothing was stored")
    space = db.space if isinstance(db, StoreConnection) else None
    if space is None:
        db.execute("COMMIT")
        return
    before = space.database_bytes
    space.database_bytes = int(db.pragma("page_count")) * int(db.pragma("page_size"))
    try:
        if space.spare_bytes > PLENTY_BYTES:
            db.execute("COMMIT")
        else:
            _commit_beside(db, space, MARGIN_BYTES if makes_room or space.was_low else space.guard_bytes)
    except BaseException:
        space.database_bytes = before
        raise


def refuse_moved(db: apsw.Connection, consequence: str = "") -> None:
    """Raises StoreMoved where the path of a connection leads to another file by now, or to none.

    Asked of the open file, which a connection that was opened before goes on reading. It passes: the file may be put
    back.
    """
    has_moved = ctypes.c_int(0)
    db.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(has_moved))
    if has_moved.value:
        raise StoreMoved(f"{moved(Path(db.filename))}{consequence}", retry_after=1)


def _commit_beside(db: apsw.Connection, space: Space, leaves: int) -> None:
    """Where so many bytes are left beside it."""
    leaves = max(leaves, MARGIN_BYTES)
    left = space.left_bytes()
    if left < leaves + GROUP_BYTES:
        # Its pages go to the log now, which shows how much of it that is; nothing of them counts before the commit.
        db.cache_flush()
        left = space.left_bytes()
        if left < leaves:
            raise DiskFull("too little room is left on the disk; nothing was stored", retry_after=1)
    db.execute("COMMIT")
    space.note_left(left)


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
