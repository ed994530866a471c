"""Request bodies: read within a limit and a deadline, decompressed, and checked for media type and UTF-8.

The usual body is whole in the first message and costs next to nothing; the rest is for the unusual ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from towerlog.ambient import Clock
from towerlog.asgi.faults import Rejection
from towerlog.asgi.guard.admission import Admission
from towerlog.asgi.guard.decoding import DECODED_AT_ONCE_BYTES
from towerlog.asgi.inflate import inflate
from towerlog.asgi.replies import Receive
from towerlog.dialects.base import BODY_TYPES, BodyKind
from towerlog.errors import Malformed, TooLarge

DEADLINE_MS = 30_000
"""How long a sender may take over one body."""
_ASIDE_BYTES = 64 * 1024
"""Compressed bodies from here on are opened beside the event loop."""
PLAIN_TYPES = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})


class Disconnected(Exception):
    """The sender disconnected before its body was complete: there is nobody to answer."""


class Bodies:
    """Reads the bodies of all requests."""

    def __init__(self, clock: Clock, admission: Admission, max_bytes: int) -> None:
        """`max_bytes` is the limit on the wire and, once more, on what comes out of a compressed body."""
        self._clock = clock
        self._admission = admission
        self.max_bytes = max_bytes
        self._waiting: dict[asyncio.Task[None], int] = {}
        self._overdue: set[asyncio.Task[None]] = set()

    def opened(self, sent: bytes, headers: Mapping[bytes, bytes], kind: BodyKind) -> bytes | None:
        """What was sent as the endpoint takes it; empty where nothing was. None: it is for `opened_aside`.

        Raises Malformed, TooLarge, Rejection (415).
        """
        if len(sent) > self.max_bytes:
            raise self._too_large()
        if not sent:
            return sent
        check_type(headers.get(b"content-type"), kind)
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            if len(sent) >= _ASIDE_BYTES:
                return None
            sent = inflate(sent, encoding, self.max_bytes)
        elif len(sent) > DECODED_AT_ONCE_BYTES and kind != "binary" and not sent.isascii():
            return None
        return _checked_text(sent, kind)

    async def opened_aside(self, sent: bytes, headers: Mapping[bytes, bytes], kind: BodyKind) -> bytes:
        """The same for a body that would hold up the event loop. Raises like `opened`."""
        encoding = headers.get(b"content-encoding", b"identity")

        def opened() -> bytes:
            return _checked_text(inflate(sent, encoding, self.max_bytes), kind)

        return await asyncio.to_thread(opened)

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

    def tick(self, now_ms: int) -> None:
        """Ends the waiting for bodies that are overdue."""
        for task, due in list(self._waiting.items()):
            if due <= now_ms:
                self._overdue.add(task)
                task.cancel()

    async def collect(self, receive: Receive, declared: int) -> bytes:
        """The whole body as it is sent. `declared` bytes have been admitted by the caller.

        Raises TooLarge, Overloaded, Rejection (408) and Disconnected.
        """
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = self._clock.steady_ms() + DEADLINE_MS
        try:
            message = await receive()
            if message.get("more_body"):
                return await self._collect_more(receive, message.get("body", b""), declared)
        except asyncio.CancelledError:
            if task not in self._overdue:
                raise
            task.uncancel()
            error = Malformed(f"The body was not there after {DEADLINE_MS // 1000} s.")
            raise Rejection(408, error, ((b"connection", b"close"),)) from None
        finally:
            del self._waiting[task]
            self._overdue.discard(task)
        return self._checked(message)

    async def _collect_more(self, receive: Receive, first: bytes, declared: int) -> bytes:
        """A body in several messages; one whose length was not declared is admitted as it comes."""
        parts = [first]
        total = len(first)
        admitted = declared
        try:
            while True:
                if total > self.max_bytes:
                    raise self._too_large()
                if total > admitted:
                    self._admission.take_bytes(total - admitted)
                    admitted = total
                message = await receive()
                part = self._checked(message)
                parts.append(part)
                total += len(part)
                if not message.get("more_body"):
                    break
            if total > self.max_bytes:
                raise self._too_large()
            return b"".join(parts)
        finally:
            self._admission.free_bytes += admitted - declared

    def _checked(self, message: Mapping[str, object]) -> bytes:
        if message["type"] == "http.disconnect":
            raise Disconnected
        body = message.get("body", b"")
        assert isinstance(body, bytes)
        if len(body) > self.max_bytes:
            raise self._too_large()
        return body

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self.max_bytes} bytes.")


def _checked_text(body: bytes, kind: BodyKind) -> bytes:
    if kind != "binary" and not body.isascii():
        check_utf8(body)
    return body


def check_type(content_type: bytes | None, kind: BodyKind) -> None:
    """Lets the media types of this kind of body pass, and any JSON where it is text; Rejection (415) for the rest.

    An absent type passes. The one that curl sends by default (a form) is refused rather than guessed at.
    """
    is_text = kind != "binary"
    if not content_type or (is_text and content_type in PLAIN_TYPES):
        return
    name, _, parameters = content_type.decode("latin-1").lower().partition(";")
    name, types = name.strip(), BODY_TYPES[kind]
    if name not in types and not (is_text and name.startswith("application/") and name.endswith("+json")):
        wanted = " or ".join(types)
        raise Rejection(415, Malformed(f"The body's Content-Type is {name[:60]!r}; send {wanted}."))
    charset = parameters.replace(" ", "").replace('"', "").partition("charset=")[2].partition(";")[0]
    if is_text and charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Rejection(415, Malformed("The body's text must be UTF-8."))


def check_utf8(body: bytes) -> None:
    """Raises Malformed for bytes that are no UTF-8."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("The body is not valid UTF-8.") from None
