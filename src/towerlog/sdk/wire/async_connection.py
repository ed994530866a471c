"""What the asyncio HTTP client needs of the operating system. `connection` is the same for blocking code.

Both are written by hand; everything above them is written once, for asyncio, and generated for blocking code.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time

from towerlog.sdk.wire.address import Address

CHUNK_BYTES = 65_536


class AsyncConnection:
    """A connection to a server. Each wait ends at a time of the monotonic clock, with TimeoutError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes over an open connection."""
        self._reader = reader
        self._writer = writer

    async def send(self, message: bytes, ends_at: float) -> None:
        """Sends all of it. A server may reply before it has read everything: see `has_unsent`."""
        # Not awaited: the reply is more useful than an error of sending, and the deadline applies to the reply.
        self._writer.write(message)

    async def receive(self, ends_at: float) -> bytes:
        """The next bytes, at most `CHUNK_BYTES`; empty at the end of the connection. Raises OSError."""
        async with _until(ends_at):
            return await self._reader.read(CHUNK_BYTES)

    @property
    def has_unsent(self) -> bool:
        """Whether a part was not sent: the server has replied early and stopped reading."""
        return self._writer.transport.get_write_buffer_size() > 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived on an idle connection: whatever does means that it was closed."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def interrupt(self) -> None:
        """Ends a wait in another task, which then has to `close` it."""
        self.close()

    def close(self) -> None:
        """Closes it at once: unsent data is dropped, and the end of TLS is not negotiated."""
        self._writer.transport.abort()


class AsyncHost:
    """Opens the connections to one server."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        """Looks nothing up yet."""
        self._address = address
        self._tls = tls

    async def open(self, ends_at: float) -> AsyncConnection:
        """Connects. Raises OSError, ValueError."""
        host, port = self._address.host, self._address.port
        async with _until(ends_at):
            reader, writer = await asyncio.open_connection(host, port, ssl=self._tls, limit=CHUNK_BYTES)
        return AsyncConnection(reader, writer)


class AsyncSignal:
    """A flag that is set once and can be waited for. Unlike `asyncio.Event` it is not bound to an event loop."""

    def __init__(self) -> None:
        """Not set."""
        self._happened = False
        self._waiting: set[asyncio.Future[None]] = set()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._happened

    def set(self) -> None:
        """Sets it. From the event loop of the tasks that wait."""
        self._happened = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Waits up to `seconds`; whether it is set."""
        if self._happened:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait((future,), timeout=seconds)
        finally:
            self._waiting.discard(future)
        return self._happened


def current_scope() -> object:
    """Identifies where a connection can be used: another process or event loop has to open its own."""
    try:
        return os.getpid(), asyncio.get_running_loop()
    except RuntimeError:
        return os.getpid(), None


async def connections_closed() -> None:
    """Waits until the sockets of closed connections are closed: their transports do it in the loop's next turn."""
    await asyncio.sleep(0)


def _until(ends_at: float) -> asyncio.Timeout:
    return asyncio.timeout(max(ends_at - time.monotonic(), 0.0))
