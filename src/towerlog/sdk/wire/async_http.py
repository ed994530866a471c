"""HTTP/1.1 over asyncio streams: the twin of `http`, with the same caps and manners.

An `AsyncHttp` belongs to one event loop at a time and is shared by its tasks; used on another loop, or after a fork,
it begins with connections of its own. A request that is cancelled closes its connection.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from towerlog.sdk.wire.address import (
    IDLE_MAX,
    RESPONSE_BYTES_MAX,
    SILENCE_S,
    TIMEOUT_S,
    Lines,
    Response,
    checked_key,
    checked_path,
    read_url,
    refuse_redirect,
    request_headers,
    tls_context,
)
from towerlog.sdk.wire.errors import BadAnswer, Unreachable

__all__ = ["AsyncHttp", "AsyncStream", "Response"]

CHUNK_BYTES = 65_536
HEAD_BYTES_MAX = 65_536
SAFE_METHODS = frozenset({"GET", "HEAD"})


class _Stale(Exception):
    """A kept connection turned out to be closed before it brought anything."""


@dataclass(eq=False)
class _Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        # What was not sent is not wanted any more, and a TLS farewell is nothing to wait for.
        self.writer.transport.abort()


@dataclass
class _Head:
    """A reply's first lines, and what they say about its body."""

    status: int
    headers: dict[str, str]
    will_close: bool
    chunked: bool
    length: int | None
    """None: to the end of the connection."""


class AsyncStream:
    """A reply that goes on: its status, its headers, and its lines as they come. Close it, or use `async with`."""

    def __init__(self, wire: _Wire, head: _Head, silence_s: float) -> None:
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._wire = wire
        self._head = head
        self._silence_s = silence_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Lines without their ends, until the server ends the stream. Raises Unreachable when it breaks."""
        lines = Lines()
        chunks = _chunks(self._wire.reader, self._head)
        try:
            while chunk := await self._next(chunks):
                for line in lines.feed(chunk):
                    yield line
        except (OSError, EOFError, ValueError) as error:
            raise Unreachable(_words(error)) from None
        finally:
            self.close()

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes:
        async with asyncio.timeout(self._silence_s):
            return await anext(chunks, b"")

    async def read(self) -> bytes:
        """All of a reply that turned out to be no stream, up to the cap."""
        try:
            async with asyncio.timeout(self._silence_s):
                return await _body_of(self._wire.reader, self._head)
        except (OSError, EOFError, ValueError) as error:
            raise Unreachable(_words(error)) from None
        finally:
            self.close()

    def close(self) -> None:
        """Ends it."""
        self._wire.close()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class AsyncHttp:
    """Requests to one server with one key."""

    def __init__(self, url: str, api_key: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Connects to nothing yet. Raises ValueError for a URL or a key that cannot be one."""
        self.address = read_url(url)
        self._api_key = checked_key(api_key)
        self._timeout_s = timeout_s
        self._tls = tls_context(self.address)
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._idle: deque[_Wire] = deque(maxlen=IDLE_MAX)

    def __repr__(self) -> str:
        return f"AsyncHttp({str(self.address)!r})"

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """One exchange; any status is a reply. `timeout_s` is for the whole. Raises Unreachable."""
        message = self._message(method, path, body, headers)
        ends_at = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                async with asyncio.timeout(max(ends_at - time.monotonic(), 0.001)):
                    reply = await self._exchange(method, message)
                refuse_redirect(reply.status)
                return reply
            except _Stale:
                # The server may have seen it when it closed: only what changes nothing is sent once more.
                if method not in SAFE_METHODS:
                    raise Unreachable(f"{self.address}: the connection was closed by the server") from None
            except (OSError, EOFError, ValueError) as error:
                raise Unreachable(f"{self.address}: {_words(error)}") from None

    async def stream(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, silence_s: float = SILENCE_S
    ) -> AsyncStream:
        """A reply that goes on, on a connection of its own. `silence_s` is how long it may say nothing, in seconds."""
        message = self._message(method, path, None, headers)
        try:
            async with asyncio.timeout(self._timeout_s):
                wire = await self._opened()
                try:
                    wire.writer.write(message)
                    head = await _read_head(wire.reader, method)
                    refuse_redirect(head.status)
                except BaseException:
                    wire.close()
                    raise
        except (OSError, EOFError, ValueError) as error:
            raise Unreachable(f"{self.address}: {_words(error)}") from None
        return AsyncStream(wire, head, silence_s)

    async def close(self) -> None:
        """Closes the connections that are kept. Can be used again."""
        while self._idle:
            self._idle.pop().close()
        # The transports tell their sockets in the loop's next turn.
        await asyncio.sleep(0)

    def _message(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None) -> bytes:
        given = request_headers(self.address, self._api_key, headers)
        if body is not None or method in ("POST", "PUT", "PATCH"):
            given["Content-Length"] = str(len(body or b""))
        lines = [f"{method} {checked_path(self.address, path)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in given.items()]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")

    async def _exchange(self, method: str, message: bytes) -> Response:
        wire, kept = await self._take()
        try:
            wire.writer.write(message)
            try:
                head = await _read_head(wire.reader, method)
            except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError) as error:
                if kept and not getattr(error, "partial", b""):
                    raise _Stale from None
                raise
            body = await _body_of(wire.reader, head)
        except BaseException:
            wire.close()
            raise
        # A server that answers before it has all of the body will not read on.
        if head.will_close or wire.writer.transport.get_write_buffer_size() or len(self._idle) >= IDLE_MAX:
            wire.close()
        else:
            self._idle.append(wire)
        return Response(head.status, head.headers, body)

    async def _take(self) -> tuple[_Wire, bool]:
        """A connection and whether it has been used before."""
        here = (os.getpid(), asyncio.get_running_loop())
        if self._owner != here:
            # The others are watched by a loop that is not this one.
            self._idle.clear()
            self._owner = here
        while self._idle:
            wire = self._idle.pop()
            if not wire.reader.at_eof() and not wire.writer.is_closing():
                return wire, True
            wire.close()
        return await self._opened(), False

    async def _opened(self) -> _Wire:
        address = self.address
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=self._tls, limit=HEAD_BYTES_MAX)
        return _Wire(reader, writer)


