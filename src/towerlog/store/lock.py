"""The one writer's place: a lock on the file beside the database, and one on the database itself.

The first says who holds it and refuses before anything is opened; the second holds also under another path to the same
file, or when somebody has removed the first. Both are locks of an open file (`flock`), which SQLite's own, of a
process, neither see nor disturb.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from towerlog.errors import StoreLocked, StoreTorn
from towerlog.store import owner

EMPTY = "{path} is empty (0 bytes): a copy that broke off? Restore a backup, or remove it to begin anew."
_NEW = "new\n"


class WriterLock:
    """Held until it is closed. Close it after every connection to the database: see `close`."""

    def __init__(self, beside: IO[str], database: int) -> None:
        """The open lock file, and a descriptor of the database."""
        self._beside = beside
        self._database = database

    def note_made(self) -> None:
        """The database has its schema: from now on an empty file at its place is not one that is being made."""
        _write(self._beside, "")

    def close(self) -> None:
        """Gives the place back.

        The locks that SQLite has on a file end when the process closes any descriptor of it, so none may be in use.
        """
        os.close(self._database)
        self._beside.close()


def take_writer_place(path: Path, *, is_empty_well: bool = False) -> WriterLock:
    """The place of the one that writes this database, which is made empty where there is none.

    `is_empty_well`: what is there will be replaced. Raises StoreLocked; StoreTorn for an empty file that nobody has
    begun to make a database of.
    """
    beside = _lock_beside(path)
    try:
        was_new = _NEW in _said(beside)
        if not path.exists():
            _write(beside, _NEW)
            path.touch(mode=owner.FILE_MODE)
            owner.give_to_owner(path)
        elif not path.stat().st_size and not was_new and not is_empty_well:
            raise StoreTorn(EMPTY.format(path=path))
        else:
            _write(beside, _NEW if was_new else "")
        return WriterLock(beside, _lock_database(path))
    except BaseException:
        beside.close()
        raise


def is_written(path: Path) -> bool:
    """Whether a process holds the writer's place of this database now. Changes nothing."""
    try:
        handle = open(path.with_name(path.name + ".lock"))  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return False
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock_beside(path: Path) -> IO[str]:
    file = path.with_name(path.name + ".lock")
    handle = open(file, "a+")  # noqa: SIM115 - held for the life of the store
    try:
        owner.give_to_owner(file)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise StoreLocked(f"{path} is in use by another towerlog process") from None
    return handle


def _said(beside: IO[str]) -> str:
    beside.seek(0)
    return beside.read()


def _write(beside: IO[str], more: str) -> None:
    """Who holds the place, and whether the database is being made."""
    try:
        beside.truncate(0)
        beside.write(f"{os.getpid()}\n{more}")
        beside.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, beside.name) from error


def _lock_database(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Not closed: were it this process that has the file open as well, SQLite's locks on it would be gone.
        raise StoreLocked(f"{path} is in use by another towerlog process, perhaps under another path") from None
    return descriptor
