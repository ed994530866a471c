"""HTTP/1.1 for threads that may block: connections that are kept, deadlines, caps, TLS. The asyncio twin is
`async_http`.

An `Http` may be shared by threads. After a fork the child begins with connections of its own. It follows no redirect,
asks no proxy, and tries nothing twice but what cannot have been seen by the server: that is its callers' affair.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping

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

__all__ = ["Http", "Response", "Stream"]

CHUNK_BYTES = 65_536
SAFE_METHODS = frozenset({"GET", "HEAD"})
CLOSED = "closed by its user"


class _Stale(Exception):
    """A kept connection turned out to be closed before it brought anything."""


class Stream:
    """A reply that goes on: its status, its headers, and its lines as they come. Close it, or use it in a `with`.

    `close` may be called from another thread; the one that reads then gets the end.
    """

    def __init__(
        self,
        owner: Http,
        connection: http.client.HTTPConnection,
        sock: socket.socket | None,
        response: http.client.HTTPResponse,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = _headers_of(response)
        self._owner = owner
        self._connection = connection
        # The connection lets go of it when the server says that it will close.
        self._sock = sock
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Lines without their ends, until the server ends the stream. Raises Unreachable when it breaks."""
        lines = Lines()
        try:
            while not self._closed and (chunk := self._response.read1(CHUNK_BYTES)):
                yield from lines.feed(chunk)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # The last two: the file under the response was closed, or taken away, by `close` while this read.
            if not self._closed:
                raise Unreachable(_words(error)) from None
        finally:
            self.close()

    def read(self) -> bytes:
        """All of a reply that turned out to be no stream, up to the cap."""
        try:
            return self._response.read(RESPONSE_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_words(error)) from None
        finally:
            self.close()

    def close(self) -> None:
        """Ends it."""
        self._closed = True
        _wake(self._sock)
        self._owner._drop(self._connection)
        self._response.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Http:
    """Requests to one server with one key."""

    def __init__(self, url: str, api_key: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Connects to nothing yet. Raises ValueError for a URL or a key that cannot be one."""
        self.address = read_url(url)
        self._api_key = checked_key(api_key)
        self._timeout_s = timeout_s
        self._tls = tls_context(self.address)
        self._begin()

    def _begin(self) -> None:
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=IDLE_MAX)
        self._busy: dict[http.client.HTTPConnection, socket.socket | None] = {}
        """Each with its socket, of which the connection lets go when the server says that it will close."""

    def __repr__(self) -> str:
        return f"Http({str(self.address)!r})"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """One exchange; any status is a reply. `timeout_s` is for the whole. Raises Unreachable."""
        ends_at = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        target, given = self._prepared(path, headers)
        while True:
            connection, kept = self._take(ends_at)
            try:
                response = self._exchange(connection, method, target, body, given, ends_at, kept)
                reply = Response(response.status, _headers_of(response), _body_of(response, connection, ends_at))
            except _Stale:
                self._drop(connection)
                # The server may have seen it when it closed: only what changes nothing is sent once more.
                if method not in SAFE_METHODS:
                    raise Unreachable(f"{self.address}: the connection was closed by the server") from None
                continue
            except (OSError, http.client.HTTPException) as error:
                self._drop(connection)
                raise Unreachable(f"{self.address}: {_words(error)}") from None
            except BaseException:
                self._drop(connection)
                raise
            self._give_back(connection, response)
            refuse_redirect(reply.status)
            return reply

    def stream(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, silence_s: float = SILENCE_S
    ) -> Stream:
        """A reply that goes on, on a connection of its own. `silence_s` is how long it may say nothing, in seconds."""
        ends_at = time.monotonic() + self._timeout_s
        target, given = self._prepared(path, headers)
        connection = self._opened(ends_at)
        sock: socket.socket | None = connection.sock
        try:
            response = self._exchange(connection, method, target, None, given, ends_at, False)
            refuse_redirect(response.status)
            if sock is not None:
                sock.settimeout(silence_s)
        except (OSError, http.client.HTTPException) as error:
            self._drop(connection)
            raise Unreachable(f"{self.address}: {_words(error)}") from None
        except BaseException:
            self._drop(connection)
            raise
        return Stream(self, connection, sock, response)

    def close(self) -> None:
        """Closes every connection; requests under way in other threads fail with Unreachable. Can be used again."""
        with self._lock:
            sockets = dict.fromkeys(self._idle) | self._busy
            self._idle.clear()
            self._busy.clear()
        for connection, sock in sockets.items():
            _wake(sock)
            _shut(connection)

    def _prepared(self, path: str, headers: Mapping[str, str] | None) -> tuple[str, dict[str, str]]:
        if os.getpid() != self._process_id:
            # The sockets are the parent's, and its lock may have been held by a thread that does not exist here.
            self._begin()
        return checked_path(self.address, path), request_headers(self.address, self._api_key, headers)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        ends_at: float,
        kept: bool,
    ) -> http.client.HTTPResponse:
        """Sends, and reads the reply's head."""
        _hurry(connection, ends_at)
        sent = False
        try:
            # A server that refuses a body may answer before it has read it: its reply is read all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, dict(headers))
                sent = True
            _hurry(connection, ends_at)
            response = connection.getresponse()
            response.will_close = response.will_close or not sent
            return response
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if kept:
                raise _Stale from None
            raise

    def _take(self, ends_at: float) -> tuple[http.client.HTTPConnection, bool]:
        """A connection and whether it has been used before."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
                if connection is not None:
                    self._busy[connection] = connection.sock
            if connection is None:
                return self._opened(ends_at), False
            if _is_quiet(connection):
                return connection, True
            self._drop(connection)

    def _opened(self, ends_at: float) -> http.client.HTTPConnection:
        address = self.address
        seconds = max(ends_at - time.monotonic(), 0.001)
        if self._tls is None:
            connection = http.client.HTTPConnection(address.host, address.port, timeout=seconds)
        else:
            connection = http.client.HTTPSConnection(address.host, address.port, timeout=seconds, context=self._tls)
        # One that was closed while it was taken for a request must not open itself again.
        connection.auto_open = 0
        with self._lock:
            self._busy[connection] = None
        try:
            connection.connect()
        except OSError as error:
            self._drop(connection)
            raise Unreachable(f"{address}: {_words(error)}") from None
        with self._lock:
            # `close` finds no socket to wake in a connection that is being made.
            is_wanted = connection in self._busy
            if is_wanted:
                self._busy[connection] = connection.sock
        if not is_wanted:
            _shut(connection)
            raise Unreachable(f"{address}: {CLOSED}")
        return connection

    def _give_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        with self._lock:
            # One that is not busy any more was closed by `close` meanwhile.
            keep = connection in self._busy and not response.will_close and len(self._idle) < IDLE_MAX
            self._busy.pop(connection, None)
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._busy.pop(connection, None)
        _shut(connection)


def _hurry(connection: http.client.HTTPConnection, ends_at: float) -> None:
    """Whatever comes next has until the exchange's end. Raises TimeoutError past it."""
    remaining = ends_at - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("the server took too long")
    if connection.sock is not None:
        connection.sock.settimeout(remaining)


def _headers_of(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _body_of(response: http.client.HTTPResponse, connection: http.client.HTTPConnection, ends_at: float) -> bytes:
    """The whole body, within the cap and the time; a body that breaks off is none."""
    body = bytearray()
    while chunk := response.read1(CHUNK_BYTES):
        body += chunk
        if len(body) > RESPONSE_BYTES_MAX:
            raise BadAnswer(f"the reply is larger than {RESPONSE_BYTES_MAX} bytes")
        _hurry(connection, ends_at)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    # Tells the connection that the next request may come; the socket stays open.
    response.close()
    return bytes(body)


def _is_quiet(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing has come on a kept connection; what comes there unasked is its end."""
    sock = connection.sock
    if sock is None:
        return False
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return not poller.poll(0)


def _shut(connection: http.client.HTTPConnection) -> None:
    """Closes it, and wakes a thread that reads from it."""
    _wake(connection.sock)
    connection.close()


def _wake(sock: socket.socket | None) -> None:
    if sock is not None:
        # It may be closed by now, from either side.
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    """What went wrong, in a line without anything that was sent."""
    if isinstance(error, TimeoutError):
        return "the server took too long"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    known = {
        "RemoteDisconnected": "the server closed the connection",
        "IncompleteRead": "the reply broke off",
        "NotConnected": CLOSED,
    }
    return known.get(type(error).__name__, f"the reply is not HTTP ({type(error).__name__})")