async def _read_head(reader: asyncio.StreamReader, method: str) -> _Head:
    """The final head; what comes before it (1xx) is passed over. Raises ValueError for what is not HTTP."""
    while True:
        try:
            block = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise BadAnswer("the reply's head is too long") from None
        first, *lines = block[:-4].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError("no HTTP")
        status = int(rest[:3])
        if status >= 200:
            return _understood(version, status, lines, method)


def _understood(version: str, status: int, lines: list[str], method: str) -> _Head:
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    length: int | None = int(headers["content-length"]) if "content-length" in headers and not chunked else None
    if method == "HEAD" or status in (204, 304):
        chunked, length = False, 0
    ends_with_connection = length is None and not chunked
    will_close = "close" in connection or ends_with_connection
    if version == "HTTP/1.0" and "keep-alive" not in connection:
        will_close = True
    return _Head(status, headers, will_close, chunked, length)


async def _body_of(reader: asyncio.StreamReader, head: _Head) -> bytes:
    body = bytearray()
    async for chunk in _chunks(reader, head):
        body += chunk
        if len(body) > RESPONSE_BYTES_MAX:
            raise BadAnswer(f"the reply is larger than {RESPONSE_BYTES_MAX} bytes")
    return bytes(body)


async def _chunks(reader: asyncio.StreamReader, head: _Head) -> AsyncIterator[bytes]:
    """The body in pieces, none of them empty. Raises EOFError when it breaks off."""
    if not head.chunked:
        async for piece in _piece(reader, head.length):
            yield piece
        return
    while True:
        size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        if not size:
            break
        async for piece in _piece(reader, size):
            yield piece
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass


async def _piece(reader: asyncio.StreamReader, length: int | None) -> AsyncIterator[bytes]:
    left = length
    while left is None or left > 0:
        found = await reader.read(CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
        if not found:
            if left is None:
                return
            raise EOFError
        left = None if left is None else left - len(found)
        yield found


def _words(error: Exception) -> str:
    """What went wrong, in a line without anything that was sent."""
    if isinstance(error, TimeoutError):
        return "the server took too long"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, EOFError):
        return "the server closed the connection"
    return f"the reply is not HTTP ({type(error).__name__})"
