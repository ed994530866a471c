"""The one writer's place: locks on the file beside the database, on the database itself, and on the log beside it.

The first says who holds the place and refuses before anything is opened; the second holds also under another path to
the same file, or when somebody has removed the first. The third is taken last, by a writer beside which others may
write. All are locks of an open file (`flock`), which SQLite's own, of a process, neither see nor disturb, and which end
with the process whatever ends it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from towerlog.errors import StoreLocked, StoreTorn
from towerlog.store import owner
from towerlog.store.sync import sync, sync_opened

EMPTY = "{path} is empty (0 bytes): a copy that broke off? Restore a backup, or remove it to begin anew."
_NEW = "new\n"
_STOP = "stop that server or command first"


class WriterLock:
    """Held until it is closed. Close it after every connection to the database: see `close`."""

    def __init__(self, path: Path, beside: IO[str], folder: int) -> None:
        """`path` of the database; the open lock file; a descriptor of the folder."""
        self.path = path
        self._beside = beside
        self._folder = folder
        self._others: list[int] = []
        self._is_new = _NEW in _said(beside)
        _write(beside, _NEW if self._is_new else "")

    def take_database(self) -> None:
        """Locks the database, which is made empty where there is none.

        Raises StoreLocked; StoreTorn for an empty file that nobody has begun to make a database of.
        """
        path = self.path
        if not path.exists():
            _write(self._beside, _NEW)
            path.touch(mode=owner.FILE_MODE)
            owner.give_to_owner(path)
        elif not path.stat().st_size and not self._is_new:
            raise StoreTorn(EMPTY.format(path=path))
        self.lock_database()

    def lock_database(self) -> None:
        """Locks the database that is there, whatever it is. Raises StoreLocked."""
        descriptor = _opened(self.path)
        # Not closed where it is locked: were it this process that has the file open as well, SQLite's locks on it would
        # be gone.
        _lock(descriptor, f"{self.path} is in use by another towerlog process, perhaps under another path: {_STOP}")
        self._others.append(descriptor)

    def note_made(self) -> None:
        """The database has its schema: from now on an empty file at its place is not one that is being made."""
        _write(self._beside, "")

    def let_others_write(self, log: Path) -> None:
        """From now on `may_write_beside` says so to other processes. `log`: the file that they write to.

        Raises StoreLocked where one of them asks at this moment.
        """
        descriptor = _opened(log)
        try:
            _lock(descriptor, f"another towerlog process looks at {log}")
        except BaseException:
            os.close(descriptor)
            raise
        self._others.append(descriptor)

    def take_blocks(self, file: Path, size_bytes: int) -> None:
        """Has the disk give this file, which SQLite has open, so many bytes. Raises OSError."""
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        self._others.append(descriptor)  # not closed before SQLite has closed it: its locks would be gone
        os.posix_fallocate(descriptor, 0, size_bytes)

    def sync_folder(self) -> None:
        """Syncs the folder of the database: the names in it are on disk.

        The descriptor is older than what was made there, so that the kernel also tells it of a sync that has failed
        since. Raises StorageFailed, which is final.
        """
        sync_opened(self._folder, self.path.parent)

    def close(self) -> None:
        """Gives the place back.

        The locks that SQLite has on a file end when the process closes any descriptor of it, so none may be in use.
        """
        for descriptor in (*self._others, self._folder):
            os.close(descriptor)
        self._others.clear()
        self._beside.close()


def take_writer_place(path: Path) -> WriterLock:
    """The place of the one that writes the database at this path, whatever lies there. Raises StoreLocked, OSError."""
    folder = _opened(path.parent)
    try:
        beside = _lock_beside(path)
        try:
            return WriterLock(path, beside, folder)
        except BaseException:
            beside.close()
            raise
    except BaseException:
        os.close(folder)
        raise


def may_write_beside(log: Path) -> bool:
    """Whether a process holds the writer's place that lets others write beside it, now."""
    try:
        descriptor = _opened(log)
    except FileNotFoundError:
        return False
    try:
        # Shared: two that ask must not take each other for the writer.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def make_folder(path: Path) -> None:
    """Makes the folder of a database and what is missing above it, for its owner alone.

    Where there is no database yet, the names on the way to it are synced. Raises OSError, StorageFailed.
    """
    folder = path.parent
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=owner.FOLDER_MODE)
    if path.exists():
        return
    for one in (folder, *missing):
        # A mount point, and a name in a folder that this user may not read, were there before.
        if one.stat().st_dev == one.parent.stat().st_dev and os.access(one.parent, os.R_OK):
            sync(one.parent)


def _lock_beside(path: Path) -> IO[str]:
    file = path.with_name(path.name + ".lock")
    handle = open(file, "a+")  # noqa: SIM115 - held for the life of the store
    try:
        owner.give_to_owner(file)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise StoreLocked(f"{path} is in use by another towerlog process: {_STOP}") from None
    except BaseException:
        handle.close()
        raise
    return handle


def _said(beside: IO[str]) -> str:
    beside.seek(0)
    return beside.read()


def _write(beside: IO[str], more: str) -> None:
    """Who holds the place, and whether the database is being made."""
    try:
        beside.truncate(0)
        # Past the buffer: to close a file whose buffer found no room fails as well, and that error names no file.
        os.write(beside.fileno(), f"{os.getpid()}\n{more}".encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, beside.name) from error


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _lock(descriptor: int, refusal: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreLocked(refusal) from None
