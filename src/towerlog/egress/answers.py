"""One answer of HTTP/1.1 as it is read: its status and its body, within a number of pieces.

The bytes are read by `httptools`, as those of requests are. Each piece that it tells of is a call: a header line, a
trailer line, a chunk, an answer that is only preliminary. A sender can make 64 KiB into tens of thousands of them, so
they are counted, and what is more is left unread, as what is more in bytes.
"""

from __future__ import annotations

from typing import Any

import httptools

from towerlog.egress.connections import BROKEN_OFF
from towerlog.egress.outcomes import EgressError, EgressFailure

MAX_PIECES = 1024
"""Of an answer: reads, header and trailer lines, chunks, preliminary answers."""
MAX_RETRY_AFTER_BYTES = 64
_NO_ANSWER = "what came is no answer of HTTP"
_VERSIONS = frozenset({"1.0", "1.1"})


class TooManyPieces(Exception):
    """Inside of this module: the answer is read no further."""


class AnswerReader:
    """Reads one answer. The methods with `on_` are called by the parser."""

    def __init__(self) -> None:
        self.status: int | None = None
        """Of the answer that is final, or of a change to another protocol (101)."""
        self.retry_after = ""
        """When its sender wants to be asked again, as it was sent; empty where it has not said so."""
        self.body = bytearray()
        self.is_whole = False
        """Whether all of it has come."""
        self._parser: Any = httptools.HttpResponseParser(self)
        self._pieces = 0
        self._is_measured = False
        """The body ends where its length or its last chunk says, and not with the connection."""

    @property
    def is_done(self) -> bool:
        """Nothing more is read: it is whole, or another protocol follows, which nobody has asked for."""
        return self.is_whole or self.status == 101

    def take(self, data: bytes) -> None:
        """The next bytes; none at the end of the connection. Raises EgressError for what is no answer."""
        try:
            if data:
                self._count()
                self._parser.feed_data(data)
            else:
                self._end()
        except httptools.HttpParserUpgrade:
            return
        except (httptools.HttpParserError, TooManyPieces) as error:
            if self.is_done:
                # What follows a whole answer is nobody's.
                return
            if isinstance(error, TooManyPieces) or isinstance(error.__context__, TooManyPieces):
                raise EgressError(EgressFailure.NOT_UNDERSTOOD, "the answer comes in too many pieces") from None
            raise EgressError(EgressFailure.NOT_UNDERSTOOD, _NO_ANSWER) from None

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head, or a trailer."""
        self._count()
        if self.status is not None:
            return
        name = name.lower()
        if name == b"content-length":
            self._is_measured = True
        elif name == b"transfer-encoding":
            self._is_measured = value.lower().rstrip().endswith(b"chunked")
        elif name == b"retry-after":
            self.retry_after = value[:MAX_RETRY_AFTER_BYTES].decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._count()
        status = self._parser.get_status_code()
        if not 100 <= status <= 999 or self._parser.get_http_version() not in _VERSIONS:
            raise httptools.HttpParserError(_NO_ANSWER)
        if status == 101 or status >= 200:
            self.status = status
        else:
            self._is_measured, self.retry_after = False, ""

    def on_body(self, data: bytes) -> None:
        """A part of the body: what came at once of a chunk."""
        self._count()
        if not self.is_whole:
            self.body += data

    def on_message_complete(self) -> None:
        """An answer is whole; a preliminary one ends with its head."""
        self.is_whole = self.status is not None

    def _count(self) -> None:
        if self.is_done:
            raise TooManyPieces
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise TooManyPieces

    def _end(self) -> None:
        if self.status is None or self._is_measured:
            raise EgressError(EgressFailure.BROKEN_OFF, BROKEN_OFF)
        self.is_whole = True
