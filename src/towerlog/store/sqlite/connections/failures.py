"""What an error of SQLite means: in words, whether it passes, and whether it is final.

SQLite reports most of them as "disk I/O error". The cause is the errno of the call that failed, and which call it was:
a full disk passes, a sync that failed does not, whatever its errno.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from towerlog.errors import DiskFull, StorageFailed
from towerlog.model.event import READ_FAILED
from towerlog.store.space import FOLDER_MOVED, FULL_ERRNOS, no_room
from towerlog.store.sqlite.connections.read_errors import take_errno

_MOVED = "the database was moved or removed while it was in use"
WAY_OUT = "restore a backup with `towerlog restore`, or keep what can be read with `towerlog rebuild`"
"""What to do about a damaged database."""
_CODE_OF_PAGE = re.compile(r"unable to get the page\. error code=(\d+)")
_PRIMARY = 0xFF
"""What kind of error an extended code is of."""
_SYNCS = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})
_WRITES = _SYNCS | {apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_TRUNCATE}
_CALLS = {
    apsw.SQLITE_IOERR_FSYNC: "a sync to disk failed",
    apsw.SQLITE_IOERR_DIR_FSYNC: "a sync of the data folder failed",
    apsw.SQLITE_IOERR_WRITE: "a write to disk failed",
    apsw.SQLITE_IOERR_TRUNCATE: "a file could not be cut to its size",
    apsw.SQLITE_IOERR_READ: READ_FAILED,
    apsw.SQLITE_IOERR_CORRUPTFS: READ_FAILED,
    apsw.SQLITE_IOERR_SHORT_READ: "a file is shorter than it should be",
    apsw.SQLITE_IOERR_SHMSIZE: "the index of the write-ahead log could not grow",
    apsw.SQLITE_IOERR_SHMMAP: "the index of the write-ahead log could not be mapped",
}


def moved(path: Path) -> str:
    """What has been moved away from this path of a database: the file, or the folder that holds it."""
    return _MOVED if path.parent.exists() else FOLDER_MOVED


def storage_failed(error: apsw.Error, db: apsw.Connection | None) -> StorageFailed:
    """The error as ours. `db`: the connection that it came from, which knows the errno of the call that failed."""
    cause = 0 if db is None else db.system_errno
    extended = _extended(error)
    # In any case: what is kept now must not be taken for the cause of a later error.
    unread = 0 if db is None else take_errno(db)
    if is_full(error, cause):
        full = DiskFull(f"{no_room(cause)}{'' if _only_reads(db) else '; nothing was stored'}", retry_after=1)
        full.is_unread = True
        return full
    is_unread = bool(unread) and isinstance(error, apsw.CorruptError)
    failed = StorageFailed(_unread(unread) if is_unread else _words(error, extended, cause), retry_after=1)
    failed.fatal = isinstance(error, apsw.IOError | apsw.CorruptError | apsw.NotADBError)
    failed.is_unread = is_unread or isinstance(error, apsw.IOError)
    # Of a page alone. SQLite refuses what needs it, and nothing of a transaction is there before its commit.
    failed.is_lack = isinstance(error, apsw.CantOpenError | apsw.NoMemError)
    failed.is_damage = isinstance(error, apsw.CorruptError) and not is_unread
    return failed


def _only_reads(db: apsw.Connection | None) -> bool:
    """Whether nothing was to be stored, as far as is known."""
    return db is None or db.readonly("main")


def unread_in(found: Iterable[str], db: apsw.Connection) -> StorageFailed | None:
    """A read that the disk has failed while SQLite checked the database, which names the page alone; None for none.

    `found`: what it says. To be called in the connection's thread, after the check.
    """
    cause = take_errno(db)
    codes = (int(code) for said in found for code in _CODE_OF_PAGE.findall(said))
    if not cause and not any(code & _PRIMARY == apsw.SQLITE_IOERR for code in codes):
        return None
    failed = StorageFailed(_unread(cause) if cause else READ_FAILED, retry_after=1)
    failed.fatal = failed.is_unread = True
    return failed


def _unread(cause: int) -> str:
    return f"{READ_FAILED}: {os.strerror(cause)}; if the disk reads well again and this stays, {WAY_OUT}"


def text_damaged(error: UnicodeDecodeError) -> StorageFailed:
    """Text that is none: SQLite hands out what stands there, whatever a disk has made of it."""
    failed = StorageFailed(f"the database is damaged (a text in it cannot be read: {error.reason}); {WAY_OUT}")
    failed.fatal = failed.is_damage = True
    return failed


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Failures of the storage say of which file they are, for people who have only the message."""
    try:
        yield
    except StorageFailed as error:
        if str(path) not in error.message:
            error.message = f"{path}: {error.message}"
            error.args = (error.message,)
        raise


def is_full(error: apsw.Error, cause: int) -> bool:
    """Whether there was no room. A sync that says so has lost what it was to write, and is no such case."""
    if _extended(error) in _SYNCS:
        return False
    return isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and cause in FULL_ERRNOS)


def is_final(error: apsw.Error, cause: int) -> bool:
    """Whether the disk has failed a write or a sync: what is on it is known only after a restart."""
    return _extended(error) in _WRITES and not is_full(error, cause)


def _extended(error: apsw.Error) -> int:
    return int(getattr(error, "extendedresult", 0) or 0)


def _words(error: apsw.Error, extended: int, cause: int) -> str:
    if isinstance(error, apsw.ReadOnlyError):
        return "the database cannot be written: the file system or the file is read-only"
    if isinstance(error, apsw.BusyError):
        return "another program holds the lock for writing of the database"
    if isinstance(error, apsw.CorruptError):
        return f"the database is damaged ({error}); {WAY_OUT}"
    if isinstance(error, apsw.NotADBError):
        return f"this is no SQLite database, or its beginning is damaged; {WAY_OUT}"
    said = _CALLS.get(extended, f"{type(error).__name__}: {error}")
    if isinstance(error, apsw.CantOpenError):
        said = "a file of the database cannot be opened"
    has_cause = isinstance(error, apsw.IOError | apsw.CantOpenError) and cause
    return f"{said}: {os.strerror(cause)}" if has_cause else said
