"""The server's HTTP/1.1 connection with what uvicorn leaves out: a deadline and a bound for a request's head.

Without them a sender that drips one byte at a time holds a socket for ever. It also lends a stream the means to drop a
connection whose reader takes nothing.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

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
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *head):
        parts += (name, b": ", value, b"\r\n")
    parts += (b"\r\n", body)
    cycle.response_started = True
    cycle.response_complete = True
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    cycle.on_response()
    return True


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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_DEADLINE_S, self._head_overdue)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Lends the request its connection."""
        super().on_message_begin()
        self._in_head = True
        extensions: Any = {"towerlog.abort": self.transport.abort}
        self.scope["extensions"] = extensions

    def on_headers_complete(self) -> None:
        """The head is whole: lends the request the short way to answer it."""
        self._in_head = False
        self._stop_waiting()
        scope = self.scope
        super().on_headers_complete()
        if self.cycle.scope is scope:  # not so for an upgrade, which has no cycle of its own
            extensions: Any = scope["extensions"]
            extensions["towerlog.reply"] = partial(_reply_whole, self.cycle)
            extensions["towerlog.body"] = partial(_body_at_once, self.cycle)

    def data_received(self, data: bytes) -> None:
        """Counts what belongs to a head that is not whole yet."""
        super().data_received(data)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse("The request's head is too large.")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_DEADLINE_S, self._head_overdue)

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
