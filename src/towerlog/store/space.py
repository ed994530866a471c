"""How much room is left on the disk of a store, and whether that is too little for more writes.

Writes stop while there still is some: a full disk fails whatever comes next, also the checkpoint and the delete that
would make room. What the write-ahead log has still to move into the database counts as taken: it is, twice.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from towerlog.errors import DiskFull, StorageFailed

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room on the disk, in the quota, or below the limit of a file's size: they pass when there is room again."""
GUARD_MIB = 256
GUARD_SHARE = 20
"""What is left free unless a setting says otherwise: so many MiB or one part in so many, whichever is more."""
LEAST_GUARD_MIB = 16
"""A setting of less counts as this: a step of an erasure, which makes room, takes it in the log first."""
AUTOMATIC = -1
FOLDER_MOVED = "the data folder was moved or removed while it was in use"
UNTOLD_BYTES = 1 << 62
LOOK_EACH_MS = 100
MIB = 1024 * 1024


class Space:
    """Asks the file system at most once in `LOOK_EACH_MS`."""

    def __init__(
        self,
        folder: Path,
        steady_ms: Callable[[], int],
        guard_mib: int | None = None,
        database: Path | None = None,
    ) -> None:
        """`guard_mib`: what writes leave free, in MiB, or `AUTOMATIC`; None for no guard. `database`: into which a log
        is moved."""
        self._folder = folder
        self._steady_ms = steady_ms
        self._guard_mib = guard_mib
        self._database = database
        self.database_bytes = 0
        """What the database will take once all of the log is in it; whoever commits says so here."""
        self._looked_at: int | None = None
        self._free_bytes = 0
        self._guard_bytes = 0
        self.was_low = False
        """What the last look, or the last commit, has found."""
        self.is_gone = False
        """The folder itself was not found."""
        self.spare_bytes = 0
        """The same: what writes may take; below 0 where it is low."""

    def left_bytes(self) -> int:
        """What is free now, beside what the log has still to move; also for another thread than the loop's."""
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return 0 if self._is_guarded else UNTOLD_BYTES
        return found.f_bavail * found.f_frsize - self._owed_bytes()

    def note_left(self, left_bytes: int) -> None:
        """What a commit has found."""
        self.spare_bytes = left_bytes - self._guard_bytes
        self.was_low = self._is_guarded and self.spare_bytes < 0

    def forget(self) -> None:
        """The next question is answered by a look."""
        self._looked_at = None

    def is_low(self) -> bool:
        """True while writes are refused."""
        self._look()
        return self.was_low

    def obstacle(self) -> str:
        """The same in one word."""
        return "writes_refused" if self.is_gone else "disk_full"

    def refusal(self, retry_after: int) -> StorageFailed:
        """What writes are refused with while it is low: nobody knows how much is free of a folder that is not there."""
        if self.is_gone:
            return StorageFailed(FOLDER_MOVED, retry_after=retry_after)
        return DiskFull(retry_after=retry_after)

    @property
    def free_bytes(self) -> int:
        """What the server's user may still write; 0 where the file system does not tell."""
        self._look()
        return self._free_bytes

    @property
    def guard_bytes(self) -> int:
        """What writes leave free."""
        self._look()
        return self._guard_bytes

    def _look(self) -> None:
        now_ms = self._steady_ms()
        if self._looked_at is not None and now_ms - self._looked_at < LOOK_EACH_MS:
            return
        self._looked_at = now_ms
        try:
            found = os.statvfs(self._folder)
        except OSError:
            self._free_bytes, self.is_gone = 0, True
            self.was_low = self._is_guarded
            return
        self.is_gone = False
        self._free_bytes = found.f_bavail * found.f_frsize
        self._guard_bytes = guard_bytes(self._guard_mib, found.f_blocks * found.f_frsize)
        self.note_left(self._free_bytes - self._owed_bytes())

    @property
    def _is_guarded(self) -> bool:
        return self._guard_mib is not None

    def _owed_bytes(self) -> int:
        """By how much the database has still to grow: exact, since a page that it has is written in its place."""
        if self._database is None or not self.database_bytes:
            return 0
        try:
            return max(self.database_bytes - self._database.stat().st_size, 0)
        except OSError:
            return 0


def no_room(cause: int) -> str:
    """In words, by the errno; what is no errno of these is a full disk."""
    if cause == errno.EDQUOT:
        return "the quota of the disk is used up"
    if cause == errno.EFBIG:
        return "the largest size that a file may have is reached"
    return "the disk is full"


def guard_bytes(guard_mib: int | None, disk_bytes: int) -> int:
    """What writes leave free of a disk of this size."""
    if guard_mib is None:
        return 0
    if guard_mib == AUTOMATIC:
        return max(GUARD_MIB * MIB, disk_bytes // GUARD_SHARE)
    return max(guard_mib, LEAST_GUARD_MIB) * MIB


def check_room(folder: Path, files: Iterable[Path], guard_mib: int) -> None:
    """Raises DiskFull, in words, where copies of these files in this folder would take what writes leave free.

    Elsewhere than on the disk of the files nobody writes, and a copy may take all that there is. Raises OSError.
    """
    there = [file.stat() for file in files if file.exists()]
    found, disk = os.statvfs(folder), folder.stat().st_dev
    is_guarded = any(file.st_dev == disk for file in there)
    guard = guard_bytes(guard_mib, found.f_blocks * found.f_frsize) if is_guarded else 0
    free = found.f_bavail * found.f_frsize - guard
    needed = sum(file.st_size for file in there)
    if needed > free:
        raise DiskFull(f"there is no room for a copy in {folder}: it needs {needed} bytes, {max(free, 0)} are to spare")
