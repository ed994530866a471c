"""Real servers on loopback addresses for what goes out: they count connections, keep what came, and answer anything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from towerlog.ambient import SystemClock
from towerlog.egress.lookups import Resolve
from towerlog.egress.outcomes import EgressFailure, HttpAnswer, Undelivered
from towerlog.egress.outside import Outside, open_outside

Answer = Callable[["Connection"], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HERE = "127.0.0.0/8,::1"
ORG = "org-1"
EVERYWHERE = "::"


class Connection:
    """One accepted connection: what is read of it, and what is written to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = b""

    async def read_request(self) -> bytes:
        """The head, and the body of the length that it says."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.request = head + await self.reader.readexactly(length)
        return self.request

    async def say(self, data: bytes) -> None:
        """Written and on its way. Raises OSError where the connection is gone."""
        if self.writer.is_closing():
            # uvloop would raise something else.
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    @property
    def headers(self) -> dict[str, str]:
        """Of the request, by their names in lower case."""
        head = self.request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}

    @property
    def body(self) -> bytes:
        return self.request.partition(b"\r\n\r\n")[2]


class Receiver:
    """A listening server and all its connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections: list[Connection] = []
        self.ended = asyncio.Event()
        """Set when a handler has seen the end of its connection."""

    @property
    def count(self) -> int:
        return len(self.connections)


def saying(*parts: bytes) -> Answer:
    """Reads the request, then sends these bytes."""

    async def answer(connection: Connection) -> None:
        await connection.read_request()
        for part in parts:
            await connection.say(part)

    return answer


@contextlib.asynccontextmanager
async def receiving(
    answer: Answer | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Receiver]:
    """A server whose connections are answered by `answer`, then closed; with EVERYWHERE on all addresses there are."""
    receiver = Receiver(port)
    does = answer or saying(OK)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        receiver.connections.append(connection)
        try:
            # A client that goes away is not this server's trouble.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await does(connection)
        finally:
            receiver.ended.set()
            writer.close()

    family = socket.AF_INET if host.startswith("127.") else socket.AF_INET6
    listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == EVERYWHERE)
    server = await asyncio.start_server(handle, sock=listener, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for connection in receiver.connections:
            connection.writer.transport.abort()
        await server.wait_closed()


async def silent(connection: Connection) -> None:
    await connection.reader.read()


def answer_of(outcome: HttpAnswer | Undelivered) -> HttpAnswer:
    assert isinstance(outcome, HttpAnswer), outcome
    return outcome


def failure_of(outcome: HttpAnswer | Undelivered) -> EgressFailure:
    assert isinstance(outcome, Undelivered), outcome
    assert outcome.words
    assert outcome.words.isprintable()
    return outcome.failure


def resolving(names: Mapping[str, Sequence[str]], asked: list[str] | None = None) -> Resolve:
    """A resolver that knows these names alone, and notes which it was asked for."""

    def resolve(name: str, port: int) -> Sequence[str]:
        if asked is not None:
            asked.append(name)
        if name not in names:
            raise OSError("no such name")
        return names[name]

    return resolve


def outside(resolve: Resolve | None = None, **settings: Any) -> Outside:
    """The ways out, for loopback addresses unless the settings say otherwise."""
    settings.setdefault("egress_allow", HERE)
    return open_outside(SystemClock(), resolve=resolve or resolving({}), **settings)


class Watch:
    """Sees every connect and every look-up of the system that Python makes, while it is on."""

    def __init__(self) -> None:
        self.connects: list[Any] = []
        self.lookups: list[Any] = []
        self.is_on = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "socket.connect" and arguments[0].type != arguments[0].type.SOCK_DGRAM:
            self.connects.append(arguments[1])
        elif event == "socket.getaddrinfo" and arguments[0] is not None:
            self.lookups.append(arguments[0])


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    """An audit hook cannot be taken away again; this one does nothing once it is off."""
    watch = Watch()
    sys.addaudithook(watch.hook)
    watch.is_on = True
    try:
        yield watch
    finally:
        watch.is_on = False
