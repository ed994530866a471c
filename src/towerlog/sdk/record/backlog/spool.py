"""Undelivered events on disk: one folder for each process, taken over by another when its process has ended.

    $XDG_STATE_HOME/towerlog/spool/<destination>/<client_id>/lock · 00000001.ndjson · 00000002.ndjson …

Only the holder of a folder's lock sends its events. Events of ended processes are sent first, so that a run that
continues in another process keeps its order. Not safe for threads: its owner holds a lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from towerlog.sdk.record.backlog.client_folder import NO_DESCRIPTORS, Folder
from towerlog.sdk.record.backlog.own_files import OwnFolder, private_folder
from towerlog.sdk.record.backlog.segments import MAX_LINE_BYTES, SUFFIX, Segment

SEGMENT_BYTES = 1024 * 1024
SEGMENTS_MIN = 8
"""A small spool is cut into this many files at least, for what has to go for want of room goes by files."""
GROUP_BYTES = 1024 * 1024
SET_ASIDE = "set-aside.ndjson"
"""The file beside the folders of a destination's clients with lines that are no events: damaged, or not ours."""
SET_ASIDE_NAMES = (SET_ASIDE, "set-aside-2.ndjson", "set-aside-3.ndjson")
"""Where something else has the first name, which is nobody's to remove but a person's, the next one is taken."""
MAX_SET_ASIDE_BYTES = 32 * 1024 * 1024
MAX_ADOPTED = 64
"""Folders of ended processes that are held at a time. Each takes two descriptors of the program that we are in."""

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_log = logging.getLogger("towerlog.sdk")

Overflow = Literal["oldest", "newest"]
Lost = Callable[[str, Sequence[bytes], bool], None]
"""(client_id, lines, were they the oldest): called with events that were dropped because there was no room."""


def state_folder() -> Path:
    """`towerlog` in the XDG state folder: files that a process leaves for the next one."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "towerlog"


def spool_root() -> Path:
    """`spool` in the folder for state."""
    return state_folder() / "spool"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines from the start of a file."""

    segment: Segment
    lines: list[bytes]


