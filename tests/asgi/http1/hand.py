"""A connection whose packets, and whose reader, are in the test's hand: what comes together is not left to a kernel."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from towerlog.asgi.connection import Connection
from towerlog.asgi.guard.addresses import Addresses
from towerlog.asgi.guard.arrivals import Arrivals
from towerlog.asgi.guard.ledger import ShareLedger
from towerlog.asgi.shares.share import Resource

HERE = ("127.0.0.1", 50_000)


class HandTransport(asyncio.Transport):
    """Keeps what is written; the reader takes all of it at once, or while it is `slow` only what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.link: Any = None
        self.taken = b""
        self.unread = b""
        self.is_slow = False
        self.is_reading = True
        self.when_reading: Callable[[], None] | None = None
        """Called once, in the turn of the event loop after reading has been resumed."""
        self.has_ended = False
        self._is_closing = False
        self._is_paused = False
        self._high_bytes = 65_536

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self._high_bytes = high

    def write(self, data: Any) -> None:
        self.unread += bytes(data)
        if not self.is_slow:
            self.taken, self.unread = self.taken + self.unread, b""
        elif len(self.unread) > self._high_bytes and not self._is_paused:
            self._is_paused = True
            self.link.pause_writing()

    def take(self, count: int | None = None) -> None:
        """The reader takes so much of what there is now; all of it unless told."""
        count = len(self.unread) if count is None else count
        self.taken, self.unread = self.taken + self.unread[:count], self.unread[count:]
        if self._is_paused and len(self.unread) <= self._high_bytes // 4:
            self._is_paused = False
            self.link.resume_writing()

    @property
    def statuses(self) -> list[int]:
        """Of the replies that were taken."""
        return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+) ", self.taken)]

    def write_eof(self) -> None:
        self.has_ended = True

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self.has_ended = self._is_closing = True

    def abort(self) -> None:
        self.has_ended = self._is_closing = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True
        due, self.when_reading = self.when_reading, None
        if due is not None:
            asyncio.get_running_loop().call_soon(due)

    def set_protocol(self, protocol: Any) -> None:
        self.link = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return HERE if name == "peername" else default


class Taking:
    """Takes each whole request and answers it with the length of its body; what is left to a task, in the same way.

    `/later` is answered when the test calls what is in `open`; `/task` is left to a task.
    """

    def __init__(self, max_bytes: int = 400_000, connections: int = 100) -> None:
        self.ledger = ShareLedger(max_bytes, {Resource.CONNECTION: connections}, {})
        self.arrivals = Arrivals(self.ledger, Addresses())
        self.done: list[tuple[str, bytes]] = []
        """What the application has done: path, body."""
        self.open: list[Any] = []
        self.scopes: list[Any] = []

    def take(self, scope: Any, body: bytes, respond: Any) -> Any:
        self.scopes.append(scope)
        if scope["path"] == "/task":
            return body
        if scope["path"] == "/later":
            self.open.append(respond)
        else:
            self.done.append((scope["path"], body))
            respond(200, *_reply(body))
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        lent = scope["extensions"]
        body = lent["towerlog.exchange"]
        if body is None:
            body = lent["towerlog.body"]()
        status = 200
        if body is None:
            body, message = b"", {"more_body": True}
            while message.get("more_body"):
                message = await receive()
                body += message.get("body", b"")
            status = 200 if message["type"] == "http.request" else 503
        if status == 200:
            self.done.append((scope["path"], body))
        head, text = _reply(body)
        if not lent["towerlog.reply"](status, head, text):
            await send({"type": "http.response.start", "status": status, "headers": head})
            await send({"type": "http.response.body", "body": text})


def _reply(body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    text = b"%d" % len(body)
    return [(b"content-length", b"%d" % len(text))], text


def linked(app: Any) -> tuple[Connection, HandTransport]:
    """A connection of the application, and its transport."""
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False)
    link, transport = Connection(config, ServerState(), {}), HandTransport()
    transport.link = link
    link.connection_made(transport)
    return link, transport


def get(path: str) -> bytes:
    """A request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A request with a body."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
