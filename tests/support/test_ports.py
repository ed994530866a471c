"""A held port refuses connections, is given to nobody else, and can be listened on by who knows it."""

from __future__ import annotations

import socket

import pytest

from tests.support.ports import HeldPort


def test_a_server_may_listen_on_it_again_and_again() -> None:
    with HeldPort() as port:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port.number)).close()
            with (
                socket.create_server(("127.0.0.1", port.number)) as server,
                socket.create_connection(("127.0.0.1", port.number)) as client,
            ):
                connection, _ = server.accept()
                connection.close()
                assert client.recv(1) == b""


def test_nobody_else_gets_it() -> None:
    with HeldPort() as port, socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port.number))


def test_it_is_given_back() -> None:
    with HeldPort() as port:
        number = port.number
    with socket.socket() as other:
        other.bind(("127.0.0.1", number))
