"""The head that a connection's requests have in common, so that the parser reads it once.

A program that reports sends the same lines with each request: its host, its key, the type of its body. What differs is
the target and the length. Of a request whose other bytes are those of one that the parser has read on this connection,
the parser would say the same, so it is not asked.
"""

from __future__ import annotations

import re

import msgspec

from towerlog.asgi.guard.arrivals import Visit
from towerlog.asgi.http1 import heads
from towerlog.asgi.http1.request import Link, PendingRequest, scope_of

MAX_LINES_BYTES = 1024
"""Of the lines that are remembered; one connection remembers those of one request."""
MAX_MISSES = 8
"""Requests whose lines were never the same again: after so many nothing more is remembered for a connection."""
MAX_LENGTH_DIGITS = 8
_METHOD, _VERSION = b"POST ", b" HTTP/1.1\r\n"
_LENGTH = b"content-length"
_LENGTH_LINE = re.compile(rb"(?:^|\r\n)content-length:[ \t]*([1-9][0-9]{0,7})\r\n", re.IGNORECASE).search


class KnownHead(msgspec.Struct, eq=False):
    """The lines behind the first of a head, in two parts with the length of the body between them."""

    before: bytes
    after: bytes
    """Ends with the end of the head."""
    length: bytes
    """Of the body of the newest request, which `headers` and `given` have."""
    headers: list[tuple[bytes, bytes]]
    given: dict[bytes, bytes]

    def request_in(self, data: bytes, link: Link, visit: Visit) -> PendingRequest | None:
        """The request with these lines that is all of `data`; None of any other."""
        end = data.find(_VERSION, 0, heads.PLAIN_HEAD_BYTES)
        start = end + len(_VERSION)
        if end < 0 or not data.startswith(self.before, start):
            return None
        start += len(self.before)
        stop = data.find(b"\r", start, start + MAX_LENGTH_DIGITS + 1)
        length, body_at = data[start:stop], stop + len(self.after)
        is_same = stop >= 0 and data.startswith(self.after, stop) and data.startswith(_METHOD)
        if not is_same or not length.isdigit() or len(data) - body_at != int(length):
            return None
        target = data[len(_METHOD) : end]
        if heads.PLAIN_TARGET(target) is None:
            return None
        if length != self.length:
            self._note(length)
        raw_path, _, query = target.partition(b"?")
        split = raw_path.decode("latin-1"), raw_path, query
        scope, body = scope_of("1.1", "POST", split, self.headers, self.given, visit), data[body_at:]
        return PendingRequest(link, visit, scope, True, body=body, received_bytes=len(body), is_whole=True)

    def _note(self, length: bytes) -> None:
        """What is said of the head from now on. The requests before keep what was said of theirs."""
        self.length = length
        self.headers = [(name, length if name == _LENGTH else value) for name, value in self.headers]
        self.given = {**self.given, _LENGTH: length}


def known_head(data: bytes, request: PendingRequest) -> KnownHead | None:
    """The lines of a request that the parser has read whole, and that `data` begins with; None where they tell no
    length, or are too long to remember."""
    start, end = data.find(_VERSION) + len(_VERSION), data.find(heads.END) + len(heads.END)
    lines = data[start:end]
    found = _LENGTH_LINE(lines)
    if found is None or len(lines) > MAX_LINES_BYTES:
        return None
    scope = request.scope
    return KnownHead(lines[: found.start(1)], lines[found.end(1) :], found[1], scope["headers"], scope["given"])
