"""What could not be delivered, on disk: a folder for each process, taken over by the next when its process is gone.

    $XDG_STATE_HOME/towerlog/spool/<hash of url and key>/<client_id>/lock · 00000001.ndjson · 00000002.ndjson …

Who holds the lock of a folder is the only one to send what is in it. What others left comes first, so that a run that
goes on in another process keeps its order. Not safe for threads: its owner holds a lock around it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from towerlog.sdk.record.backlog.segments import SUFFIX, Segment

SEGMENT_BYTES = 1024 * 1024
SEGMENTS_MIN = 8
"""A small spool is cut into this many files at least, for what has to go for want of room goes by files."""
GROUP_BYTES = 1024 * 1024

_log = logging.getLogger("towerlog.sdk")

Overflow = Literal["oldest", "newest"]
Lost = Callable[[str, Sequence[bytes], bool], None]
"""(client_id, lines, were they the oldest): these were dropped for want of room."""


def state_folder() -> Path:
    """`towerlog` in the XDG state folder: what a process leaves on disk for the next."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "towerlog"


def spool_root() -> Path:
    """`spool` in the folder for state."""
    return state_folder() / "spool"


def spool_folder(root: Path, url: str, api_key: str | None) -> Path:
    """Where the processes with one server and one key have their folders. The name does not give the key away."""
    return root / hashlib.sha256(f"{url}\n{api_key or ''}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines from the front of a file."""

    segment: Segment
    lines: list[bytes]


class Folder:
    """The folder of one client, held by its lock."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.client_id = path.name
        self._lock = lock

    @classmethod
    def take(cls, path: Path) -> Folder | None:
        """Holds it, unless somebody else does. Raises OSError."""
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed it between the two calls: then this is a lock of nothing.
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
        """What is in it, oldest first. Raises OSError."""
        paths = sorted(self.path.glob(f"*{SUFFIX}"))
        return [Segment.load(path, self.client_id) for path in paths]

    def leave(self) -> None:
        """Lets go of the lock; whoever comes may take the folder over."""
        os.close(self._lock)

    def remove(self) -> None:
        """Lets go of an empty folder and removes it."""
        with contextlib.suppress(OSError):
            os.unlink(self.path / "lock")
            self.path.rmdir()
        self.leave()


class Spool:
    """The files of this process and of those whose folders it has taken over, oldest first, within `bytes_max`."""

    def __init__(self, home: Path, client_id: str, bytes_max: int, overflow: Overflow, lost: Lost) -> None:
        """Makes nothing yet: a process that can deliver leaves no trace on the disk."""
        self._home = home
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
        """How many events are in it."""
        return sum(segment.waiting for segment in self._segments)

    @property
    def size(self) -> int:
        """How many bytes its files have."""
        return sum(segment.size for segment in self._segments)

    def append(self, lines: Sequence[bytes], flying: Segment | None) -> Segment | None:
        """Writes lines down, all in one file; None if there was no room and they are lost. Raises OSError.

        `flying` is a file whose first lines are on their way: it is not dropped to make room.
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
        """The oldest lines; None when there are none. A file that cannot be read counts as lost."""
        while self._segments:
            segment = self._segments[0]
            if lines := self._read(segment, events_max, bytes_max):
                return Chunk(segment, lines)
            waiting = segment.waiting
            self._remove(segment)
            if waiting > 0:
                self._lost(segment.client_id, [b""] * waiting, True)
        return None

    def _read(self, segment: Segment, events_max: int, bytes_max: int) -> list[bytes]:
        """Lines of a file; none if it is not what it was: somebody has removed or cut it, or the disk has."""
        try:
            return segment.read(events_max, bytes_max) if segment.waiting > 0 else []
        except OSError:
            _log.exception("the spool's file %s cannot be read", segment.path)
            return []

    def settle(self, segment: Segment, lines: Sequence[bytes]) -> None:
        """The first lines of a file need not be sent again."""
        segment.settle(lines)
        if segment.waiting <= 0:
            self._remove(segment)

    def adopt(self, home: Path | None = None) -> int:
        """Takes over what processes that are gone have left; how many events. Raises OSError."""
        found = 0
        own = len([s for s in self._segments if s.client_id == self._client_id])
        for path in _folders(home or self._home):
            if path.name == self._client_id or path.name in self._adopted:
                continue
            folder = Folder.take(path)
            if folder is None:
                continue
            segments = folder.segments()
            if not segments:
                folder.remove()
                continue
            self._adopted[folder.client_id] = folder
            place = len(self._segments) - own
            self._segments[place:place] = segments
            found += sum(segment.waiting for segment in segments)
        return found

    def sync(self) -> None:
        """What was written is safe from a power cut. Raises OSError."""
        for segment in self._segments:
            segment.sync()

    def close(self, tidy: bool = True) -> None:
        """Lets go of everything; what is in it stays for the next process. `tidy` removes our folder if it is empty."""
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
        """Makes room if it may; whether there is any."""
        while self.size + size > self._bytes_max:
            oldest = next((s for s in self._segments if s is not flying), None)
            if self._overflow == "newest" or oldest is None:
                return False
            # A file may be shorter than it was: what can be read of it is what was lost.
            lines = self._read(oldest, oldest.waiting, oldest.size)
            lines += [b""] * (oldest.waiting - len(lines))
            self._remove(oldest)
            self._lost(oldest.client_id, lines, True)
        return True

    def _current(self, size: int) -> Segment:
        """The file that is written to."""
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
            path = self._home / self._client_id
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Somebody who clears up may have been quicker than we with an empty folder: then once more.
            with contextlib.suppress(FileNotFoundError):
                self._own = Folder.take(path)
        return self._own

    def _remove(self, segment: Segment) -> None:
        if segment not in self._segments:
            return
        self._segments.remove(segment)
        segment.remove()
        folder = self._adopted.get(segment.client_id)
        if folder is not None and not any(s.client_id == segment.client_id for s in self._segments):
            del self._adopted[segment.client_id]
            folder.remove()


def _size(lines: Iterable[bytes]) -> int:
    return sum(len(line) + 1 for line in lines)


def grouped(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines in groups that are written at a time."""
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


def _folders(home: Path) -> list[Path]:
    """The folders of all clients, those that began first first: their names are ids that sort by time."""
    try:
        return sorted(path for path in home.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
