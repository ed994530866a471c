"""Room on the disk for the index of the write-ahead log (`-shm`), before anything is written to it.

SQLite makes the file longer by one byte in each of its pages of 4 KiB, and maps it. Where the blocks of the file system
are smaller, as those of ext4 on a small disk, the rest of such a page takes its blocks when it is first touched. Where
there are none the process is killed for that (SIGBUS), and says nothing.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw

from towerlog.errors import DiskFull
from towerlog.store.lock import WriterLock
from towerlog.store.space import no_room
from towerlog.store.sqlite.connections.connection import PAGE_BYTES, is_at_rest, log_of

_PAGE_BYTES = 4096
"""Of memory, as SQLite takes it."""
_PART_BYTES = 32 * 1024
"""By which the index grows."""
_PART_FRAMES = 4062
"""Of its first part; the others have a few more."""
_FRAME_BYTES = PAGE_BYTES + 24
_READ_WITH_LOG_AT, _WITH_LOG = (1, 19), b"\2"
"""(bytes, where they are) of the header of a database that say how it is read, and what they are with a log."""


def index_of(database: Path) -> Path:
    """The index of its log."""
    return database.with_name(database.name + "-shm")


def check_index_room(database: Path) -> None:
    """Raises DiskFull, in words, where whoever opens the database would find no room for the index of its log."""
    disk = os.statvfs(database.parent)
    if disk.f_frsize >= _PAGE_BYTES:
        return
    # SQLite begins with an empty one where nobody has it open.
    spare = disk.f_bavail * disk.f_frsize + _taken_bytes(index_of(database))
    needed = _needed_bytes(database) + _PART_BYTES
    if spare < needed:
        raise DiskFull(f"{database}: {_words(errno.ENOSPC)}; it needs {needed} bytes, {spare} are free", retry_after=1)


def check_reader_room(database: Path) -> None:
    """Raises DiskFull, in words, where who reads this database would find no room for the index of its log.

    A server that has it open has taken that room. Raises OSError; what is no database is left to whoever opens it.
    """
    disk = os.statvfs(database.parent)
    if disk.f_frsize >= _PAGE_BYTES or disk.f_flag & os.ST_RDONLY or is_at_rest(database):
        return
    spare, needed = disk.f_bavail * disk.f_frsize + _taken_bytes(index_of(database)), _needed_bytes(database)
    if spare < needed and _has_log(database):
        words = f"{no_room(errno.ENOSPC)}: no room for the index of the write-ahead log, which who reads needs as well"
        raise DiskFull(f"{database}: {words}; it needs {needed} bytes, {spare} are free", retry_after=1)


def _has_log(database: Path) -> bool:
    """Whether SQLite reads it with a log: a backup has none. By SQLite's own layer, which gives up no lock."""
    try:
        file = apsw.VFSFile("", str(database), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0])
    except apsw.Error:
        return False
    try:
        return file.xRead(*_READ_WITH_LOG_AT) == _WITH_LOG
    except apsw.Error:
        return False
    finally:
        file.xClose()


def take_index_room(db: apsw.Connection, lock: WriterLock) -> None:
    """Gives the index all its blocks, and those that the next part of the log needs. Raises DiskFull, OSError."""
    if os.statvfs(lock.path.parent).f_frsize >= _PAGE_BYTES:
        return
    # SQLite makes the index with the first read.
    db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    try:
        lock.take_blocks(index_of(lock.path), _needed_bytes(lock.path))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(f"{lock.path}: {_words(error.errno)}", retry_after=1) from error


def _words(cause: int) -> str:
    return f"{no_room(cause)}: no room for the index of the write-ahead log; nothing was stored"


def _needed_bytes(database: Path) -> int:
    try:
        log_bytes = log_of(database).stat().st_size
    except FileNotFoundError:
        log_bytes = 0
    return _PART_BYTES * (1 + log_bytes // _FRAME_BYTES // _PART_FRAMES)


def _taken_bytes(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
