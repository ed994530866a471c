"""Files of events, one per line: appended at the end, read and settled from the front, removed when empty.

How far a file was settled is not stored: a process that takes it over sends all of it again, and the server recognises
the event ids that it has.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from towerlog.sdk.record.backlog.own_files import OwnFolder

READ_BYTES = 256 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024
"""The longest line that is read: a checkpoint that fills a request. A longer one was not written here."""
SUFFIX = ".ndjson"


class Segment:
    """One file. `waiting` lines of it are not settled yet, from `offset` on."""

    def __init__(self, folder: OwnFolder, name: str, client_id: str, size: int = 0, waiting: int = 0) -> None:
        self._folder = folder
        self.name = name
        self.client_id = client_id
        self.size = size
        self.waiting = waiting
        self.offset = 0
        self.damaged = False
        """Whether lines of it were found that are no events."""
        self._file: int | None = None
        self._unsynced = False

    @classmethod
    def load(cls, folder: OwnFolder, name: str, client_id: str) -> Segment:
        """Opens a file of another process. An unfinished last line is cut off. Raises OSError."""
        with os.fdopen(folder.open_file(name, os.O_RDWR), "r+b") as file:
            size, waiting, seen = measured(file)
            if size < seen:
                file.truncate(size)
        return cls(folder, name, client_id, size, waiting)

    @property
    def path(self) -> Path:
        """Where it is, for messages."""
        return self._folder.path / self.name

    def append(self, lines: Sequence[bytes], *, partly: bool = False) -> int:
        """Appends all of the lines, or none: raises OSError. How many.

        `partly`: as many of the first as the disk has room for; raises OSError where it has none for the first.
        """
        if self._file is None:
            self._file = self._folder.open_file(self.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        text = memoryview(b"".join([line + b"\n" for line in lines]))
        written = 0
        try:
            while written < len(text):
                written += os.write(self._file, text[written:])
        except OSError:
            # Of a line that has no room nothing stays behind: the next process would take its beginning for an event.
            written = bytes(text[:written]).rfind(b"\n") + 1 if partly else 0
            os.ftruncate(self._file, self.size + written)
            if not written:
                raise
        count = len(lines) if written == len(text) else bytes(text[:written]).count(b"\n")
        self.size += written
        self.waiting += count
        self._unsynced = True
        return count

    def read(self, events_max: int, bytes_max: int) -> list[bytes]:
        """The first lines that are not settled; at least one, whatever its length. Raises OSError.

        Of a first line that is too long its beginning, longer than `MAX_LINE_BYTES`: nobody can use it.
        """
        lines: list[bytes] = []
        room = bytes_max
        with self._opened() as file:
            file.seek(self.offset)
            while len(lines) < min(events_max, self.waiting):
                line = file.readline(MAX_LINE_BYTES + 1)
                if not lines and len(line) > MAX_LINE_BYTES:
                    return [line]
                if not line.endswith(b"\n") or (lines and len(line) > room):
                    break
                room -= len(line)
                lines.append(line[:-1])
        return lines

    def settle(self, lines: Sequence[bytes]) -> None:
        """Marks the first lines as done."""
        self.offset += sum(len(line) + 1 for line in lines)
        self.waiting -= len(lines)

    def skip(self, lines: Sequence[bytes]) -> None:
        """Marks the first lines, as `read` gave them, as done, however long they are. Raises OSError."""
        if len(lines[0]) <= MAX_LINE_BYTES:
            self.settle(lines)
            return
        with self._opened() as file:
            file.seek(self.offset)
            while (piece := file.readline(READ_BYTES)) and not piece.endswith(b"\n"):
                pass
            self.offset = file.tell()
        self.waiting -= 1

    def sync(self) -> None:
        """Syncs the file, so that it survives a power failure. Raises OSError."""
        if self._unsynced and self._file is not None:
            os.fdatasync(self._file)
            self._unsynced = False

    def close(self) -> None:
        """Closes the file, and leaves it on disk."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def remove(self) -> None:
        """Closes and removes the file."""
        self.close()
        self._folder.remove(self.name)

    def _opened(self) -> BinaryIO:
        return os.fdopen(self._folder.open_file(self.name, os.O_RDONLY), "rb", buffering=READ_BYTES)


def measured(file: BinaryIO) -> tuple[int, int, int]:
    """Bytes up to the last line's end, lines that are whole, and all bytes. Never holds more than a piece of it."""
    size = lines = seen = 0
    while piece := file.read(READ_BYTES):
        lines += piece.count(b"\n")
        size = seen + piece.rfind(b"\n") + 1 if b"\n" in piece else size
        seen += len(piece)
    return size, lines, seen
