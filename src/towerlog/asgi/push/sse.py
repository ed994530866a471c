"""Server-sent events as a sink: one HTTP reply that is never whole until the stream ends."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from towerlog.asgi.push.sink import Cause, StreamEnd
from towerlog.asgi.replies import Headers, Message, Receive, Send
from towerlog.dialects.base import FrameStyle, RowStyle

PING = b": ping\n"
"""Without an empty line: to some readers that would be an event without content."""


class SseSink:
    """Implements `Sink` over one ASGI HTTP conversation."""

    __slots__ = ("_abort", "_break_off", "_head", "_receive", "_send", "_style", "has_room", "put")

    def __init__(
        self,
        scope: Message,
        receive: Receive,
        send: Send,
        head: list[tuple[bytes, bytes]],
        style: FrameStyle | RowStyle,
    ) -> None:
        """`head` as `stream_head` makes it; nothing is sent before `start`."""
        self._abort: Callable[[], None] | None = _lent(scope, "towerlog.abort")
        self._break_off: Callable[[], None] | None = _lent(scope, "towerlog.break_off")
        self.has_room: Callable[[], bool] = _lent(scope, "towerlog.has_room") or _never
        self.put: Callable[[bytes], None] = _lent(scope, "towerlog.put") or _nothing
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
        """Ends the reply whole where the stream has come to its own end.

        Otherwise when to come back and the style's closing words are sent, and the reply is broken off: without its
        last chunk no reader takes it for the end, and every one of them connects again.
        """
        if end.cause is Cause.COMPLETE:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        words = b"" if end.retry_ms is None else b"retry: %d\n" % end.retry_ms
        words += self._style.closing
        if words:
            await self.send(words)
        if self._break_off is not None:
            self._break_off()

    async def gone(self) -> None:
        """Until the client disconnects; what it sends before that is of no interest."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def abort(self) -> None:
        """Drops the connection if the server has lent us the means."""
        if self._abort is not None:
            self._abort()


def stream_head(trace_id: str, epoch: str, extra: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of every stream: nothing on the way may store, change or hold it back.

    The type has no charset, which is UTF-8 in any case: some readers compare the whole value.
    """
    return [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-log-epoch", epoch.encode("ascii")),
        (b"x-trace-id", trace_id.encode("ascii")),
        *(one for one in extra if one[0] != b"cache-control"),
    ]


def _never() -> bool:
    """A server that lends no way to send at once has no room."""
    return False


def _nothing(chunk: bytes) -> None:
    """Is not called where there is no room."""


def _lent(scope: Message, name: str) -> Any:
    """What our server lends beyond ASGI; None from any other, whose own way is then the only one."""
    with contextlib.suppress(KeyError, TypeError):
        return scope["extensions"][name]
    return None
