"""Files to import: their values, line by line or whole, and of which program they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from towerlog.cli.importers import claude_code, codex, langfuse, langsmith, otlp
from towerlog.cli.importers.events import ImportedEvent, Values
from towerlog.errors import Malformed
from towerlog.sdk.wire import json_text

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_WHOLE_BYTES = 512 * 1024 * 1024
"""Of a file that is one value, or whose traces have to be put together: it is held in memory."""
LOOKED_AT = 20
"""Values of a file by which it is recognised: sessions begin with entries of several kinds."""

Skipped = Callable[[str], None]


class Format(NamedTuple):
    """Files of a program."""

    recognizes: Callable[[Any], bool]
    read: Callable[[Callable[[], Values], Skipped], Iterator[ImportedEvent]]
    is_whole: bool
    """Its traces are put together before the first event."""


FORMATS: dict[str, Format] = {
    claude_code.NAME: Format(claude_code.recognizes, claude_code.read, False),
    codex.NAME: Format(codex.recognizes, codex.read, False),
    langfuse.NAME: Format(langfuse.recognizes, langfuse.read, True),
    langsmith.NAME: Format(langsmith.recognizes, langsmith.read, True),
}


NAMES = (*FORMATS, otlp.NAME)
"""All that is read. Requests of OTLP are no events: the server makes those of them."""


def requests_in(path: Path) -> Iterator[otlp.ExportRequest]:
    """The requests of a file of OTLP. Raises Malformed, OSError."""
    if not _is_protobuf(path):
        return otlp.requests_of(values_of(path))
    if path.stat().st_size > MAX_WHOLE_BYTES:
        raise Malformed(f"{path}: is larger than {MAX_WHOLE_BYTES} bytes; export fewer spans at a time")
    return otlp.requests_of_protobuf(path.read_bytes())


def _is_protobuf(path: Path) -> bool:
    return path.is_file() and otlp.is_protobuf(path)


def events_in(path: Path, name: str, skipped: Skipped) -> Iterator[ImportedEvent]:
    """The events of a file of this format. Raises Malformed, OSError."""
    form = FORMATS[name]
    if form.is_whole and path.stat().st_size > MAX_WHOLE_BYTES:
        raise Malformed(f"{path}: is larger than {MAX_WHOLE_BYTES} bytes; export fewer traces at a time")
    return form.read(lambda: values_of(path), skipped)


def format_of(path: Path) -> str:
    """Of which program a file is. Raises Malformed where it is of none, OSError."""
    if _is_protobuf(path):
        return otlp.NAME
    for place, (_, value) in enumerate(values_of(path)):
        found = next((name for name, form in FORMATS.items() if form.recognizes(value)), None)
        if found is not None or otlp.recognizes(value):
            return found or otlp.NAME
        if place >= LOOKED_AT:
            break
    raise Malformed(f"{path}: is no file of {', '.join(NAMES)}; if it is one, say which with --format")


def values_of(path: Path) -> Values:
    """The values of a file of lines, with the numbers of these; else the one value that it is.

    A last line that is not whole is left out: its program may be writing it. Raises Malformed, OSError.
    """
    if not path.is_file():  # a pipe may never say anything, and cannot be read from its beginning again
        raise Malformed(f"{path}: is no regular file")
    with path.open("rb") as file:
        first = _line_of(path, file.readline(MAX_LINE_BYTES + 1), 1)
        try:
            value = json_text.read(first)
        except ValueError:
            file.seek(0)
            yield 1, _whole(path, file.read(MAX_WHOLE_BYTES + 1))
            return
        yield 1, value
        number = 1
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            text = _line_of(path, line, number)
            if not text.strip():
                continue
            try:
                value = json_text.read(text)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    return
                raise Malformed(f"{path}: line {number} is not JSON: {error}") from None
            yield number, value


def _line_of(path: Path, line: bytes, number: int) -> bytes:
    if len(line) > MAX_LINE_BYTES:
        raise Malformed(f"{path}: line {number} is longer than {MAX_LINE_BYTES} bytes")
    return line


def _whole(path: Path, text: bytes) -> Any:
    if len(text) > MAX_WHOLE_BYTES:
        raise Malformed(f"{path}: is larger than {MAX_WHOLE_BYTES} bytes")
    try:
        return json_text.read(text)
    except ValueError as error:
        raise Malformed(f"{path}: is neither JSON nor lines of JSON: {error}") from None
