"""Copies a database page by page while another process writes it, and keeps no snapshot longer than one step.

SQLite's own copy needs one snapshot from its beginning to its end beside another process, and while there is one the
write-ahead log cannot start anew. Here what is committed meanwhile is read from that log and put over what was copied.
The copy is whole when all pages were copied and the log was read to its end.

No page of the log can be missed. The database file changes only where a checkpoint moves pages of the log into it. A
reader's snapshot keeps what is newer than it from being moved, and what was not moved from being written over. A newer
snapshot is taken before the older one is let go, and in between all is read that the log has by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import apsw

from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.frames import FRAME, HEADER_BYTES, SALTS

STEP_PAGES = 16
"""Pages of a step, after which a newer snapshot is taken: 256 KiB, a tenth of a second on a very slow disk."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Pages from the log that wait in memory to be written: newer snapshots need not wait for a slow disk, and a page that
is changed again and again is written once. Past this the snapshot is kept until there is room, and the log with it."""
MAX_LOOKS = 1000
"""How often the log is looked at anew because it has begun anew at that moment."""

Progress = Callable[[int, int], None]
"""Told how many pages are copied, of how many that there were at first."""
Unreadable = Callable[[int, apsw.Error], None]
"""Told of a page that cannot be read, which is left empty. May raise."""


def copy_pages(
    source: Path, into: int, progress: Progress, unreadable: Unreadable, *, may_be_older: bool = False
) -> None:
    """Writes the database at `source`, as one commit has left it, to the file that is open as `into`.

    That commit came after the call. `may_be_older`: an older version may have made it. Raises OSError, apsw.Error,
    SchemaMismatch, StorageFailed.
    """
    with ExitStack() as opened:
        older, newer, look = (
            opened.enter_context(closing(files.open_connection(source, read_only=True))) for _ in range(3)
        )
        files.check_schema(look, may_be_older=may_be_older)
        _begin(older)
        # By SQLite's own layer: to close a descriptor of the database would give up all its locks of this process.
        flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0]
        database = apsw.VFSFile(look.open_vfs, str(source), flags)
        opened.callback(database.xClose)
        copy = _Copy(database, into, int(look.pragma("page_size")), unreadable)
        log = _Log(look, files.log_of(source), copy.page_bytes)
        opened.callback(log.close)
        of = copy.pages
        for done in copy.in_steps():
            _begin(newer)
            copy.pages = log.fresh(copy.put) or copy.pages
            _let_go(older)
            older, newer = newer, older
            copy.write_waiting(MAX_WAITING_BYTES)
            progress(done, of)
        _let_go(older)
        copy.finish()


def _begin(db: apsw.Connection) -> None:
    db.execute("BEGIN")
    # A transaction has its snapshot from its first read on.
    db.execute("SELECT count(*) FROM migration").get  # noqa: B018


def _let_go(db: apsw.Connection) -> None:
    db.execute("COMMIT")


class _Copy:
    """The file that is written, and which of its pages came from the log."""

    def __init__(self, database: apsw.VFSFile, into: int, page_bytes: int, unreadable: Unreadable) -> None:
        self.page_bytes = page_bytes
        self.pages = database.xFileSize() // page_bytes
        """Of the database, as the last commit that was read has left it."""
        self._database = database
        self._into = into
        self._unreadable = unreadable
        self._from_log: set[int] = set()
        self._waiting: dict[int, bytes] = {}

    def in_steps(self) -> Iterator[int]:
        """Copies the pages that are in the database file now, a few between two looks; yields how many are done."""
        last = self.pages
        for first in range(0, last, STEP_PAGES):
            count = min(STEP_PAGES, last - first)
            data = self._read(first, count)
            at = 0
            for page in range(first, first + count + 1):
                # A page that came from the log is newer than what stands in the file.
                if page == first + count or page + 1 in self._from_log:
                    end = (page - first) * self.page_bytes
                    self._write(first * self.page_bytes + at, data[at:end])
                    at = end + self.page_bytes
            yield first + count

    def put(self, number: int, data: bytes) -> None:
        """A page from the log, by its number, which begins with 1."""
        self._from_log.add(number)
        self._waiting[number] = data

    def write_waiting(self, but_bytes: int) -> None:
        """Writes pages from the log until no more than so many bytes of them wait."""
        while len(self._waiting) * self.page_bytes > but_bytes:
            number = next(iter(self._waiting))
            self._write((number - 1) * self.page_bytes, self._waiting.pop(number))

    def finish(self) -> None:
        """Writes what waits, and cuts what the last commit has left out."""
        self.write_waiting(0)
        os.ftruncate(self._into, self.pages * self.page_bytes)

    def _read(self, first: int, count: int) -> bytes:
        try:
            return self._database.xRead(count * self.page_bytes, first * self.page_bytes)
        except apsw.IOError as error:
            if count > 1:
                return b"".join(self._read(page, 1) for page in range(first, first + count))
            self._unreadable(first + 1, error)
            return bytes(self.page_bytes)

    def _write(self, at: int, data: bytes) -> None:
        while data:
            written = os.pwrite(self._into, data, at)
            data, at = data[written:], at + written


class _Log:
    """What is committed to the write-ahead log of a database."""

    def __init__(self, look: apsw.Connection, path: Path, page_bytes: int) -> None:
        """`look`: a connection without a transaction. There is no log where nobody writes one."""
        self._look = look
        self._page_bytes = page_bytes
        self._salts = b""
        self._read = 0
        """Frames of the log with these salts."""
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path.exists() else None

    def fresh(self, put: Callable[[int, bytes], None]) -> int:
        """Puts what was committed since the last call, each page as its last commit has left it.

        Returns how many pages the database has now; 0 where nothing was committed.
        """
        salts, committed = self._committed()
        if salts != self._salts:
            self._salts, self._read = salts, 0
        last: dict[int, int] = {}
        pages = 0
        for frame in range(self._read, committed):
            number, pages_then, own, *_ = FRAME.unpack(self._at(frame, 0, FRAME.size))
            if own != salts:
                raise apsw.IOError("the write-ahead log was written over while it was read")
            last[number] = frame
            pages = pages_then or pages
        for number, frame in last.items():
            put(number, self._at(frame, FRAME.size, self._page_bytes))
        self._read = max(self._read, committed)
        return pages

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            os.close(self._file)

    def _committed(self) -> tuple[bytes, int]:
        """The salts of the log, and how many of its frames are committed."""
        if self._file is None:
            return b"", 0
        for _ in range(MAX_LOOKS):
            before = os.pread(self._file, HEADER_BYTES, 0)[SALTS]
            frames, _ = self._look.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            if before == os.pread(self._file, HEADER_BYTES, 0)[SALTS]:
                return before, frames
        raise apsw.BusyError("the write-ahead log begins anew each time that it is looked at")

    def _at(self, frame: int, skip: int, count: int) -> bytes:
        assert self._file is not None
        at = HEADER_BYTES + frame * (FRAME.size + self._page_bytes) + skip
        data = os.pread(self._file, count, at)
        if len(data) < count:
            raise apsw.IOError("the write-ahead log is shorter than what was committed to it")
        return data
