"""The server's HTTP/1.1 connection: a deadline and a bound for a request's head, and a direct way into the gate.

Without the deadline a sender that drips one byte at a time holds a socket for ever. It hands every request whose body
came whole to the application before there is a task for it, and lends a stream the means to drop a connection whose
reader takes nothing. All that is used of uvicorn's private parts is used here; `check_server` says whether it is there.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from towerlog.asgi.exchange import Exchange, Respond
from towerlog.errors import UnfitServer

HEAD_DEADLINE_S = 10.0
MAX_HEAD_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""As an option of a socket: closing it sends a reset."""
_PROBE = b"POST /probe HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nprobe"


def _reply_whole(cycle: RequestResponseCycle, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> bool:
    """Sends a reply whose length is known, in one write instead of two messages; False where that cannot be.

    The names and values in `head` are ours, or were checked when they came: they are not searched again for line ends.
    """
    if cycle.disconnected or cycle.flow.write_paused or cycle.response_started:
        return False
    _respond(cycle, status, head, body)
    return True


def _respond(cycle: RequestResponseCycle, status: int, head: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Sends a whole reply now, whether or not there is room. What its sender did not wait for is dropped."""
    if cycle.disconnected or cycle.response_started:
        return
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *head):
        parts += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", b"" if cycle.scope["method"] == "HEAD" else body)
    cycle.response_started = True
    cycle.response_complete = True
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _break_off(cycle: RequestResponseCycle) -> None:
    """Ends the connection after what was written, and the reply without its end."""
    # For the server: whoever is disconnected needs no end of his reply.
    cycle.disconnected = True
    cycle.message_event.set()
    if cycle.scope["http_version"] != "1.0":
        cycle.transport.close()
        return
    # The end of such a reply is the end of its connection: only a reset says that more was to come.
    found = cycle.transport.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    cycle.transport.abort()


def _unframed(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """For HTTP/1.0, which has no chunks: a reply of unknown length is sent as it is, up to the connection's end."""
    cycle.chunked_encoding = False

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            # The server holds the body against a declared length, of which there is none here.
            cycle.expected_content_length = len(message.get("body", b""))
        await cycle.send(message)

    async def unframed(scope: Any, receive: Any, _: Any) -> None:
        await app(scope, receive, send)

    return unframed


def _body_at_hand(cycle: RequestResponseCycle) -> bytes | None:
    """Takes out the whole body where it has come already; None where it has to be waited for."""
    if cycle.more_body or cycle.disconnected:
        return None
    body = bytes(cycle.body)
    cycle.body = bytearray()
    return body


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
        self._newest: tuple[RequestResponseCycle, ASGI3Application] | None = None
        self._take: Callable[[Any, bytes, Respond], Exchange | None] | None = getattr(self.app, "take", None)

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

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. The blanks around a value are no part of it (RFC 9110, 5.5); the parser leaves those after it."""
        super().on_header(name, value.strip(b" \t"))

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
        if self._newest is not None:
            self._serve(*self._newest)
        if not self._in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse("The request's head is too large.")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_DEADLINE_S, self._head_overdue)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Called by uvicorn for each request. One whose body may still be in the bytes at hand waits for their end."""
        if self._feeding and app is self.app:
            self._newest = (cycle, app)
        else:
            self._start_task(cycle, app, None)

    def _serve(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Lets the application take a request that is all here; has a task serve what it leaves, and any other.

        Who does not read replies gets a task, which waits for room: otherwise replies would pile up without bound.
        """
        self._newest = None
        exchange = None
        if self._take is not None and not cycle.flow.write_paused:
            body = _body_at_hand(cycle)
            if body is not None:
                self._served = cycle
                exchange = self._take(cycle.scope, body, partial(_respond, cycle))
                if exchange is None:
                    return
        self._start_task(cycle, app, exchange)

    def _start_task(self, cycle: RequestResponseCycle, app: ASGI3Application, exchange: Exchange | None) -> None:
        self._served = cycle
        scope: Any = cycle.scope
        scope["extensions"] = {
            "towerlog.abort": self.transport.abort,
            "towerlog.break_off": partial(_break_off, cycle),
            "towerlog.reply": partial(_reply_whole, cycle),
            "towerlog.body": partial(_body_at_hand, cycle),
            "towerlog.exchange": exchange,
        }
        super()._start_asgi_task(cycle, app if scope["http_version"] != "1.0" else _unframed(cycle, app))

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


# Whether the server works as this module needs it


class _ProbeTransport(asyncio.Transport):
    """A transport that goes nowhere and keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self._closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True


class _ProbeApp:
    """An application that answers what it can take, and remembers that it could."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def take(self, scope: Any, body: bytes, respond: Respond) -> None:
        self.taken.append(body)
        respond(204, [], b"")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def check_server(protocol: type[asyncio.Protocol] = Connection) -> None:
    """Sends one request through a real connection of this class. Raises UnfitServer unless it is taken directly.

    uvicorn's private parts may change with any version; without the hook, requests would be answered all the same, but
    each of them by a task, and nobody would be told.
    """
    app, transport = _ProbeApp(), _ProbeTransport()
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False, proxy_headers=False)
    state = ServerState()
    try:
        connection: Any = protocol(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
        connection.connection_made(transport)
        connection.data_received(_PROBE)
        taken = app.taken == [b"probe"] and transport.written.startswith(b"HTTP/1.1 204 ")
        connection.connection_lost(None)
        if state.tasks:
            await asyncio.wait(state.tasks)
    except (AttributeError, TypeError) as error:
        raise UnfitServer(f"uvicorn {uvicorn.__version__} cannot be used: {error}") from error
    if not taken:
        raise UnfitServer(
            f"uvicorn {uvicorn.__version__} cannot be used: requests do not come to the server directly; "
            "install a version that towerlog names in its dependencies"
        )
