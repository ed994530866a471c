"""What the asyncio HTTP client needs of the operating system. `connection` is the same for blocking code.

Both are written by hand; all that stands on them is written once, for asyncio, and generated for blocking code.
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

    @classmethod
    async def open(cls, address: Address, tls: ssl.SSLContext | None, ends_at: float) -> AsyncConnection:
        """Connects. Raises OSError."""
        async with _until(ends_at):
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls, limit=CHUNK_BYTES)
        return cls(reader, writer)

    async def send(self, message: bytes, ends_at: float) -> None:
        """Sends all of it. A server may reply before it has read everything: see `has_unsent`."""
        # Not waited for: the reply says more than a failure to send, and the deadline holds for the reply.
        self._writer.write(message)

    async def receive(self, ends_at: float) -> bytes:
        """What comes next, at most `CHUNK_BYTES`; nothing at the end. Raises OSError."""
        async with _until(ends_at):
            return await self._reader.read(CHUNK_BYTES)

    @property
    def has_unsent(self) -> bool:
        """Whether a part of what was sent has not left: the server has replied early and does not read on."""
        return self._writer.transport.get_write_buffer_size() > 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come on a connection that is kept; what comes there unasked is its end."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def interrupt(self) -> None:
        """Ends whatever waits for it, which has to `close` it."""
        self.close()

    def close(self) -> None:
        """Closes it at once: what was not sent is not wanted any more, and no TLS farewell is waited for."""
        self._writer.transport.abort()


class AsyncSignal:
    """Something that happens once and can be waited for. Unlike `asyncio.Event` it belongs to no event loop."""

    def __init__(self) -> None:
        """It has not happened."""
        self._happened = False
        self._waiting: set[asyncio.Future[None]] = set()

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._happened

    def set(self) -> None:
        """It has happened. From the event loop of those who wait."""
        self._happened = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Waits so long at most; whether it has happened."""
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
    """In what a connection can be used: another process or another event loop has to make its own."""
    try:
        return os.getpid(), asyncio.get_running_loop()
    except RuntimeError:
        return os.getpid(), None


async def connections_closed() -> None:
    """Waits until the sockets of closed connections are closed: their transports do it in the loop's next turn."""
    await asyncio.sleep(0)


def _until(ends_at: float) -> asyncio.Timeout:
    return asyncio.timeout(max(ends_at - time.monotonic(), 0.0))
