"""Server-sent events as a sink: one HTTP reply that is never whole until the stream ends."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from towerlog.asgi.push.sink import Cause, StreamEnd
from towerlog.asgi.replies import Headers, Message, Receive, Send
from towerlog.dialects.base import FrameStyle

PING = b": ping\n\n"


class SseSink:
    """Implements `Sink` over one ASGI HTTP conversation."""

    __slots__ = ("_abort", "_head", "_receive", "_send", "_style")

    def __init__(
        self, scope: Message, receive: Receive, send: Send, head: list[tuple[bytes, bytes]], style: FrameStyle
    ) -> None:
        """`head` as `stream_head` makes it; nothing is sent before `start`."""
        self._abort = _abort_of(scope)
        self._receive = receive
        self._send = send
        self._head = head
        self._style = style

    async def start(self) -> None:
        """The headers, and the style's prologue."""
        head, self._head = self._head, []
        await self._send({"type": "http.response.start", "status": 200, "headers": head})
        if self._style.prologue:
            await self.send(self._style.prologue)

    def send(self, chunk: bytes) -> Awaitable[None]:
        """Whole frames."""
        return self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    def ping(self) -> Awaitable[None]:
        """A comment."""
        return self.send(PING)

    async def finish(self, end: StreamEnd) -> None:
        """When to come back and the style's closing words, unless the stream has come to its own end."""
        words = b""
        if end.retry_ms is not None:
            words += b"retry: %d\n\n" % end.retry_ms
        if end.cause is not Cause.COMPLETE:
            words += self._style.closing
        await self._send({"type": "http.response.body", "body": words, "more_body": False})

    async def gone(self) -> None:
        """Until the client disconnects; what it sends before that is of no interest."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def abort(self) -> None:
        """Drops the connection if the server has lent us the means."""
        if self._abort is not None:
            self._abort()


def stream_head(trace_id: str, epoch: str, extra: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of every stream: nothing on the way may store, change or hold it back."""
    return [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-log-epoch", epoch.encode("ascii")),
        (b"x-trace-id", trace_id.encode("ascii")),
        *extra,
    ]


def _abort_of(scope: Message) -> Callable[[], None] | None:
    """How to drop the connection without waiting for a reader that does not read; the server tells, if it can."""
    with contextlib.suppress(KeyError, TypeError):
        abort: Callable[[], None] = scope["extensions"]["towerlog.abort"]
        return abort
    return None
