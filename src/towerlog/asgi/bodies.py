"""Request bodies: read within a limit, decompressed, and checked for media type and UTF-8.

The usual body is whole in the first message and costs next to nothing; the rest is for the unusual ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.decoding import DECODED_AT_ONCE_BYTES, check_utf8
from towerlog.asgi.inflate import inflate
from towerlog.asgi.replies import Receive
from towerlog.dialects.base import BODY_TYPES, BodyKind
from towerlog.errors import Malformed, TooLarge

MAX_PACKED_ON_LOOP_BYTES = 16 * 1024
MAX_OPENED_ON_LOOP_BYTES = 256 * 1024
"""A compressed body that is larger, before or after it is opened, is opened beside the event loop."""
MAX_OPENED = 4
"""Compressed bodies that are opened at a time beside it; each organisation has one, by its share in the ledger."""
OF_JSON: frozenset[BodyKind] = frozenset({"json", "ndjson"})
"""Bodies of JSON, of whichever type with that in its name."""
PLAIN_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


class Disconnected(Exception):
    """The sender disconnected before its body was complete: there is nobody to answer."""


class Bodies:
    """Reads the bodies of all requests."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is the limit on the wire and, once more, on what comes out of a compressed body."""
        self.max_bytes = max_bytes
        self._openers = asyncio.Semaphore(MAX_OPENED)

    def opened(
        self, sent: bytes, headers: Mapping[bytes, bytes], kind: BodyKind, repairs: bool = False
    ) -> bytes | None:
        """What was sent as the endpoint takes it; empty where nothing was. None: it is for `opened_aside`.

        `repairs`: a text that is no UTF-8 is repaired when it is decoded.
        Raises Malformed, TooLarge, Rejection (415).
        """
        if len(sent) > self.max_bytes:
            raise self._too_large()
        if not sent:
            return sent
        check_type(headers.get(b"content-type"), kind)
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            if len(sent) > MAX_PACKED_ON_LOOP_BYTES:
                return None
            try:
                sent = inflate(sent, encoding, min(self.max_bytes, MAX_OPENED_ON_LOOP_BYTES))
            except TooLarge:
                return None
        elif len(sent) > DECODED_AT_ONCE_BYTES and kind != "binary" and not sent.isascii():
            return None
        return _checked_text(sent, kind, repairs)

    async def opened_aside(
        self, sent: bytes, headers: Mapping[bytes, bytes], kind: BodyKind, repairs: bool = False
    ) -> bytes:
        """The same for a body that would hold up the event loop. Raises like `opened`."""
        encoding = headers.get(b"content-encoding", b"identity")

        def work() -> bytes:
            return _checked_text(inflate(sent, encoding, self.max_bytes), kind, repairs)

        async with self._openers:
            return await asyncio.to_thread(work)

    def declared_length(self, headers: Mapping[bytes, bytes]) -> int:
        """What `Content-Length` says, 0 where it is absent. Raises TooLarge before a byte of it is read."""
        text = headers.get(b"content-length")
        if text is None:
            return 0
        if not text.isdigit() or len(text) > 18:
            raise Malformed("Content-Length is not a number.")
        length = int(text)
        if length > self.max_bytes:
            raise self._too_large()
        return length

    async def collect(self, receive: Receive, take_room: Callable[[int], None]) -> bytes:
        """The whole body as it is sent. `take_room` counts what has come of it in all, and raises Overloaded.

        The deadline is the connection's. Raises TooLarge, Overloaded, Rejection (408) and Disconnected.
        """
        parts: list[bytes] = []
        total = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise message.get("fault") or Disconnected
            part: bytes = message.get("body", b"")
            total += len(part)
            if total > self.max_bytes:
                raise self._too_large()
            take_room(total)
            if part:
                parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self.max_bytes} bytes.")


def _checked_text(body: bytes, kind: BodyKind, repairs: bool) -> bytes:
    if kind != "binary" and not repairs and not body.isascii():
        check_utf8(body)
    return body


def check_type(content_type: bytes | None, kind: BodyKind) -> None:
    """Lets the media types of this kind of body pass, and any JSON where it is text; Rejection (415) for the rest.

    An absent type passes. The one that curl sends by default (a form) is refused rather than guessed at.
    """
    is_text, is_json = kind != "binary", kind in OF_JSON
    if not content_type or (is_json and content_type in PLAIN_TYPES):
        return
    name, _, parameters = content_type.decode("latin-1").lower().partition(";")
    name, types = name.strip(), BODY_TYPES[kind]
    if name not in types and not (is_json and name.startswith("application/") and name.endswith("+json")):
        wanted = " or ".join(types)
        raise Rejection(415, Malformed(f"The body's Content-Type is {name[:60]!r}; send {wanted}."))
    charset = parameters.replace(" ", "").replace('"', "").partition("charset=")[2].partition(";")[0]
    if is_text and charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Rejection(415, Malformed("The body's text must be UTF-8."))
