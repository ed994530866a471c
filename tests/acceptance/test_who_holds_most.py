"""Whoever holds most gives way, on a real server: two organisations, or callers without a key, leave others their part.

Memory is that of the server's process, before and after. The figures allow for what an allocator keeps.
"""

from __future__ import annotations

import contextlib
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import step
from tests.support.server import ADMIN_KEY, Server
from tests.support.wait import wait_until

MIB = 2**20
HOST = b"Host: localhost\r\n"
BODY_BYTES = 15 * MIB
PIECE = b"x" * 65_536


@contextlib.contextmanager
def closing_all() -> Iterator[list[socket.socket]]:
    """For many connections; all that are in it are closed at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4000), hard), hard))
    held: list[socket.socket] = []
    try:
        yield held
    finally:
        for made in held:
            made.close()


def connected(server: Server, source: str = "127.0.0.1") -> socket.socket:
    made = socket.socket()
    made.settimeout(60)
    made.bind((source, 0))
    made.connect(("127.0.0.1", server.port))
    return made


def begun_body(server: Server, key: str, size: int) -> socket.socket:
    """A connection on which so much of a larger body has come."""
    made = connected(server)
    head = b"POST /api/ingest HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + key.encode() + b"\r\n"
    made.sendall(head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (16 * MIB - 1))
    with contextlib.suppress(OSError):  # it was refused in the middle
        for _ in range(size // len(PIECE)):
            made.sendall(PIECE)
    return made


def metric(server: Server, name: str) -> float:
    text = server.client(None).get("/metrics").text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


def refused(held: list[socket.socket]) -> int:
    """How many of them have been answered 503."""
    ready, _, _ = select.select(held, [], [], 0)
    return sum(one.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 503" for one in ready)


def page_of_eight_megabytes(client: Any) -> str:
    """The path of a page of that length."""
    for _ in range(2):
        step(client, "large", "step", {"node_name": "n", "text": "x" * 3 * MIB})
    return f"/api/v1/runs/{client.get('/v1/runs').json()[0]['run_id']}/events"


def test_two_organisations_that_fill_all_bytes_leave_a_third_its_part(fresh_server) -> None:
    """Five sockets took all of it: the third's bodies got 503, and the page that it read at once was cut."""
    server = fresh_server()
    (_, first), (_, second), (_, third) = (server.make_org(name) for name in ("a", "b", "c"))
    other = server.client(first).post("/api/v1/keys", json={"name": "other", "scopes": ["admin"]}).json()["key"]
    client = server.client(third)
    path = page_of_eight_megabytes(client)
    whole = len(client.get(path).content)
    before = server.resident_bytes()
    with closing_all() as held:
        for key in (first, first, other, second):
            held.append(begun_body(server, key, BODY_BYTES))
        wait_until(lambda: metric(server, "towerlog_bytes_in_flight") >= 4 * BODY_BYTES - MIB, "the bodies")
        held.append(begun_body(server, second, 3 * MIB + 512 * 1024))
        for number in range(12):
            step(client, f"small-{number}", "step", {"node_name": "n", "text": "x" * 300_000})
            assert len(client.get(path).content) == whole
        assert metric(server, "towerlog_readers_cut_total") == 0
        assert refused(held[:3]) == 1, "one body of the organisation that holds most, and that is room enough"
        assert refused(held[3:]) == 0
        assert server.resident_bytes() - before < 128 * MIB


