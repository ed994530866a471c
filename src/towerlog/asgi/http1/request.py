"""One request in hand on a connection, from the end of its head to the end of its reply; and its ASGI conversation.

A request that came whole and is answered at once needs no conversation: the connection writes its reply itself.
"""

from __future__ import annotations

import asyncio
import http
import socket
import struct
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec
import structlog

from towerlog.asgi.exchange import Successor
from towerlog.asgi.guard.arrivals import Visit
from towerlog.asgi.replies import Message
from towerlog.asgi.shares.share import Hold, Resource, Share
from towerlog.errors import EXHAUSTED

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
_BODILESS = frozenset({204, 304})
JOINED_BYTES = 16 * 1024
"""Parts of a reply up to here are copied into one write; of a larger one all its readers share the same bytes."""
_RESET = struct.pack("ii", 1, 0)
"""As an option of a socket: closing it sends a reset."""

_log = structlog.get_logger("towerlog.connection")


class Link(Protocol):
    """What a request needs of its connection."""

    transport: asyncio.Transport
    is_write_paused: bool
    given_bytes: int

    def head_of(self, request: PendingRequest, status: int, head: list[tuple[bytes, bytes]]) -> list[bytes]:
        """The parts of a reply's head, its last line end not among them. The reply has begun."""
        ...

    def respond(self, request: PendingRequest, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Sends a whole reply now."""
        ...

    def switch(self, request: PendingRequest, head: list[tuple[bytes, bytes]], successor: Successor) -> bool:
        """Says that it switches, and does."""
        ...

    def want_body(self, request: PendingRequest) -> None:
        """Reads on; the sender may wait to be asked for its body."""
        ...

    def replied(self, request: PendingRequest) -> None:
        """The reply is whole."""
        ...

    def close(self) -> None:
        """Ends the connection after what was written."""
        ...

    async def drain(self) -> None:
        """Returns when there is room for more, or nobody to take it."""
        ...


class PendingRequest(msgspec.Struct, eq=False):
    """One request in hand. Its connection fills it in."""

    link: Link
    visit: Visit
    scope: Message
    keep_alive: bool
    """Whether its connection may serve another request after it."""
    is_old: bool = False
    """HTTP/1.0: no chunks, and the end of the connection is the end of the reply."""
    expects: bool = False
    """Its sender waits to be asked for the body."""
    body: bytes | bytearray = b""
    """What has come of the body and was not taken yet."""
    is_wanted: bool = False
    """Whoever serves it has asked for its body."""
    received_bytes: int = 0
    """What has come of the body at all."""
    is_whole: bool = False
    """Its body has come to its end."""
    is_told: bool = False
    """Its end was told to whoever reads the body."""
    is_gone: bool = False
    """There is nobody to answer."""
    is_started: bool = False
    is_complete: bool = False
    fault: Exception | None = None
    """Why its body will never be whole, although its sender can still be answered."""
    held_bytes: int = 0
    """How much of `body` is counted, in `shares`."""
    shares: tuple[Share, ...] = ()
    hold: Hold | None = None
    """By which it can be given up for others."""
    waiter: asyncio.Future[None] | None = None
    is_chunked: bool = False
    left_bytes: int = -1
    """What is still to come of a reply whose length was declared; -1 where it was not."""

    def hear(self) -> None:
        """Something has changed that `receive` may wait for."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def take_body(self) -> bytes:
        """What has come of the body, to whoever counts it from now on."""
        body, self.body = bytes(self.body), b""
        self.is_told = self.is_whole
        self.uncount()
        return body

    def note_body(self) -> None:
        """Counts what has come of the body, as it comes, and tells whoever waits for it. Raises Overloaded."""
        grown = len(self.body) - self.held_bytes
        if grown > 0:
            shares = self.shares or self.visit.shares
            self.visit.ledger.take_bytes(shares, grown, self.held_bytes)
            self.held_bytes += grown
            if self.hold is None:
                self.shares, self.hold = shares, Hold(self.give_up, lambda: self.held_bytes)
                shares[0].offer(Resource.BYTES, self.hold)
            self.hear()

    def give_up(self) -> None:
        """Its body is given up for somebody who holds less."""
        self.fail(self.visit.ledger.given_up())

    def fail(self, fault: Exception) -> None:
        """Its body will never be whole: whoever reads it is told why."""
        self.fault, self.body = fault, b""
        self.uncount()
        self.hear()

    def uncount(self) -> None:
        """What has come of the body is not counted here any more."""
        if self.hold is not None:
            self.shares[0].withdraw(Resource.BYTES, self.hold)
        for share in self.shares:
            share.free_bytes += self.held_bytes
        self.held_bytes, self.shares, self.hold = 0, (), None

    def whole_body(self) -> bytes | None:
        """Takes out the whole body where it has come already; None where it has to be waited for."""
        return self.take_body() if self.is_whole and not self.is_gone and self.fault is None else None

    # Its conversation, with a task that serves it

    def serve(self, app: Any, exchange: Any) -> Coroutine[Any, Any, None]:
        """The application's work for it, to be a task; `exchange` is what it knows of it. What it lends ASGI lacks."""
        self.scope["extensions"] = {
            "towerlog.abort": self.link.transport.abort,
            "towerlog.break_off": self.break_off,
            "towerlog.reply": self.reply_whole,
            "towerlog.switch": self.switch,
            "towerlog.has_room": self.has_room,
            "towerlog.put": self.put,
            "towerlog.body": self.whole_body,
            "towerlog.hold": self.visit.hold_body,
            "towerlog.exchange": exchange,
        }
        work: Coroutine[Any, Any, None] = app(self.scope, self.receive, self.send)
        return work

    def served(self, task: asyncio.Task[None]) -> None:
        """The task has ended; where there is no whole reply, that is made up for."""
        # Without this, each request would leave a reference cycle.
        del self.scope["extensions"]
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            _log.error("the application failed", exc_info=fault)
        self.make_up(fault)

    def make_up(self, fault: BaseException | None) -> None:
        """Sees to it that there is an end, where there is no whole reply."""
        if not (self.is_complete or self.is_gone):
            if self.is_started:
                self.break_off()
            elif isinstance(fault, EXHAUSTED):
                self.visit.lack()
                self.link.respond(self, 503, [(b"retry-after", b"1"), (b"content-length", b"0")], b"")
            else:
                self.link.respond(self, 500, [(b"content-length", b"0")], b"")

    def reply_whole(self, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """Sends a reply whose length is known, in one write instead of two messages; False where that cannot be."""
        if self.is_gone or self.is_started or self.link.is_write_paused:
            return False
        self.link.respond(self, status, head, body)
        return True

    async def switch(self, head: list[tuple[bytes, bytes]], successor: Successor) -> bool:
        """Hands the connection over, for which it was asked by this request; False where that cannot be."""
        if self.link.is_write_paused and not self.is_gone:
            await self.link.drain()
        return not (self.is_gone or self.is_started) and self.link.switch(self, head, successor)

    def has_room(self) -> bool:
        """Whether `put` may be called."""
        return self.is_started and not (self.is_complete or self.is_gone or self.link.is_write_paused)

    def put(self, body: bytes) -> None:
        """Sends a part of the reply now; more is to come."""
        self._go_on(body, True)

    async def receive(self) -> Message:
        """More of the body; after its end, and after the end of the reply, waits until there is nobody to answer."""
        while not (self.is_gone or self.is_complete or self.fault is not None):
            if self.body or (self.is_whole and not self.is_told):
                return {"type": "http.request", "body": self.take_body(), "more_body": not self.is_whole}
            self.link.want_body(self)
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        return {"type": "http.disconnect", "fault": self.fault}

    async def send(self, message: Message) -> None:
        """The next part of the reply, when there is room for it; nothing where there is nobody to answer.

        Returns when there is room for another: else whoever sends would hold that as well, and nobody could count it.
        """
        if self.link.is_write_paused and not self.is_gone:
            await self.link.drain()
        if self.is_gone:
            return
        if message["type"] == "http.response.start":
            self._begin(message["status"], message["headers"])
        else:
            self._go_on(message.get("body", b""), message.get("more_body", False))
        del message
        if self.link.is_write_paused and not self.is_complete:
            await self.link.drain()

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.is_started:
            raise RuntimeError("a reply was begun twice")
        length = next((value for name, value in headers if name == b"content-length"), None)
        self.left_bytes = -1 if length is None or self.scope["method"] == "HEAD" else int(length)
        parts = self.link.head_of(self, status, headers)
        if length is None and not self.is_old and self.scope["method"] != "HEAD" and status not in _BODILESS:
            self.is_chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n")
        self.link.given_bytes = 0
        self.link.transport.write(b"".join(parts))

    def _go_on(self, body: bytes, is_more: bool) -> None:
        if not self.is_started or self.is_complete:
            raise RuntimeError("a part of a reply was sent before its beginning or after its end")
        if self.scope["method"] != "HEAD":
            if self.left_bytes >= 0:
                self.left_bytes -= len(body)
                if self.left_bytes < 0 or (self.left_bytes and not is_more):
                    raise RuntimeError("a reply is longer or shorter than it has said")
            self._write(body, is_more)
        if not is_more:
            self.link.replied(self)

    def _write(self, body: bytes, is_more: bool) -> None:
        transport, self.link.given_bytes = self.link.transport, len(body)
        if not self.is_chunked:
            transport.write(body)
            return
        begin, end = b"%x\r\n" % len(body) if body else b"", b"\r\n" if body else b""
        if not is_more:
            end += b"0\r\n\r\n"
        if len(body) > JOINED_BYTES:
            transport.writelines((begin, body, end))
        else:
            transport.write(b"".join((begin, body, end)))

    def break_off(self) -> None:
        """Ends the connection after what was written, and the reply without its end."""
        # Whoever is gone needs no end of his reply.
        self.is_gone = True
        self.hear()
        transport = self.link.transport
        if not self.is_old:
            self.link.close()
            return
        # The end of such a reply is the end of its connection: only a reset says that more was to come.
        found = transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()


NO_PLACE, NO_PLACE_RETRY_S = "The connection was closed to make place for another.", 1


def plain_refusal(status: int, message: str, retry_after: int | None = None) -> bytes:
    """A whole reply in plain words, for what is refused before anybody knows in which dialect it was meant."""
    later = b"" if retry_after is None else b"retry-after: %d\r\n" % retry_after
    text = message.encode("ascii", "replace")
    head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(text)
    return STATUS_LINES[status] + head + later + b"\r\n" + text
