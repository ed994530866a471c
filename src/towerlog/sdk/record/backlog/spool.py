"""Undelivered events on disk: one folder for each process, taken over by another when its process has ended.

    $XDG_STATE_HOME/towerlog/spool/<destination>/<client_id>/lock · 00000001.ndjson · 00000002.ndjson …

Only the holder of a folder's lock sends its events. Events of ended processes are sent first, so that a run that
continues in another process keeps its order. Not safe for threads: its owner holds a lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from towerlog.sdk.record.backlog.segments import MAX_LINE_BYTES, SUFFIX, Segment

SEGMENT_BYTES = 1024 * 1024
SEGMENTS_MIN = 8
"""A small spool is cut into this many files at least, for what has to go for want of room goes by files."""
GROUP_BYTES = 1024 * 1024
SET_ASIDE = "set-aside.ndjson"
"""The file beside the folders of a destination's clients with lines that are no events: damaged, or not ours."""
MAX_SET_ASIDE_BYTES = 32 * 1024 * 1024

_log = logging.getLogger("towerlog.sdk")

Overflow = Literal["oldest", "newest"]
Lost = Callable[[str, Sequence[bytes], bool], None]
"""(client_id, lines, were they the oldest): called with events that were dropped because there was no room."""


def state_folder() -> Path:
    """`towerlog` in the XDG state folder: files that a process leaves for the next one."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "towerlog"


def private_folder(path: Path) -> None:
    """Makes a folder, and above it what is not there yet, each for its owner alone. Raises OSError."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def own_folder(path: Path) -> None:
    """Takes a folder that is there from everybody but its owner, who must be this user.

    Raises OSError: a stranger's would be read by the stranger, and its events are the stranger's.
    """
    found = path.lstat()
    if not (stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "a spool must be a folder of the user that writes it", str(path))
    if stat.S_IMODE(found.st_mode) & 0o077:
        _log.warning("other users could read the spool %s; from now on its owner alone may", path)
        path.chmod(0o700)


def spool_root() -> Path:
    """`spool` in the folder for state."""
    return state_folder() / "spool"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines from the start of a file."""

    segment: Segment
    lines: list[bytes]


class Folder:
    """The folder of one client, held by its lock."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.client_id = path.name
        self.unreadable = False
        """Whether it has files that could not be read: they stay where they are."""
        self._lock = lock

    @classmethod
    def take(cls, path: Path) -> Folder | None:
        """Locks the folder; None if another process holds it. Raises OSError."""
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder may have removed the file between the two calls: then this lock means nothing.
            if os.stat(path / "lock").st_ino == os.fstat(lock).st_ino:
                return cls(path, lock)
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(lock)
            raise
        os.close(lock)
        return None

    def segments(self) -> list[Segment]:
        """Its files, oldest first. One that cannot be read is logged and left out."""
        found = []
        for path in segment_paths(self.path):
            try:
                found.append(Segment.load(path, self.client_id))
            except OSError:
                _log.exception("cannot read the spool file %s", path)
                self.unreadable = True
        return found

    def leave(self) -> None:
        """Releases the lock; another process may take the folder over."""
        os.close(self._lock)

    def remove(self) -> None:
        """Removes an empty folder and releases its lock."""
        with contextlib.suppress(OSError):
            os.unlink(self.path / "lock")
            self.path.rmdir()
        self.leave()