def test_what_a_key_sends_cuts_off_no_reply_larger_than_its_share(fresh_server) -> None:
    """The one that reads it takes as long as it takes: the other programs of its key went on, and it got the half."""
    server = fresh_server(TOWERLOG_MAX_IN_FLIGHT_BYTES=str(8 * MIB))
    client = server.client()
    path = page_of_eight_megabytes(client)
    whole = len(client.get(path).content)
    reader = connected(server)
    with contextlib.closing(reader):
        head = f"GET {path} HTTP/1.1\r\nConnection: close\r\nAuthorization: Bearer {ADMIN_KEY}\r\n".encode()
        reader.sendall(head + HOST + b"\r\n")
        received = reader.recv(len(PIECE))
        for number in range(12):
            step(client, f"small-{number}", "step", {"node_name": "n", "text": "x" * 300_000})
            received += reader.recv(len(PIECE))
        while piece := reader.recv(len(PIECE)):
            received += piece
    assert len(received.partition(b"\r\n\r\n")[2]) == whole
    assert metric(server, "towerlog_readers_cut_total") == 0


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n", b"GET / HT"])
def test_connections_without_a_key_leave_places_for_those_who_have_one(fresh_server, sent: bytes) -> None:
    """Seven addresses with 200 each took all places that there are with 1,000 files, those of health checks as well."""
    server = fresh_server(TOWERLOG_MAX_STREAMS="1")
    old = server.client()
    assert old.get("/v1/runs").status_code == 200
    with closing_all() as held:
        for number in range(1400):
            one = connected(server, f"127.0.11.{number // 200 + 1}")
            held.append(one)
            with contextlib.suppress(OSError):  # it had to make place already
                one.sendall(sent)
            if number % 200 == 199:
                assert old.get("/v1/runs").status_code == 200, "who was there stays"
        for _ in range(20):
            with server.client() as client, server.client(None) as monitor:
                assert client.get("/v1/runs").status_code == 200
                assert [monitor.get(path).status_code for path in ("/readyz", "/metrics")] == [200, 200]
        assert metric(server, "towerlog_connections_open") <= 901 / 4 + 25
        assert old.get("/v1/runs").status_code == 200


def test_of_callers_without_a_key_the_fullest_address_makes_place(fresh_server) -> None:
    """The ones of other addresses stay open, and of its own the oldest goes first."""
    server = fresh_server(TOWERLOG_MAX_STREAMS="1")
    with closing_all() as held:
        few = [connected(server, "127.0.12.1") for _ in range(5)]
        held += few
        crowd = [connected(server, "127.0.12.2") for _ in range(240)]
        held += crowd
        wait_until(lambda: select.select(crowd[:1], [], [], 0)[0], "the oldest to be closed")
        assert crowd[0].recv(12) == b"HTTP/1.1 503"
        others = [connected(server, f"127.0.12.{number}") for number in range(3, 13)]
        held += others
        others[-1].sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert others[-1].recv(12) == b"HTTP/1.1 200"
        assert select.select([*few, *others[:-1], crowd[-1]], [], [], 0)[0] == []
        for one in (few[0], crowd[-1]):
            one.sendall(
                b"GET /v1/runs HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + ADMIN_KEY.encode() + b"\r\n\r\n"
            )
            assert one.recv(12) == b"HTTP/1.1 200"


def test_the_organisation_with_most_streams_gives_one_to_another(fresh_server) -> None:
    """And its reader is told when to come back."""
    server = fresh_server(TOWERLOG_MAX_STREAMS="2")
    many, few = (server.client(server.make_org(name)[1]) for name in ("many", "few"))
    many_run, few_run = (one.post("/v1/threads/t/runs").json()["run_id"] for one in (many, few))
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(many.stream("GET", f"/v1/runs/{many_run}/events", timeout=60)) for _ in range(2)
        )
        third = stack.enter_context(few.stream("GET", f"/v1/runs/{few_run}/events", timeout=60))
        assert [one.status_code for one in (first, second, third)] == [200] * 3
        told = ""
        with contextlib.suppress(httpx2.RemoteProtocolError):  # a stream that has not come to its end is broken off
            for piece in first.iter_text():
                told += piece
        assert told.endswith("retry: 8000\n")
        assert many.get(f"/v1/runs/{many_run}/events").status_code == 503
        few.post(f"/v1/runs/{few_run}:cancel")
        assert any("data: " in piece for piece in third.iter_text()), "the other's goes on"
