"""Sockets for blocking code: deadlines, early replies, and being interrupted by another thread."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.support.wait import DEADLINE_S
from towerlog.sdk.wire.address import read_url
from towerlog.sdk.wire.connection import Connection, Host, Signal, current_scope


def pair() -> tuple[Connection, socket.socket]:
    ours, theirs = socket.socketpair()
    return Connection(ours), theirs


def test_what_is_sent_and_received_passes_unchanged() -> None:
    connection, theirs = pair()
    connection.send(b"ask", time.monotonic() + 5)
    assert theirs.recv(9) == b"ask"
    theirs.sendall(b"reply")
    assert connection.receive(time.monotonic() + 5) == b"reply"
    theirs.close()
    assert connection.receive(time.monotonic() + 5) == b""
    connection.close()


@pytest.mark.parametrize("ahead_s", [-1.0, 0.02])
def test_a_wait_ends_at_its_time(ahead_s: float) -> None:
    connection, theirs = pair()
    with pytest.raises(TimeoutError):
        connection.receive(time.monotonic() + ahead_s)
    connection.close()
    theirs.close()


def test_a_server_that_does_not_read_on_leaves_something_unsent() -> None:
    connection, theirs = pair()
    theirs.close()
    connection.send(b"x" * 100, time.monotonic() + 5)
    assert connection.has_unsent
    connection.close()


def test_a_connection_is_quiet_until_something_comes_or_it_is_closed() -> None:
    connection, theirs = pair()
    assert connection.is_quiet
    theirs.sendall(b"x")
    assert not connection.is_quiet
    connection.close()
    assert not connection.is_quiet
    theirs.close()


def test_another_thread_can_interrupt_a_wait() -> None:
    connection, theirs = pair()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(connection.receive(time.monotonic() + 30)))
    reader.start()
    connection.interrupt()
    reader.join(DEADLINE_S)
    assert got == [b""]
    connection.close()
    theirs.close()


def test_a_socket_whose_tls_fails_is_closed() -> None:
    class Refusing:
        def wrap_socket(self, sock: socket.socket, server_hostname: str) -> socket.socket:
            taken.append(sock)
            raise OSError("no certificate")

    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = read_url(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(OSError, match="no certificate"):
            Host(address, Refusing()).open(time.monotonic() + 5)  # type: ignore[arg-type]
    assert taken[0].fileno() == -1


def test_a_signal_ends_a_wait() -> None:
    signal = Signal()
    assert not signal.wait(0.001)
    threading.Timer(0.01, signal.set).start()
    assert signal.wait(30)
    assert signal.is_set()


def test_threads_of_a_process_share_their_connections() -> None:
    found: list[object] = []
    other = threading.Thread(target=lambda: found.append(current_scope()))
    other.start()
    other.join()
    assert found == [current_scope()]
