"""Receivers of webhooks whose answers are made of as many pieces as fit: nobody else hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import httpx2
import pytest

from tests.acceptance.feeds import ok
from tests.support.figures import no_block
from tests.support.hooks import HERE, receiving_hooks
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until

RECEIVERS = 40
"""All of one moment: more than one organisation may have under way, so there is a second round of them."""

FORMS = {
    "chunks of one byte": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 11_000,
    "preliminary answers": b"HTTP/1.1 100 \r\n\r\n" * 4_000 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "header lines": b"HTTP/1.1 200 OK\r\n" + b"a:\n" * 12_500 + b"\r\n",
}


class Crowd:
    """Receivers, each on a port of its own, that answer once `waited_for` of them were asked, all at one moment."""

    def __init__(self, answer: bytes, waited_for: int) -> None:
        self._answer = answer
        self.asked = 0
        self._all = threading.Barrier(waited_for)
        self._lock = threading.Lock()
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(RECEIVERS)]
        self.urls = [f"http://127.0.0.1:{one.getsockname()[1]}/" for one in self._listeners]
        for listener in self._listeners:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def close(self) -> None:
        self._all.abort()
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            said = b""
            while b"\r\n\r\n" not in said:
                said += connection.recv(65536)
            with self._lock:
                self.asked += 1
                is_first = self.asked <= self._all.parties
            with contextlib.suppress(threading.BrokenBarrierError):
                if is_first:
                    self._all.wait(30)
            connection.sendall(self._answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests alone: its figures are theirs."""
    settings = {**NO_LIMITS, "TOWERLOG_EGRESS_ALLOW": HERE}
    with Server(tmp_path_factory.mktemp("receivers") / "data", settings) as server:
        yield server
        server.stop()


@pytest.fixture
def crowd_of() -> Iterator[Callable[[bytes], Crowd]]:
    made: list[Crowd] = []

    def make(answer: bytes) -> Crowd:
        # As many as one organisation may have under way, so that all of these wait for each other.
        made.append(Crowd(answer, 24))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("form", FORMS)
def test_receivers_that_answer_in_pieces_hold_up_nobody(
    own: Server, crowd_of: Callable[[bytes], Crowd], form: str
) -> None:
    name = form.replace(" ", "-")
    _, key = own.make_org(name)
    _, other_key = own.make_org(f"beside-{name}")
    crowd = crowd_of(FORMS[form])
    failed = {"event_id": "e", "client_seq": 1, "run_key": "r", "type": "run.failed", "data": {"error": "boom"}}
    batch = {"client_id": "c", "events": [failed]}
    with own.client(key) as client, own.client(other_key) as other, receiving_hooks() as hooks:
        for number, url in enumerate(crowd.urls):
            ok(client.post("/api/v1/alert-rules", json=rule(f"r{number}", url)), 201)
        made = ok(other.post("/api/v1/alert-rules", json=rule("well", hooks.url())), 201)
        with no_block(own, form):
            ok(client.post("/api/v1/events", json=batch))
            ok(other.post("/api/v1/events", json=batch))
            wait_until(lambda: crowd.asked >= RECEIVERS, "all receivers are asked", deadline_s=60)
            wait_until(lambda: hooks.taken, "the other organisation's message is taken", deadline_s=60)
            # Each of them is over once it is noted, so nothing of it is still to be read.
            wait_until(lambda: noted(client) == RECEIVERS, "each attempt is noted", deadline_s=60)
    assert hooks.taken[0].json()["rule_id"] == made["rule_id"]


def rule(name: str, url: str) -> dict[str, object]:
    return {"name": name, "trigger": "error", "channels": [{"type": "webhook", "target": url}]}


def noted(client: httpx2.Client) -> int:
    """Deliveries that were attempted."""
    found = ok(client.get("/api/v1/deliveries", params={"limit": 200}))["data"]
    return sum(bool(one["attempts"]) for one in found)
