"""What the blocking HTTP client needs of the operating system. `async_connection` is the same for asyncio.

Both are written by hand; everything above them is written once, for asyncio, and generated for blocking code.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from towerlog.sdk.wire.address import Address

CHUNK_BYTES = 65_536
SEND_BYTES = 262_144
Target = tuple[socket.AddressFamily, socket.SocketKind, int, Any]
"""Family, kind, protocol and address of a socket."""
MAX_WAIT_S = 1_000_000.0
"""The longest single wait, 11 days: the system takes no longer ones, and a program may say that it has for ever."""


class Connection:
    """A connection to a server. Each wait ends at a time of the monotonic clock, with TimeoutError."""

    def __init__(self, sock: socket.socket) -> None:
        """Takes over a connected socket."""
        self._sock = sock
        self.has_unsent = False
        """Whether a part was not sent: the server has replied early and stopped reading."""

    def send(self, message: bytes, ends_at: float) -> None:
        """Sends all of it. A server may reply before it has read everything: see `has_unsent`."""
        left = memoryview(message)
        try:
            # Piece by piece: `sendall` of a TLS socket allows its time for each piece anew.
            while left:
                self._sock.settimeout(_seconds_until(ends_at))
                left = left[self._sock.send(left[:SEND_BYTES]) :]
        except (BrokenPipeError, ConnectionResetError):
            # A server that rejects a body may reply before it has read it: the reply is read anyway.
            self.has_unsent = True

    def receive(self, ends_at: float) -> bytes:
        """The next bytes, at most `CHUNK_BYTES`; empty at the end of the connection. Raises OSError."""
        self._sock.settimeout(_seconds_until(ends_at))
        return self._sock.recv(CHUNK_BYTES)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived on an idle connection: whatever does means that it was closed."""
        poller = select.poll()
        try:
            poller.register(self._sock, select.POLLIN)
        except ValueError:
            # Closed by another thread.
            return False
        return not poller.poll(0)

    def interrupt(self) -> None:
        """Ends a wait in another thread, which then has to `close` it.

        Does not close the socket: its descriptor could be reused before the other thread notices.
        """
        # It may have been closed by either side.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes it at once."""
        self.interrupt()
        self._sock.close()


class Host:
    """Opens the connections to one server. Threads may share it."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        """Looks nothing up yet."""
        self._address = address
        self._tls = tls
        self._lock = threading.Lock()
        self._lookup: Future[list[Target]] | None = None
        """The look-up under way."""

    def open(self, ends_at: float) -> Connection:
        """Connects, to the first of the host's addresses that answers. Raises OSError, ValueError."""
        sock = self._connected(ends_at)
        try:
            # A request is sent in one piece, so there is nothing to gain by delaying it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock.settimeout(_seconds_until(ends_at))
                sock = self._tls.wrap_socket(sock, server_hostname=self._address.host)
        except BaseException:
            sock.close()
            raise
        return Connection(sock)

    def _connected(self, ends_at: float) -> socket.socket:
        """A socket. Not by `socket.create_connection`, which allows its time for each address of a host anew."""
        failed = OSError("the host has no address")
        for family, kind, protocol, target in self._looked_up(ends_at):
            try:
                return _connected_to(socket.socket(family, kind, protocol), target, ends_at)
            except OSError as error:
                failed = error
        raise failed

    def _looked_up(self, ends_at: float) -> list[Target]:
        """The addresses of the host. Raises OSError, ValueError for a name that no resolver takes."""
        # What is an address already needs no resolver.
        with contextlib.suppress(OSError):
            return _targets(self._address, socket.AI_NUMERICHOST)
        return self._lookup_under_way().result(_seconds_until(ends_at))

    def _lookup_under_way(self) -> Future[list[Target]]:
        """Begins one unless there is one.

        A resolver takes as long as it likes and cannot be stopped: each request that gives up would leave it a thread.
        """
        with self._lock:
            found = self._lookup
            if found is None or found.done():
                found = self._lookup = Future()
                _begun(partial(_look_up, self._address, found))
            return found


class Signal:
    """A flag that is set once and can be waited for, by any thread."""

    def __init__(self) -> None:
        """Not set."""
        self._event = threading.Event()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._event.is_set()

    def set(self) -> None:
        """Sets it."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Waits up to `seconds`; whether it is set."""
        return self._event.wait(seconds)


def current_scope() -> object:
    """Identifies where a connection can be used: another process has to open its own."""
    return os.getpid()


def connections_closed() -> None:
    """Returns when the sockets of closed connections are closed: here they are closed at once."""


def _look_up(address: Address, found: Future[list[Target]]) -> None:
    try:
        found.set_result(_targets(address))
    except Exception as error:  # whatever it is: a look-up without an end would stand in the way of all later ones
        found.set_exception(error)


def _targets(address: Address, flags: int = 0) -> list[Target]:
    rows = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, kind, protocol, target) for family, kind, protocol, _, target in rows]


def _begun(work: Callable[[], None]) -> None:
    """Runs it in a thread, since a resolver takes as long as it likes; here, where the program ends and has no more."""
    try:
        threading.Thread(target=work, name="towerlog-resolver", daemon=True).start()
    except RuntimeError:
        work()


def _connected_to(sock: socket.socket, target: Any, ends_at: float) -> socket.socket:
    try:
        sock.settimeout(_seconds_until(ends_at))
        sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock


def _seconds_until(ends_at: float) -> float:
    """The remaining seconds, as a socket's timeout. Raises TimeoutError if none are left: 0 would mean not to block."""
    seconds = ends_at - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the time is up")
    return min(seconds, MAX_WAIT_S)
