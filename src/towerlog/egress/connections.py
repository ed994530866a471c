"""A connection to one of the addresses that were checked, and to nothing else; what is read on it is counted and paced.

Who answers chooses not only how much comes but also in how many pieces, and each piece is work on the event loop.
Therefore all connections of a process go on in turns, one for each turn of the loop, and on one that sends many small
pieces they are left to gather before they are read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import IPv4Address, ip_address
from typing import Any, TypeVar

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from towerlog.egress.hosts import Address
from towerlog.egress.outcomes import EgressError, EgressFailure
from towerlog.egress.trust import what_of_tls

MAX_ADDRESSES = 4
"""Addresses of a host that are tried, one after the other."""
CONNECT_SECONDS = 3.0
"""For each of them: a host whose first address is dead is reached by the next."""
PROMPT_READS = 64
"""Reads of a connection that follow each other at once; further ones have GATHER_SECONDS between them."""
GATHER_SECONDS = 0.05
MAX_READ_BYTES = 16 * 1024
"""Of one read, and so of what is deciphered in one turn of the event loop."""
MAX_TLS_BYTES = 128 * 1024
"""What TLS may need beside the bytes that it carries: certificates, tickets, the frames of its records."""
BROKEN_OFF = "the connection was closed before the answer was there"
_ANY_PORT = 9

T = TypeVar("T")


def is_own(address: Address) -> bool:
    """Whether the address is one of this machine's own, public ones included: the way there begins at itself.

    Nothing is sent: a datagram socket only learns by which address it would send.
    """
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), _ANY_PORT))
        except OSError:
            # No way there at all, so not by itself either.
            return False
        return ip_address(probe.getsockname()[0].partition("%")[0]) == address


def in_order(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """At most MAX_ADDRESSES, by turns of the two families, the first one first: one of them may not work here."""
    kept = list(addresses)
    first = [one for one in kept if one.version == kept[0].version]
    second = [one for one in kept if one.version != kept[0].version]
    turns = sorted([*enumerate(first), *enumerate(second)], key=lambda turn: turn[0])
    return tuple(one for _, one in turns)[:MAX_ADDRESSES]


async def first_connected(addresses: Iterable[Address], connect: Callable[[Address], Awaitable[T]], words: str) -> T:
    """What `connect` gives for the first address that takes a connection. Raises EgressError where none does."""
    for address in in_order(addresses):
        # A TimeoutError is an OSError.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CONNECT_SECONDS):
                return await connect(address)
    raise EgressError(EgressFailure.NOT_CONNECTED, words)


class ReadingTurns:
    """One for all connections of a process: in a turn of the event loop only one of them goes on."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Waits until it is the caller's turn; what it does until it waits again is all of that turn."""
        async with self._lock:
            await asyncio.sleep(0)


class OutgoingConnection:
    """A connection for one request."""

    def __init__(self, turns: ReadingTurns, max_bytes: int) -> None:
        """Not connected yet. At most `max_bytes` are read."""
        self._turns = turns
        self._opened: _PacedStream | None = None
        self._stream: ByteStream | None = None
        self._left = max_bytes

    async def open(self, addresses: tuple[Address, ...], port: int) -> None:
        """Connects to the first address that takes it; they were checked. Raises EgressError where none does."""

        def to(address: Address) -> Awaitable[ByteStream]:
            # The text of an address: nothing is looked up for it.
            return anyio.connect_tcp(str(address), port)

        inner = await first_connected(addresses, to, "nobody answers at the host's address and port")
        self._opened = self._stream = _PacedStream(inner, self._turns, self._left + MAX_TLS_BYTES)

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """TLS with whom `name` stands for. Raises EgressError with what is wrong about the certificate."""
        assert self._opened is not None
        try:
            self._stream = await TLSStream.wrap(
                self._opened, hostname=name, ssl_context=context, server_side=False, standard_compatible=False
            )
        except (anyio.BrokenResourceError, anyio.EndOfStream, OSError) as error:
            words = what_of_tls(error, "the") or "no TLS connection could be made"
            raise EgressError(EgressFailure.TLS, words) from None

    async def send(self, data: bytes) -> None:
        """Sends all of it, or as much as is taken: a server may answer and close before it has read all."""
        assert self._stream is not None
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            try:
                await self._stream.send(data)
            except OSError:
                raise EgressError(EgressFailure.BROKEN_OFF, BROKEN_OFF) from None

    async def read(self) -> bytes:
        """What comes next, in a turn of its own; empty at the end. Raises EgressError at the limit and when the
        connection is lost."""
        assert self._stream is not None
        if not self._left:
            raise EgressError(EgressFailure.NOT_UNDERSTOOD, "the answer's head is too long")
        try:
            data = await self._stream.receive(min(MAX_READ_BYTES, self._left))
        except anyio.EndOfStream:
            return b""
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise EgressError(EgressFailure.BROKEN_OFF, BROKEN_OFF) from None
        self._left -= len(data)
        await self._turns.take()
        return data

    async def close(self) -> None:
        """Closes what was opened, also where it was cancelled half-way; waits for nobody."""
        if self._opened is not None:
            with anyio.CancelScope(shield=True):
                await self._opened.aclose()


class _PacedStream(ByteStream):
    """What comes off the network, below TLS: so much and no more, in turns, and not in more reads than are needed."""

    def __init__(self, inner: ByteStream, turns: ReadingTurns, max_bytes: int) -> None:
        self._inner = inner
        self._turns = turns
        self._left = max_bytes
        self._reads = 0

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        if self._left <= 0:
            raise EgressError(EgressFailure.NOT_UNDERSTOOD, "more has come than TLS can need for an answer")
        self._reads += 1
        if self._reads > PROMPT_READS:
            await asyncio.sleep(GATHER_SECONDS)
        data = await self._inner.receive(min(max_bytes, MAX_READ_BYTES))
        self._left -= len(data)
        await self._turns.take()
        return data

    async def send(self, item: bytes) -> None:
        await self._inner.send(item)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._inner.extra_attributes
