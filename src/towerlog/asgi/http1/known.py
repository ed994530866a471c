"""The head that a connection's requests have in common, so that the parser reads it once.

A program that reports sends the same lines with each request: its host, its key, the type of its body. What differs is
the target and the length. Of a request whose other bytes are those of one that the parser has read on this connection,
the parser would say the same, so it is not asked.
"""

from __future__ import annotations

import re

import msgspec

from towerlog.asgi.http1 import heads
from towerlog.asgi.http1.request import PendingRequest

MAX_LINES_BYTES = 1024
"""Of the lines that are remembered; one connection remembers those of one request."""
MAX_MISSES = 8
"""Requests whose lines were never the same again: after so many nothing more is remembered for a connection."""
MAX_LENGTH_DIGITS = 8
METHOD, VERSION, LENGTH = b"POST ", b" HTTP/1.1\r\n", b"content-length"
_LENGTH_LINE = re.compile(rb"(?:^|\r\n)content-length:[ \t]*([1-9][0-9]{0,7})\r\n", re.IGNORECASE).search


class KnownHead(msgspec.Struct, frozen=True, eq=False):
    """The lines behind the first of a head, in two parts with the length of the body between them."""

    before: bytes
    after: bytes
    """Ends with the end of the head."""
    headers: list[tuple[bytes, bytes]]
    given: dict[bytes, bytes]
    length_at: int
    """Where the length stands among the headers."""


def known_head(data: bytes, request: PendingRequest) -> KnownHead | None:
    """The lines of a request that the parser has read whole, and that `data` begins with; None where they tell no
    length, or are too long to remember."""
    start, end = data.find(VERSION) + len(VERSION), data.find(heads.END) + len(heads.END)
    lines = data[start:end]
    found = _LENGTH_LINE(lines)
    if found is None or len(lines) > MAX_LINES_BYTES:
        return None
    headers = request.scope["headers"]
    length_at = [name for name, _ in headers].index(LENGTH)
    return KnownHead(lines[: found.start(1)], lines[found.end(1) :], headers, request.scope["given"], length_at)
