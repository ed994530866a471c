# Generated from async_http.py by tools/blocking_from_async.py: change the source, then run `make blocking`.
"""HTTP/1.1 for threads that may block: connections that are kept, deadlines, caps, TLS.

An `Http` may be shared by threads. After a fork the child
begins with connections of its own.

It follows no redirect, asks no proxy, and sends nothing twice but what the server cannot have seen: anything else is
for its callers to decide.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping

from towerlog.sdk.wire.address import (
    MAX_IDLE,
    MAX_RESPONSE_BYTES,
    SILENCE_S,
    TIMEOUT_S,
    Address,
    Lines,
    MovingUrl,
    Response,
    Url,
    checked_key,
    read_url,
    refuse_redirect,
    tls_context,
)
from towerlog.sdk.wire.connection import Connection, Host, connections_closed, current_scope
from towerlog.sdk.wire.errors import BadAnswer, Unreachable
from towerlog.sdk.wire.http1 import (
    CLOSED,
    MAX_HEAD_BYTES,
    SAFE_METHODS,
    Head,
    chunk_bytes,
    read_head,
    request_message,
    words_of,
)


class Stream:
    """A streamed reply: status, headers, and lines as they come. Close it, or use `with`.

    `close` may be called from another thread; the iteration then ends.
    """

    def __init__(self, owner: Http, reply: _Reply, head: Head) -> None:
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._owner = owner
        self._reply = reply
        self._closed = False
        self._reading = False

    def __iter__(self) -> Iterator[bytes]:
        """Lines without their ends, until the server ends the stream. Raises Unreachable when it breaks."""
        lines = Lines()
        self._reading = True
        try:
            for piece in self._reply.pieces():
                for line in lines.feed(piece):
                    yield line
        except (OSError, EOFError, ValueError) as error:
            if not self._closed:
                raise Unreachable(words_of(error)) from None
        finally:
            self._reading = False
            self.close()

    def read(self) -> bytes:
        """The whole body, for a reply that is not a stream; as long as any other request may take."""
        self._reply.ends_within(self._owner.timeout_s)
        try:
            return self._reply.body()
        except (OSError, EOFError, ValueError) as error:
            raise Unreachable(words_of(error)) from None
        finally:
            self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._closed = True
        self._reply.connection.interrupt()
        if not self._reading:
            self._owner._drop(self._reply.connection)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Http:
    """Sends requests to one server with one key."""

    def __init__(self, url: Url, api_key: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Opens no connection yet. Raises ValueError for an invalid URL or key."""
        self._url = url
        self.address = read_url(str(url))
        """Where the server was found last."""
        self._api_key = checked_key(api_key)
        self.timeout_s = timeout_s
        self._tls = tls_context(self.address)
        self._begin(current_scope())

    def _begin(self, scope: object) -> None:
        self._scope = scope
        self._lock = threading.Lock()
        self._host = Host(self.address, self._tls)
        self._idle: deque[Connection] = deque(maxlen=MAX_IDLE)
        self._busy: set[Connection] = set()
        self._closings = 0
        """Number of calls of `close`: a connection that was being opened during one is not used."""

    @property
    def access(self) -> tuple[Url, str | None]:
        """The server and the key, for another client."""
        return self._url, self._api_key

    def __repr__(self) -> str:
        return f"Http({str(self.address)!r})"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        bytes_max: int = MAX_RESPONSE_BYTES,
    ) -> Response:
        """One request and its reply, of any status. `timeout_s` is for the whole. Raises Unreachable."""
        ends_at = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        address, message = self._prepared(method, path, body, headers)
        while True:
            connection, kept = self._take(ends_at)
            if self.address is not address:
                address, message = self._prepared(method, path, body, headers)
            reply = _Reply(connection, ends_at, bytes_max)
            try:
                connection.send(message, ends_at)
                head = reply.head(method)
                response = Response(head.status, head.headers, reply.body())
            except (OSError, EOFError, ValueError) as error:
                is_stale = kept and not reply.has_begun and isinstance(error, EOFError | ConnectionError)
                is_wanted = self._drop(connection)
                if is_stale and is_wanted and method in SAFE_METHODS:
                    continue
                # The server may have received it before it closed: only requests without side effects are sent again.
                raise Unreachable(f"{self.address}: {words_of(error) if is_wanted else CLOSED}") from None
            except BaseException:
                self._drop(connection)
                raise
            self._give_back(connection, keep=not head.will_close and reply.is_clean)
            refuse_redirect(response.status)
            return response

    def stream(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, silence_s: float = SILENCE_S
    ) -> Stream:
        """Opens a streamed reply on its own connection. `silence_s` is how long nothing may arrive, in seconds."""
        ends_at = time.monotonic() + self.timeout_s
        self._prepared(method, path, None, headers)
        connection = self._opened(ends_at)
        _, message = self._prepared(method, path, None, headers)
        reply = _Reply(connection, ends_at)
        try:
            connection.send(message, ends_at)
            head = reply.head(method)
            refuse_redirect(head.status)
        except (OSError, EOFError, ValueError) as error:
            words = words_of(error) if self._drop(connection) else CLOSED
            raise Unreachable(f"{self.address}: {words}") from None
        except BaseException:
            self._drop(connection)
            raise
        reply.silence_s = silence_s
        return Stream(self, reply, head)

    def close(self) -> None:
        """Closes every connection; requests and streams under way fail with Unreachable. Can be used again."""
        with self._lock:
            idle, busy = list(self._idle), list(self._busy)
            self._idle.clear()
            self._busy.clear()
            self._closings += 1
        for connection in idle:
            connection.close()
        for connection in busy:
            connection.interrupt()
        connections_closed()

    def _prepared(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> tuple[Address, bytes]:
        """The message of a request, and the address that its headers name. Raises ValueError."""
        scope = current_scope()
        if scope != self._scope:
            # The connections cannot be used here, and after a fork the lock may be held by a thread of the parent.
            self._begin(scope)
        address = self.address
        return address, request_message(address, self._api_key, method, path, body, headers)

    def _take(self, ends_at: float) -> tuple[Connection, bool]:
        """A connection and whether it has been used before. Raises Unreachable."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
                if connection is not None:
                    self._busy.add(connection)
            if connection is None:
                return self._opened(ends_at), False
            if connection.is_quiet:
                return connection, True
            self._drop(connection)

    def _opened(self, ends_at: float) -> Connection:
        with self._lock:
            closings = self._closings
        try:
            connection = self._found().open(ends_at)
        except (OSError, ValueError) as error:
            # A ValueError is a host name that no resolver takes.
            raise Unreachable(f"{self.address}: {words_of(error)}") from None
        with self._lock:
            is_wanted = closings == self._closings
            if is_wanted:
                self._busy.add(connection)
        if not is_wanted:
            connection.close()
            raise Unreachable(f"{self.address}: {CLOSED}")
        return connection

    def _found(self) -> Host:
        """To what to connect: a server that may move is looked for. Raises Unreachable, OSError, ValueError."""
        if isinstance(self._url, MovingUrl):
            address = read_url(self._url.now())
            if address != self.address:
                self._tls = tls_context(address)
                self.address, self._host = address, Host(address, self._tls)
        return self._host

    def _give_back(self, connection: Connection, keep: bool) -> None:
        with self._lock:
            # A connection that is not in `_busy` any more was closed by `close`.
            keep = keep and connection in self._busy and len(self._idle) < MAX_IDLE
            self._busy.discard(connection)
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def _drop(self, connection: Connection) -> bool:
        """Closes a connection; False if `close` was called for it before."""
        with self._lock:
            is_wanted = connection in self._busy
            self._busy.discard(connection)
        connection.close()
        return is_wanted


class _Reply:
    """Reads one reply from a connection.

    Raises OSError, EOFError if the connection ends too early, ValueError for what is not HTTP, BadAnswer for what is
    too large.
    """

    def __init__(self, connection: Connection, ends_at: float, bytes_max: int = MAX_RESPONSE_BYTES) -> None:
        self.connection = connection
        self.silence_s: float | None = None
        """How long nothing may arrive; replaces the deadline of the whole reply."""
        self.has_begun = False
        self._ends_at = ends_at
        self._bytes_max = bytes_max
        self._waiting = bytearray()
        self._head: Head | None = None

    @property
    def is_clean(self) -> bool:
        """Whether the connection can be used for another request: nothing is left to read or to send."""
        return not self._waiting and not self.connection.has_unsent

    def ends_within(self, seconds: float) -> None:
        """From now on the whole reply has so long, however often something of it arrives."""
        self._ends_at, self.silence_s = time.monotonic() + seconds, None

    def head(self, method: str) -> Head:
        """The head of the final reply; 1xx replies are skipped."""
        while True:
            head = read_head(self._through(b"\r\n\r\n"), method)
            if head.status >= 200:
                self._head = head
                return head

    def body(self) -> bytes:
        """The whole body."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > self._bytes_max:
                raise BadAnswer(f"the reply is larger than {self._bytes_max} bytes")
        return bytes(body)

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces, none of them empty."""
        assert self._head is not None
        if not self._head.chunked:
            for piece in self._next(self._head.length):
                yield piece
            return
        while size := chunk_bytes(self._through(b"\r\n")):
            for piece in self._next(size):
                yield piece
            self._through(b"\r\n")
        # Trailer fields, up to an empty line.
        left = MAX_HEAD_BYTES
        while (field := self._through(b"\r\n")) != b"\r\n":
            left -= len(field)
            if left < 0:
                raise BadAnswer("the reply's trailers are too long")

    def _next(self, length: int | None) -> Iterator[bytes]:
        """The next `length` bytes, in pieces; None: all to the end of the connection."""
        left = length
        while left is None or left > 0:
            if not self._waiting and not self._receive():
                if left is None:
                    return
                raise EOFError
            piece = bytes(self._waiting if left is None else self._waiting[:left])
            del self._waiting[: len(piece)]
            left = None if left is None else left - len(piece)
            yield piece

    def _through(self, mark: bytes) -> bytes:
        """The bytes up to and including a mark."""
        searched = 0
        while (at := self._waiting.find(mark, searched)) < 0:
            if len(self._waiting) > MAX_HEAD_BYTES:
                raise BadAnswer("the reply's head is too long")
            # The mark may begin at the end of what has been received.
            searched = max(0, len(self._waiting) - len(mark) + 1)
            if not self._receive():
                raise EOFError
        found = bytes(self._waiting[: at + len(mark)])
        del self._waiting[: at + len(mark)]
        return found

    def _receive(self) -> bool:
        """Receives more; False at the end of the connection."""
        ends_at = self._ends_at if self.silence_s is None else time.monotonic() + self.silence_s
        chunk = self.connection.receive(ends_at)
        self.has_begun = self.has_begun or bool(chunk)
        self._waiting += chunk
        return bool(chunk)
