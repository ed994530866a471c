"""A connection to one of the addresses that were checked, and to nothing else; what is read on it is counted.

This is the network of `httpcore2`: whatever host a request names, it is connected to the addresses that this object was
made with. A name that has another address a moment later therefore changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address, ip_address
from typing import Any, TypeVar

import anyio
import httpcore2
from httpcore2 import SOCKET_OPTION, AsyncNetworkStream

from towerlog.egress.hosts import Address
from towerlog.egress.outcomes import EgressError, EgressFailure
from towerlog.egress.trust import what_of_tls

MAX_ADDRESSES = 4
"""Addresses of a host that are tried, one after the other."""
CONNECT_SECONDS = 3.0
"""For each of them: a host whose first address is dead is reached by the next."""
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
        with contextlib.suppress(httpcore2.ConnectError, OSError):
            async with asyncio.timeout(CONNECT_SECONDS):
                return await connect(address)
    raise EgressError(EgressFailure.NOT_CONNECTED, words)


class PinnedNetwork(httpcore2.AsyncNetworkBackend):
    """The network for one request."""

    def __init__(self, addresses: tuple[Address, ...], max_bytes: int) -> None:
        """`addresses` were checked, and are tried in turn. At most `max_bytes` are read."""
        self._addresses = addresses
        self._opened: AsyncNetworkStream | None = None
        self.left = max_bytes
        """Bytes that may still be read."""
        self.is_ended = False
        """Whether the other side has closed the connection."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the signature is the base class's
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first address that takes one. Raises EgressError where none does."""
        inner = httpcore2.AnyIOBackend()

        def to(address: Address) -> Awaitable[AsyncNetworkStream]:
            # The text of an address: nothing is looked up for it.
            return inner.connect_tcp(str(address), port, None, local_address, socket_options)

        self._opened = await first_connected(self._addresses, to, "nobody answers at the host's address and port")
        return _CountedStream(self._opened, self)

    async def close(self) -> None:
        """Closes what was opened, also where it was cancelled half-way; waits for nobody."""
        if self._opened is not None:
            with anyio.CancelScope(shield=True):
                await self._opened.aclose()


class _CountedStream(AsyncNetworkStream):
    """A connection that stops reading at its network's limit, and says in our words why it fails."""

    def __init__(self, inner: AsyncNetworkStream, network: PinnedNetwork) -> None:
        self._inner = inner
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Raises EgressError at the limit and when the connection is lost."""
        if not self._network.left:
            raise EgressError(EgressFailure.NOT_UNDERSTOOD, "the answer's head is too long")
        try:
            data = await self._inner.read(min(max_bytes, self._network.left), timeout)
        except (httpcore2.ReadError, OSError):
            # An OSError where TLS breaks: nobody translates those below.
            raise EgressError(EgressFailure.BROKEN_OFF, BROKEN_OFF) from None
        self._network.left -= len(data)
        self._network.is_ended = not data
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Lets a WriteError through: a server may answer and close before it has read all."""
        try:
            await self._inner.write(buffer, timeout)
        except OSError:
            raise EgressError(EgressFailure.BROKEN_OFF, BROKEN_OFF) from None

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> AsyncNetworkStream:
        """Raises EgressError with what is wrong about the certificate."""
        try:
            return _CountedStream(await self._inner.start_tls(ssl_context, server_hostname, timeout), self._network)
        except httpcore2.ConnectError as error:
            words = what_of_tls(error.__cause__, "the") or "no TLS connection could be made"
            raise EgressError(EgressFailure.TLS, words) from None

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