class Spool:
    """The files of this process and of those whose folders it has taken over, oldest first, within `bytes_max`."""

    def __init__(
        self,
        home: Path,
        client_id: str,
        bytes_max: int,
        overflow: Overflow,
        lost: Lost,
        made: Callable[[OwnFolder], None] = lambda home: None,
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
        self._left: set[str] = set()
        """Folders of ended processes with files that this one cannot read: what could be read of them is delivered."""
        self._has_more = False
        """There are folders of ended processes for which there was no room."""
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
        self._write(segment, lines)
        return segment

    def append_some(self, lines: Sequence[bytes], flying: Segment | None) -> int:
        """Writes as many of the first lines as the disk has room for, all in one file; of how many the caller is rid:
        where the spool is full, all are lost. Raises OSError where there is no room for the first."""
        size = _size(lines)
        if not self._make_room(size, flying):
            self._lost(self._client_id, lines, False)
            return len(lines)
        return self._write(self._current(size), lines, partly=True)

    def _write(self, segment: Segment, lines: Sequence[bytes], *, partly: bool = False) -> int:
        try:
            return segment.append(lines, partly=partly)
        except OSError:
            if segment.waiting <= 0 and not segment.size:
                # It would be one file more at each attempt, of a disk that is full.
                with contextlib.suppress(OSError):
                    self._remove(segment)
            raise

    def has_room(self, lines: Sequence[bytes]) -> bool:
        """Whether lines fit without dropping others."""
        return self.size + _size(lines) <= self._bytes_max

    def head(self, events_max: int, bytes_max: int) -> Chunk | None:
        """The oldest lines; None when there are none. The lines of a file that cannot be read count as lost.

        So does a line that is no event: it is set aside, since it would keep all behind it from being sent.
        """
        self._adopt_more()
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
        try:
            kept = self.keep(lines)
            if not segment.damaged:
                # Once for a file: all of its lines may be of another kind.
                segment.damaged = True
                why = "" if kept.name == SET_ASIDE else f", since {SET_ASIDE} beside it is no file of this user"
                _log.warning("lines of %s are no events and are not sent; see %s%s", segment.path, kept, why)
        except OSError:
            # A full disk must not keep the lines behind them from being sent.
            _log.exception("cannot set lines of the spool file %s aside", segment.path)
        if segment.waiting <= 0:
            self._remove(segment)
        # What is too long is not parsed for its place: that would take several times as much memory.
        self._lost(segment.client_id, [line if len(line) <= MAX_LINE_BYTES else b"" for line in lines], True)
        return True

    def keep(self, lines: Sequence[bytes]) -> Path:
        """Adds lines to a file for people, within its bound; which one it was. Raises OSError."""
        private_folder(self.home)
        with OwnFolder.open(self.home) as home:
            name, number = _set_aside_in(home)
        with os.fdopen(number, "ab") as file:
            room = MAX_SET_ASIDE_BYTES - file.tell()
            for line in lines:
                room -= len(line) + 1
                if room >= 0:
                    file.write(memoryview(line)[:MAX_LINE_BYTES])
                    file.write(b"\n")
        return self.home / name

    def settle(self, segment: Segment, lines: Sequence[bytes]) -> None:
        """Marks the first lines of a file as done."""
        segment.settle(lines)
        if segment.waiting <= 0:
            self._remove(segment)

    def adopt(self) -> int:
        """Takes over the folders of processes that have ended, as far as there is room; the number of events found.

        The others follow once these are delivered. Raises OSError if a folder cannot be taken over, after all others
        were.
        """
        self._has_more = False
        found = 0
        failed: OSError | None = None
        try:
            home = OwnFolder.open(self.home)
        except FileNotFoundError:
            return 0
        with home:
            for name in home.folders():
                if name == self._client_id or name in self._adopted or name in self._left:
                    continue
                if len(self._adopted) >= MAX_ADOPTED:
                    self._has_more = True
                    break
                try:
                    folder = Folder.take(home, name)
                    found += 0 if folder is None else self._take_over(folder)
                except FileNotFoundError:
                    continue  # its process has removed it meanwhile
                except OSError as error:
                    failed = error
                    if error.errno in NO_DESCRIPTORS:
                        break
        if failed is not None:
            raise failed
        return found

    def _adopt_more(self) -> None:
        """Takes over the next folders before the last of those that are held is delivered."""
        if not self._has_more or len(self._adopted) > MAX_ADOPTED // 2:
            return
        try:
            self.adopt()
        except OSError as error:
            _log.error("cannot take over what earlier processes left in %s: %s", self.home, error.strerror)

    def _take_over(self, folder: Folder) -> int:
        """Puts the files of a folder before our own; the number of events in them. Raises OSError."""
        try:
            segments = folder.segments()
        except OSError:
            folder.leave()
            raise
        if not segments:
            self._part_with(folder)
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
        segment = Segment(folder.place, f"{self._made:08d}{SUFFIX}", self._client_id)
        self._segments.append(segment)
        return segment

    def _folder(self) -> Folder:
        while self._own is None:
            private_folder(self.home)
            # Another process may have removed the empty folder in the meantime: try again.
            with contextlib.suppress(FileNotFoundError), OwnFolder.open(self.home) as home:
                home.make(self._client_id)
                self._note(home)
                self._own = Folder.take(home, self._client_id)
        return self._own

    def _remove(self, segment: Segment) -> None:
        if segment not in self._segments:
            return
        self._segments.remove(segment)
        segment.remove()
        folder = self._adopted.get(segment.client_id)
        if folder is not None and not any(s.client_id == segment.client_id for s in self._segments):
            del self._adopted[segment.client_id]
            self._part_with(folder)

    def _part_with(self, folder: Folder) -> None:
        """There is nothing in it any more that this process can deliver."""
        if folder.unreadable:
            self._left.add(folder.client_id)
            folder.leave()
        else:
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


def _set_aside_in(home: OwnFolder) -> tuple[str, int]:
    """The file for lines that are set aside: the first of its names that is a file of this user. Raises OSError."""
    for name in SET_ASIDE_NAMES[:-1]:
        try:
            return name, home.open_file(name, _APPEND)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, *NO_DESCRIPTORS):
                raise  # another name would not help
    return SET_ASIDE_NAMES[-1], home.open_file(SET_ASIDE_NAMES[-1], _APPEND)
