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

from towerlog.errors import StoreLocked
from towerlog.store import owner


class WriterLock:
    """Held until it is closed. Close it after every connection to the database: see `close`."""

    def __init__(self, beside: IO[str], database: int) -> None:
        """The open lock file, and a descriptor of the database."""
        self._beside = beside
        self._database = database

    def close(self) -> None:
        """Gives the place back.

        The locks that SQLite has on a file end when the process closes any descriptor of it, so none may be in use.
        """
        os.close(self._database)
        self._beside.close()


def take_writer_place(path: Path) -> WriterLock:
    """The place of the one that writes this database, which is made empty where there is none. Raises StoreLocked."""
    beside = _lock_beside(path)
    try:
        if not path.exists():
            path.touch(mode=owner.FILE_MODE)
            owner.give_to_owner(path)
        return WriterLock(beside, _lock_database(path))
    except BaseException:
        beside.close()
        raise


def _lock_beside(path: Path) -> IO[str]:
    file = path.with_name(path.name + ".lock")
    handle = open(file, "a+")  # noqa: SIM115 - held for the life of the store
    try:
        owner.give_to_owner(file)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise StoreLocked(f"{path} is in use by another towerlog process") from None
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle


def _lock_database(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Not closed: were it this process that has the file open as well, SQLite's locks on it would be gone.
        raise StoreLocked(f"{path} is in use by another towerlog process, perhaps under another path") from None
    return descriptor
