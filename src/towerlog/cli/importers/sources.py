"""A file to import: its values, the lines of it that are none, and whether its program may still be writing it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from towerlog.cli.importers.copies import Copies
from towerlog.cli.importers.events import Values
from towerlog.errors import Malformed
from towerlog.model.times import parse_ms
from towerlog.sdk.wire import json_text

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_WHOLE_BYTES = 512 * 1024 * 1024
"""Of a file that is one value, or whose traces have to be put together: it is held in memory."""
MAX_BAD_LINES = 100_000
"""Lines without a value of which the number is remembered."""
GOES_ON_MS = 3_600_000
"""So long after its last sign of life a session may go on."""
CHUNK_BYTES = 64 * 1024
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLANK = b" \t\r\n\x00"
"""Zeros are what a crash leaves of a line whose file had its room already."""


@dataclass(frozen=True)
class Source:
    """A file, which is read as often as it is called."""

    path: Path
    now_ms: int
    copies: Copies = field(default_factory=Copies)
    bad_lines: dict[int, str] = field(default_factory=dict)
    """Number of a line that has no value → why."""
    mended_lines: dict[int, str] = field(default_factory=dict)
    """Number of a line whose value was read with something replaced in it → what."""

    def __call__(self) -> Values:
        """The values of a file of lines, with the numbers of these; else the one value that it is.

        Lines that have none are noted in `bad_lines`. A last line that is not whole is left out: its program may be
        writing it. Raises Malformed, OSError.
        """
        if not self.path.is_file():  # a pipe may never say anything, and cannot be read from its beginning again
            raise Malformed(f"{self.path}: is no regular file")
        with self.path.open("rb") as file:
            lines = _lines_of(file)
            first = next(lines, None)
            if first is None:
                return
            is_one, value = self._as_one(file, first)
            if is_one:
                yield 1, value
                return
            yield from self._values(first, lines)

    def is_at_rest(self) -> bool:
        """Whether nobody has written to the file for an hour."""
        return self.now_ms - self.path.stat().st_mtime_ns // 1_000_000 >= GOES_ON_MS

    def is_past(self, time: str | None) -> bool:
        """Whether a time of the file is an hour ago or more; without one, that of the file itself."""
        try:
            told = None if time is None else parse_ms(time)
        except ValueError:
            told = None
        return self.is_at_rest() if told is None else self.now_ms - told >= GOES_ON_MS

    def _as_one(self, file: BinaryIO, first: bytes) -> tuple[bool, Any]:
        """Whether the file is one value over several lines, and that value."""
        if len(first) > MAX_LINE_BYTES or _value_of(first)[1] is None or _bare(first)[:1] not in (b"{", b"["):
            return False, None
        place = file.tell()
        file.seek(0)
        text = file.read(MAX_WHOLE_BYTES + 1)
        file.seek(place)
        if len(text) > MAX_WHOLE_BYTES:
            return False, None
        try:
            return True, json_text.read(_in_utf8(text))
        except ValueError:
            return False, None

    def _values(self, first: bytes, lines: Iterator[bytes]) -> Values:
        number, line, after = 1, first, next(lines, None)
        while True:
            if _bare(line):
                value, why = _value_of(line)
                if why is None:
                    yield number, value
                elif not (after is None and not line.endswith(b"\n")):
                    mended, is_mended = _mended(line)
                    _note(self.mended_lines if is_mended else self.bad_lines, number, why)
                    if is_mended:
                        yield number, mended
            if after is None:
                return
            number, line, after = number + 1, after, next(lines, None)


def _lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Lines in UTF-8; of one that is too long, so much that it shows."""
    head = file.read(2)
    file.seek(0)
    if head in _UTF_16:
        yield from _lines_of_utf16(file)
        return
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)
        yield line


def _lines_of_utf16(file: BinaryIO) -> Iterator[bytes]:
    """As PowerShell writes what it is given. By lines of text, since half a line end is a part of other characters."""
    decode = codecs.getincrementaldecoder("utf-16")("replace").decode
    parts: list[str] = []
    size = 0
    while chunk := file.read(CHUNK_BYTES):
        first, *others = decode(chunk).split("\n")
        if size <= MAX_LINE_BYTES:
            parts.append(first)
            size += len(first)
        for other in others:
            yield f"{''.join(parts)}\n".encode("utf-8", "replace")
            parts, size = [other], len(other)
    if any(parts):
        yield "".join(parts).encode("utf-8", "replace")


def _in_utf8(text: bytes) -> bytes:
    if text[:2] in _UTF_16:
        return text.decode("utf-16", "replace").encode("utf-8", "replace")
    return text.removeprefix(codecs.BOM_UTF8)


def _bare(line: bytes) -> bytes:
    """Without what stands around a value. Files that were put together have marks in their midst."""
    return line.strip(_BLANK).removeprefix(codecs.BOM_UTF8).removesuffix(codecs.BOM_UTF8).strip(_BLANK)


def _value_of(line: bytes) -> tuple[Any, str | None]:
    """The value of a line, or why it has none."""
    if len(line) > MAX_LINE_BYTES:
        return None, f"is longer than {MAX_LINE_BYTES} bytes"
    try:
        return json_text.read(_bare(line)), None
    except UnicodeDecodeError:
        return None, "has bytes that are no UTF-8"
    except ValueError as error:
        return None, f"is not JSON: {error}"


def _mended(line: bytes) -> tuple[Any, bool]:
    """The value of a line with bytes that are no UTF-8, which are replaced; whether that makes a value of it."""
    text = _bare(line).decode("utf-8", "replace")
    if len(line) > MAX_LINE_BYTES or "\ufffd" not in text:
        return None, False
    try:
        return json_text.read(text), True
    except ValueError:
        return None, False


def _note(lines: dict[int, str], number: int, why: str) -> None:
    if len(lines) < MAX_BAD_LINES:
        lines[number] = why
