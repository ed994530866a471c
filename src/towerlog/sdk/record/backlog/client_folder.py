"""The folder of one client in a spool: held by a lock, by this process or by another one that lives."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os

from towerlog.sdk.record.backlog.own_files import OwnFolder
from towerlog.sdk.record.backlog.segments import SUFFIX, Segment

NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors that say nothing of the file: no other could be opened either."""
_log = logging.getLogger("towerlog.sdk")


class Folder:
    """The folder of one client, held by its lock."""

    def __init__(self, place: OwnFolder, lock: int) -> None:
        self.place = place
        self.client_id = place.path.name
        self.unreadable = False
        """Whether it has files that could not be read, or are not ours: they stay where they are."""
        self._lock = lock

    @classmethod
    def take(cls, home: OwnFolder, name: str) -> Folder | None:
        """Locks a folder; None if another process holds it. Raises OSError, also if it or its lock is a stranger's."""
        place = home.below(name)
        try:
            lock = place.open_file("lock", os.O_RDWR | os.O_CREAT)
        except OSError:
            place.close()
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder may have removed the file between the two calls: then this lock means nothing.
            if os.stat("lock", dir_fd=place.number, follow_symlinks=False).st_ino == os.fstat(lock).st_ino:
                return cls(place, lock)
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(lock)
            place.close()
            raise
        os.close(lock)
        place.close()
        return None

    def segments(self) -> list[Segment]:
        """Its files, oldest first. One that cannot be read is logged and left out. Raises OSError where no file can."""
        found = []
        for name in self.place.files(SUFFIX):
            try:
                found.append(Segment.load(self.place, name, self.client_id))
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    raise
                _log.error("cannot read the spool file %s: %s", self.place.path / name, error.strerror)
                self.unreadable = True
        return found

    def leave(self) -> None:
        """Releases the lock; another process may take the folder over."""
        os.close(self._lock)
        self.place.close()

    def remove(self) -> None:
        """Removes an empty folder and releases its lock."""
        with contextlib.suppress(OSError):
            self.place.remove("lock")
            self.place.path.rmdir()
        self.leave()
