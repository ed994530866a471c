"""How the machine itself reaches what listens."""

from __future__ import annotations

import socket

import pytest

from towerlog.asgi.process.sockets import listen, local_url


@pytest.mark.parametrize(
    ("host", "reached"), [("127.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")]
)
def test_a_server_is_reached_by_an_address_of_its_own_machine(host, reached) -> None:
    with listen(host, 0) as listener:
        listener.listen()
        url = local_url(listener)
        assert url == f"http://{reached}:{listener.getsockname()[1]}"
        with socket.create_connection((reached, listener.getsockname()[1]), timeout=30):
            pass
