"""The server's HTTP/1.1 connection with what uvicorn leaves out: a deadline and a bound for a request's head.

Without them a sender that drips one byte at a time holds a socket for ever. It also lends a stream the means to drop a
connection whose reader takes nothing, and hands a POST that came whole to the application's short way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from towerlog.asgi.shortcut import Respond

HEAD_DEADLINE_S = 10.0
HEAD_BYTES_MAX = 64 * 1024


def _reply_whole(cycle: RequestResponseCycle, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> bool:
    """Sends a reply whose length is known, in one write instead of two messages; False where that cannot be.

    The names and values in `head` are ours, or were checked when they came: they are not searched again for line ends.
    """
    if cycle.disconnected or cycle.flow.write_paused or cycle.response_started or not cycle.keep_alive:
        return False
    if cycle.scope["method"] == "HEAD":
        return False
    _write_whole(cycle, status, head, body)
    return True


def _respond(cycle: RequestResponseCycle, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Answers a request that was taken the short way. What its sender did not wait for is dropped."""
    if cycle.disconnected or cycle.response_started:
        return
    if cycle.keep_alive:
        _write_whole(cycle, status, head, body)
        return
    # The server began to shut down in the meantime.
    _write_whole(cycle, status, [*head, (b"connection", b"close")], body)
    cycle.transport.close()


def _write_whole(cycle: RequestResponseCycle, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> None:
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *head):
        parts += (name, b": ", value, b"\r\n")
    parts += (b"\r\n", body)
    cycle.response_started = True
    cycle.response_complete = True
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    cycle.on_response()


def _body_at_once(cycle: RequestResponseCycle) -> bytes | None:
    """The whole body where it has come already, as most do with their head; None where it has to be waited for."""
    return None if cycle.more_body or cycle.disconnected else bytes(cycle.body)


class Connection(HttpToolsProtocol):
    """One connection. A head is under way from its first byte, and from the moment of connecting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As the server makes it."""
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = False
        self._feeding = False
        self._served: RequestResponseCycle | None = None
        self._whole: tuple[RequestResponseCycle, ASGI3Application] | None = None
        self._take: Callable[[Any, bytes, Respond], bool] | None = getattr(self.app, "take", None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_DEADLINE_S, self._head_overdue)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        self._stop_waiting()
        served = self._served
        if served is not None and not served.response_complete:
            # With another request behind it, it is not the one that the server would tell.
            served.disconnected = True
            served.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Serves what came whole; counts what belongs to a head that is not whole yet."""
        self._feeding = True
        super().data_received(data)
        self._feeding = False
        if self._whole is not None:
            self._serve_whole(*self._whole)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse("The request's head is too large.")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_DEADLINE_S, self._head_overdue)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Begins to serve a request. One whose body may still be in the bytes at hand waits for their end."""
        if self._feeding and app is self.app and cycle.scope["method"] == "POST":
            self._whole = (cycle, app)
            return
        self._served = cycle
        scope: Any = cycle.scope
        scope["extensions"] = {
            "towerlog.abort": self.transport.abort,
            "towerlog.reply": partial(_reply_whole, cycle),
            "towerlog.body": partial(_body_at_once, cycle),
        }
        super()._start_asgi_task(cycle, app)

    def _serve_whole(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Takes the short way with a request that is all here, and the usual one with any other."""
        self._whole, self._served = None, cycle
        if (
            cycle.more_body
            or not cycle.keep_alive
            or cycle.disconnected
            or cycle.flow.write_paused  # who does not read its replies waits for room, as on the long way
            or self._take is None
            or not self._take(cycle.scope, bytes(cycle.body), partial(_respond, cycle))
        ):
            self._start_asgi_task(cycle, app)

    def _stop_waiting(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_overdue(self) -> None:
        self._head_timer = None
        self._refuse("The request's head took too long.")

    def _refuse(self, message: str) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.send_400_response(message)
