"""Frames of a write-ahead log, as SQLite writes them, and what it does not read of them.

SQLite reads a log up to the first frame whose checksum does not fit, and takes that for the end: after a power cut it
is, since one transaction at most was not synced yet. Where more than one transaction stands whole behind such a frame,
they had been acknowledged, and the frame was damaged later. Of a log whose header does not fit its own checksum SQLite
reads nothing at all; the header is synced before the first frame is written, so that no power cut leaves that.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import apsw

HEADER_BYTES = 32
SALTS = slice(16, 24)
"""In the header of the log. Each frame has them as well, and each beginning of the log has others."""
FRAME = struct.Struct(">II8sII")
"""What stands before a page in the log: its number, at the end of a commit the pages of the database, the salts, the
checksum of all that the log has up to here."""
_PAGE_BYTES_AT = 8
_HEADER_SUMS = struct.Struct(">II")
"""Behind the salts: the checksum of all that stands before it."""
_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""Checksums take words with the lowest byte first, or with the highest."""
_SUMMED_HEAD_BYTES = 8
_WORD = 0xFFFFFFFF
LOOKS = 3
"""The log may begin anew between two looks at it."""
UNSYNCED = 1
"""Transactions that a power cut may leave behind the end of the log."""


def unread_commits(path: Path, log: Path) -> tuple[int, int]:
    """(frames that are read, commits behind them that are whole and are not read), the second no further than 2.

    Where the header does not fit its checksum, what stands behind it counts as that many. Also beside a writer. Raises
    apsw.Error, OSError.
    """
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").get  # noqa: B018 - else it has not looked at the log
        with log.open("rb", buffering=0) as file:
            handle = file.fileno()
            for _ in range(LOOKS):
                header = os.pread(handle, HEADER_BYTES, 0)
                is_sound = _is_sound(header)
                # The salts and the size of a frame stand in the header: with others no frame would be found.
                commits = _commits(handle, header) if is_sound else []
                # Asked for afterwards: what a writer has committed meanwhile is among those that are read.
                read, _ = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
                if header == os.pread(handle, HEADER_BYTES, 0):
                    if not is_sound:
                        return 0, UNSYNCED + 1 if os.fstat(handle).st_size > HEADER_BYTES else 0
                    return read, _whole(handle, header, [frame for frame in commits if frame >= read])
        return 0, 0
    finally:
        db.close()


def _is_sound(header: bytes) -> bool:
    """Whether a header fits its own checksum. SQLite takes a log for empty whose header does not."""
    at = HEADER_BYTES - _HEADER_SUMS.size
    is_whole = len(header) == HEADER_BYTES and header[:4] in _MAGIC
    return is_whole and _sums(header, header[:at]) == _HEADER_SUMS.unpack_from(header, at)


def _size_of(header: bytes) -> int:
    return FRAME.size + int.from_bytes(header[_PAGE_BYTES_AT : _PAGE_BYTES_AT + 4], "big")


def _commits(handle: int, header: bytes) -> list[int]:
    """Frames of this log that end a commit, by number, whether or not they are whole. It may be cut meanwhile."""
    size, salts = _size_of(header), header[SALTS]
    found = []
    for frame in range((os.fstat(handle).st_size - HEADER_BYTES) // size):
        head = os.pread(handle, FRAME.size, HEADER_BYTES + frame * size)
        if len(head) < FRAME.size:
            break
        _, pages, own, _, _ = FRAME.unpack(head)
        if pages and own == salts:
            found.append(frame)
    return found


def _whole(handle: int, header: bytes, frames: list[int]) -> int:
    """How many of these fit the frame before them; what an earlier end of the log has left there does not."""
    found = 0
    for frame in frames:
        found += frame > 0 and _fits(handle, header, frame)
        if found > UNSYNCED:
            break
    return found


def _fits(handle: int, header: bytes, frame: int) -> bool:
    size = _size_of(header)
    data = os.pread(handle, 2 * size, HEADER_BYTES + (frame - 1) * size)
    if len(data) < 2 * size:
        return False
    before, own = FRAME.unpack_from(data), FRAME.unpack_from(data, size)
    summed = data[size : size + _SUMMED_HEAD_BYTES] + data[size + FRAME.size :]
    return _sums(header, summed, before[3], before[4]) == (own[3], own[4])


def _sums(header: bytes, data: bytes, first: int = 0, second: int = 0) -> tuple[int, int]:
    """The checksum of a log, by its header, that goes on over these bytes."""
    order = "<" if header[:4] == _MAGIC[0] else ">"
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second