class Spool:
    """The files of this process and of those whose folders it has taken over, oldest first, within `bytes_max`."""

    def __init__(
        self,
        home: Path,
        client_id: str,
        bytes_max: int,
        overflow: Overflow,
        lost: Lost,
        made: Callable[[Path], None] = lambda home: None,
    ) -> None:
        """Creates nothing yet: a process that can deliver its events writes nothing to disk.

        `made` is called with `home` when there is something to keep in it; it may raise OSError.
        """
        self._note = made
        self.home = home
        self._client_id = client_id
        self._bytes_max = bytes_max
        self._segment_bytes = max(1, min(SEGMENT_BYTES, bytes_max // SEGMENTS_MIN))
        self._overflow = overflow
        self._lost = lost
        self._own: Folder | None = None
        self._adopted: dict[str, Folder] = {}
        self._segments: list[Segment] = []
        self._made = 0

    @property
    def waiting(self) -> int:
        """Number of events."""
        return sum(segment.waiting for segment in self._segments)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(segment.size for segment in self._segments)

    def append(self, lines: Sequence[bytes], flying: Segment | None) -> Segment | None:
        """Writes lines, all in one file; None if there was no room and they are lost. Raises OSError.

        `flying` is a file whose first lines are being sent: it is not dropped to make room.
        """
        size = _size(lines)
        if not self._make_room(size, flying):
            self._lost(self._client_id, lines, False)
            return None
        segment = self._current(size)
        segment.append(lines)
        return segment

    def has_room(self, lines: Sequence[bytes]) -> bool:
        """Whether lines fit without dropping others."""
        return self.size + _size(lines) <= self._bytes_max

    def head(self, events_max: int, bytes_max: int) -> Chunk | None:
        """The oldest lines; None when there are none. The lines of a file that cannot be read count as lost.

        So does a line that is no event: it is set aside, since it would keep all behind it from being sent.
        """
        while self._segments:
            segment = self._segments[0]
            lines = self._read(segment, events_max, bytes_max)
            if events := list(takewhile(is_event, lines)):
                return Chunk(segment, events)
            if lines and self._set_aside(segment, list(takewhile(lambda line: not is_event(line), lines))):
                continue
            waiting = segment.waiting
            self._remove(segment)
            if waiting > 0:
                self._lost(segment.client_id, [b""] * waiting, True)
        return None

    def _read(self, segment: Segment, events_max: int, bytes_max: int) -> list[bytes]:
        """Lines of a file; none if it was removed, truncated or damaged."""
        try:
            return segment.read(events_max, bytes_max) if segment.waiting > 0 else []
        except OSError:
            _log.exception("cannot read the spool file %s", segment.path)
            return []

    def _set_aside(self, segment: Segment, lines: Sequence[bytes]) -> bool:
        """Goes on behind the first lines of a file and keeps them for people; False if the file cannot be read."""
        try:
            segment.skip(lines)
        except OSError:
            _log.exception("cannot read the spool file %s", segment.path)
            return False
        if not segment.damaged:
            # Once for a file: all of its lines may be of another kind.
            segment.damaged = True
            _log.warning("lines of %s are no events and are not sent; see %s", segment.path, self.home / SET_ASIDE)
        try:
            self._keep(lines)
        except OSError:
            # A full disk must not keep the lines behind them from being sent.
            _log.exception("cannot set lines of the spool file %s aside", segment.path)
        if segment.waiting <= 0:
            self._remove(segment)
        self._lost(segment.client_id, lines, True)
        return True

    def _keep(self, lines: Sequence[bytes]) -> None:
        """Adds lines to the file for people, within its bound. Raises OSError."""
        private_folder(self.home)
        own_folder(self.home)
        # Not to wait for the reader of a pipe, nor to write where a link points.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(self.home / SET_ASIDE, flags, 0o600), "ab") as file:
            room = MAX_SET_ASIDE_BYTES - file.tell()
            for line in lines:
                room -= len(line) + 1
                if room >= 0:
                    file.write(line[:MAX_LINE_BYTES] + b"\n")

    def settle(self, segment: Segment, lines: Sequence[bytes]) -> None:
        """Marks the first lines of a file as done."""
        segment.settle(lines)
        if segment.waiting <= 0:
            self._remove(segment)

    def adopt(self) -> int:
        """Takes over the folders of processes that have ended; the number of events found.

        Raises OSError if a folder cannot be taken over, after all others were.
        """
        found = 0
        failed: OSError | None = None
        paths = _folders(self.home)
        if paths:
            own_folder(self.home)
        for path in paths:
            if path.name == self._client_id or path.name in self._adopted:
                continue
            try:
                folder = Folder.take(path)
            except OSError as error:
                failed = error
                continue
            if folder is not None:
                found += self._take_over(folder)
        if failed is not None:
            raise failed
        return found

    def _take_over(self, folder: Folder) -> int:
        """Puts the files of a folder before our own; the number of events in them."""
        segments = folder.segments()
        if not segments and not folder.unreadable:
            folder.remove()
            return 0
        self._adopted[folder.client_id] = folder
        place = len([one for one in self._segments if one.client_id != self._client_id])
        self._segments[place:place] = segments
        return sum(segment.waiting for segment in segments)

    def sync(self) -> None:
        """Syncs the files, so that they survive a power failure. Raises OSError."""
        for segment in self._segments:
            segment.sync()

    def close(self, tidy: bool = True) -> None:
        """Releases everything; files stay for the next process. `tidy` removes our folder if it is empty."""
        for segment in list(self._segments):
            segment.close()
        for folder in self._adopted.values():
            folder.leave()
        if self._own is not None:
            holds = any(s.client_id == self._client_id for s in self._segments)
            if holds or not tidy:
                self._own.leave()
            else:
                self._own.remove()
        self._segments, self._adopted, self._own = [], {}, None

    def _make_room(self, size: int, flying: Segment | None) -> bool:
        """Drops the oldest files if it may; whether there is room."""
        while self.size + size > self._bytes_max:
            oldest = next((s for s in self._segments if s is not flying), None)
            if self._overflow == "newest" or oldest is None:
                return False
            # A file may have been truncated: the lines that can be read are the ones whose numbers are known.
            lines = self._read(oldest, oldest.waiting, min(oldest.size, 2 * MAX_LINE_BYTES))
            lines += [b""] * (oldest.waiting - len(lines))
            self._remove(oldest)
            self._lost(oldest.client_id, lines, True)
        return True

    def _current(self, size: int) -> Segment:
        """The file to append to."""
        last = self._segments[-1] if self._segments else None
        if last is not None and last.client_id == self._client_id and last.size + size <= self._segment_bytes:
            return last
        folder = self._folder()
        if last is not None and last.client_id == self._client_id:
            last.sync()
            last.close()
        self._made += 1
        segment = Segment(folder.path / f"{self._made:08d}{SUFFIX}", self._client_id)
        self._segments.append(segment)
        return segment

    def _folder(self) -> Folder:
        while self._own is None:
            path = self.home / self._client_id
            private_folder(self.home)
            own_folder(self.home)
            private_folder(path)
            self._note(self.home)
            # Another process may have removed the empty folder in the meantime: try again.
            with contextlib.suppress(FileNotFoundError):
                self._own = Folder.take(path)
        return self._own

    def _remove(self, segment: Segment) -> None:
        if segment not in self._segments:
            return
        self._segments.remove(segment)
        segment.remove()
        folder = self._adopted.get(segment.client_id)
        if folder is None or folder.unreadable:
            return
        if not any(s.client_id == segment.client_id for s in self._segments):
            del self._adopted[segment.client_id]
            folder.remove()


def is_event(line: bytes) -> bool:
    """Whether a line can be sent as an event: a JSON object of one line. What else stands in it the server judges."""
    if len(line) > MAX_LINE_BYTES:
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _size(lines: Iterable[bytes]) -> int:
    return sum(len(line) + 1 for line in lines)


def grouped(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines in groups that are written in one call."""
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(line)
        size += len(line) + 1
    if group:
        yield group


def segment_paths(folder: Path) -> list[Path]:
    """The files of a client's folder, oldest first: no links, which lead elsewhere, and no pipes."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file() and not path.is_symlink())


def _folders(home: Path) -> list[Path]:
    """The folders of all clients, oldest first: their names are ids that sort by time."""
    try:
        return sorted(path for path in home.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return []
