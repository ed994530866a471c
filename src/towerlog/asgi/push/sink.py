"""What a stream needs of a transport: a sink. Server-sent events are one (`sse.py`)."""

from __future__ import annotations

import enum
from collections.abc import Awaitable
from typing import Protocol

import msgspec


class Cause(enum.Enum):
    """Why a stream ends in an orderly way."""

    COMPLETE = "complete"
    """It has come to its own end: there is nothing more to send, ever."""
    REVOKED = "revoked"
    """Its key is no longer good."""
    CLOSING = "closing"
    """The server goes down."""
    CROWDED = "crowded"
    """Somebody whose streams are fewer needs the place."""


class StreamEnd(msgspec.Struct, frozen=True):
    """Why a stream ends: the last thing that its reader is told."""

    cause: Cause
    retry_ms: int | None = None
    """How long to wait before coming back; None says nothing about it."""


COMPLETE, REVOKED = StreamEnd(Cause.COMPLETE), StreamEnd(Cause.REVOKED)


class Sink(Protocol):
    """One reader of one stream. All but `gone` and `abort` may wait for a reader that is slow to take."""

    async def start(self) -> None:
        """Sends what comes before the first frame."""
        ...

    def send(self, chunk: bytes) -> Awaitable[None]:
        """Sends whole frames; to be awaited at once. A plain function: it is called for every chunk of every reader."""
        ...

    def has_room(self) -> bool:
        """Whether `put` may be called: its reader has taken all that was sent."""
        ...

    def put(self, chunk: bytes) -> None:
        """Sends whole frames now."""
        ...

    def ping(self) -> Awaitable[None]:
        """Sends a frame without content, so that no proxy on the way closes the connection as idle."""
        ...

    async def finish(self, end: StreamEnd) -> None:
        """Sends what the reader is told of the end. The reply ends whole only where the stream is complete."""
        ...

    async def gone(self) -> None:
        """Returns when the reader has left."""
        ...

    def abort(self) -> None:
        """Drops the connection without waiting for a reader that does not read, where the server can."""
        ...
