"""Connections of nobody's friend, on a real server: what they hold is bounded, and the others notice nothing.

Memory is that of the server's process, before and after. The figures allow for what an allocator keeps.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest

from tests.acceptance.feeds import step
from tests.support.samples import slow
from tests.support.server import ADMIN_KEY, Server
from tests.support.wait import DEADLINE_S, wait_until

MIB = 2**20
HOST = b"Host: localhost\r\n"
NO_KEY = b"POST /api/ingest HTTP/1.1\r\n" + HOST
ENDS_WITHIN_S = 60.0
LARGE_PAGE = b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n"
"""A page that needs no key and is larger than most."""


@contextlib.contextmanager
def crowd(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, closed at the end. Those that read little have a small buffer for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 500), hard), hard))
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.connect(("127.0.0.1", server.port))
            held.append(made)
        yield held
    finally:
        for made in held:
            made.close()


def try_to_send(made: socket.socket, data: bytes) -> bool:
    """Whether it could be sent without waiting for long."""
    made.settimeout(1.0)
    try:
        made.sendall(data)
    except OSError:
        return False
    return True


def has_ended(made: socket.socket) -> bool:
    """Whether the server has closed it, in words or without, although it has sent nothing."""
    try:
        made.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def metric(client: httpx2.Client, name: str) -> float:
    text = client.get("/metrics").text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


@pytest.mark.parametrize("what", [b"X-Trailer: " + b"y" * 1000 + b"\r\n", b"z" * 1000])
def test_trailers_cost_no_memory_and_end_the_connection(server: Server, what: bytes) -> None:
    before = server.resident_bytes()
    with crowd(server, 1) as [sender]:
        sender.sendall(NO_KEY + b"Authorization: Bearer nobody\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n")
        sent = 0
        while sent < 600 * MIB and try_to_send(sender, what * 100):
            sent += len(what) * 100
        assert sent < 100 * MIB
        assert server.resident_bytes() - before < 16 * MIB


@pytest.mark.parametrize(("count", "mib", "ends"), [(200, 20, False), slow(1000, 50, True)])
def test_requests_behind_a_reply_that_nobody_reads_cost_little(fresh_server, count: int, mib: int, ends: bool) -> None:
    """And end, after the half minute that a reply may stand still."""
    server = fresh_server(TOWERLOG_MAX_CONNECTIONS_PER_ADDRESS="2000")
    client = server.client()
    client.get("/openapi.json").raise_for_status()
    before = server.resident_bytes()
    with crowd(server, count) as senders:
        for sender in senders:
            try_to_send(sender, LARGE_PAGE * 900)
        wait_until(lambda: metric(client, "towerlog_connections_open") <= count + 2, "the count")
        assert server.resident_bytes() - before < mib * MIB
        if ends:
            wait_until(lambda: metric(client, "towerlog_connections_open") <= 2, "the end of all", deadline_s=120)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("count", "mib"), [(200, 40), pytest.param(1000, 50, marks=pytest.mark.slow)])
def test_pages_behind_a_page_that_nobody_reads_are_not_built(fresh_server, count: int, mib: int) -> None:
    """Bytes of its own for each reader, of which the kernel takes some: the share of the key bounds the others."""
    server = fresh_server(TOWERLOG_MAX_CONNECTIONS_PER_ADDRESS="2000")
    _, neighbour = server.make_org("neighbour")
    client, beside = server.client(timeout=120), server.client(neighbour, timeout=120)
    pages = []
    for one in (client, beside):
        step(one, "large", "step", {"node_name": "n", "text": "x" * MIB})
        [run] = one.get("/v1/runs").json()
        pages.append(f"/api/v1/runs/{run['run_id']}/events")
    page = f"GET {pages[0]} HTTP/1.1\r\n".encode() + HOST + f"Authorization: Bearer {ADMIN_KEY}\r\n\r\n".encode()
    assert len(beside.get(pages[1]).content) > MIB
    before = server.resident_bytes()
    with crowd(server, count) as senders:
        for sender in senders:
            try_to_send(sender, page * 9)
        # Pages are read in turn: with the last of these, everybody has had theirs who takes them.
        for _ in range(9):
            assert len(beside.get(pages[1]).content) > MIB
        assert metric(client, "towerlog_bytes_in_flight") <= 34 * MIB
        assert server.resident_bytes() - before < mib * MIB
    assert client.get("/healthz").status_code == 200


def test_bodies_that_are_only_declared_take_nothing_from_others(server: Server, scoped, other_org) -> None:
    key = server.make_key("read")
    head = (
        b"%b HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + key.encode() + b"\r\nContent-Length: 16777216\r\n\r\n{"
    )
    lines = [b"POST /api/ingest", b"GET /api/v1/runs", b"POST /v1/runners/events", b"GET /v1/runs"] * 4
    with crowd(server, len(lines)) as senders:
        for sender, line in zip(senders, lines, strict=True):
            sender.sendall(head % line)
        for number in range(10):
            step(other_org, f"declared-{uuid4().hex}-{number}", "run_start", agent_name="a")
        assert metric(server.client(), "towerlog_bytes_in_flight") < 1000


def test_a_key_with_bodies_in_hand_leaves_room_for_the_others(server: Server, other_org) -> None:
    """One key sends as much as it can and never the last byte."""
    key = server.make_key("ingest")
    head = NO_KEY + b"Authorization: Bearer " + key.encode() + b"\r\nContent-Length: 16777216\r\n\r\n"
    with crowd(server, 8) as senders:
        for sender in senders:
            sender.settimeout(20)
            sender.sendall(head)
            with contextlib.suppress(OSError):
                for _ in range(15):
                    sender.sendall(b" " * MIB)
        client = server.client()
        assert metric(client, "towerlog_bytes_in_flight") <= 32 * MIB
        for number in range(5):
            text = {"node_name": "n", "text": "x" * MIB}
            step(other_org, f"beside-{uuid4().hex}-{number}", "step", text)


def test_blanks_around_a_key_are_not_remembered(server: Server) -> None:
    before = server.resident_bytes()
    key = ADMIN_KEY.encode()
    with crowd(server, 1) as [sender]:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for number in range(2000):
            blanks = b" " * (60_000 - number)
            sender.sendall(
                b"GET /api/v1/whoami HTTP/1.1\r\n" + HOST + b"Authorization: Bearer" + blanks + key + b"\r\n\r\n"
            )
            sender.settimeout(DEADLINE_S)
            assert sender.recv(65536).startswith(b"HTTP/1.1 401")
    assert server.resident_bytes() - before < 16 * MIB


def test_a_body_that_drips_after_its_refusal_holds_no_socket(server: Server) -> None:
    with crowd(server, 20) as senders:
        for sender in senders:
            sender.sendall(NO_KEY + b"Content-Length: 1000000\r\n\r\n{")
        wait_until(
            lambda: not any(try_to_send(sender, b" ") for sender in senders), "their end", deadline_s=ENDS_WITHIN_S
        )


def test_one_address_does_not_take_all_connections(fresh_server) -> None:
    server = fresh_server()
    client = server.client()
    assert client.get("/api/v1/runs").status_code == 200
    with crowd(server, 400) as held:
        # Those that have waited longest give way to those that come after them.
        wait_until(lambda: sum(map(has_ended, held)) >= 400 - 256, "the end of the oldest")
        assert (has_ended(held[0]), has_ended(held[-1])) == (True, False)
        with server.client() as late:
            assert late.get("/api/v1/runs").status_code == 200, "and to one with a key"
        assert metric(client, "towerlog_connections_open") <= 257
        # Whoever has shown a key keeps its connection.
        assert client.get("/api/v1/runs").status_code == 200
    wait_until(lambda: metric(client, "towerlog_connections_open") <= 1, "their end")


def test_followers_that_read_nothing_keep_no_large_events(server: Server, client, unique) -> None:
    """Each follows a run of its own, whose last event is larger than all that is sent at a time."""
    runs = [unique("large") for _ in range(40)]
    for name in runs:
        step(client, name, "step", {"node_name": "n", "text": "x" * 3 * MIB})
    ids = [client.get("/api/v1/runs", params={"q": name}).json()["data"][0]["run_id"] for name in runs]
    with crowd(server, len(ids)) as readers:
        for reader, run_id in zip(readers[:2], ids[:2], strict=True):
            follow(reader, run_id)
        wait_until(lambda: metric(client, "towerlog_streams_open") >= 2, "the first two")
        before = server.resident_bytes()
        for reader, run_id in zip(readers[2:], ids[2:], strict=True):
            follow(reader, run_id)
        wait_until(lambda: metric(client, "towerlog_streams_open") >= len(ids), "all of them")
        # A few frames are held at a time, in turns of the key, and let go when nobody goes on taking them.
        enough = len(ids) * MIB // 2
        wait_until(lambda: server.resident_bytes() - before < enough, "no more than 512 KiB for each of them")
    wait_until(lambda: metric(client, "towerlog_streams_open") == 0, "their end")


def test_a_few_followers_of_each_of_several_organisations_keep_no_large_events_either(fresh_server) -> None:
    """Each finds a turn at once, and lets its frame go when it does not go on taking it."""
    server = fresh_server()
    asked: list[tuple[str, str]] = []
    for number in range(4):
        _, key = server.make_org(f"organisation {number}")
        one = server.client(key, timeout=60)
        for name in ("a", "b", "c"):
            step(one, name, "step", {"node_name": "n", "text": "x" * 3 * MIB})
        asked += [(run["run_id"], key) for run in one.get("/v1/runs").json()]
    client = server.client()
    client.get("/metrics").raise_for_status()
    before = server.resident_bytes()
    with crowd(server, len(asked)) as readers:
        for reader, (run_id, key) in zip(readers, asked, strict=True):
            follow(reader, run_id, key)
        wait_until(lambda: metric(client, "towerlog_streams_open") >= len(asked), "all of them")
        enough = len(asked) * MIB // 2
        wait_until(lambda: server.resident_bytes() - before < enough, "no more than 512 KiB for each of them")


def follow(reader: socket.socket, run_id: str, key: str = ADMIN_KEY) -> None:
    """Opens the stream of a run, and reads nothing of it."""
    shown = b"Authorization: Bearer " + key.encode() + b"\r\n"
    reader.sendall(b"GET /v1/runs/%b/events HTTP/1.1\r\n" % run_id.encode() + HOST + shown + b"\r\n")


def test_streams_have_a_share_for_each_key(fresh_server) -> None:
    server = fresh_server(TOWERLOG_MAX_STREAMS_PER_KEY="3", TOWERLOG_MAX_STREAMS_PER_ORG="5")
    client = server.client()
    run_id = client.post("/v1/threads/t/runs").json()["run_id"]
    clients = [server.client(server.make_key("read")) for _ in range(3)]
    with contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(one.stream("GET", f"/v1/runs/{run_id}/events")).status_code
            for one in clients
            for _ in range(3)
        ]
    # When the organisation's are used up, the key that has most gives one to the key that has none.
    assert found == [200] * 3 + [200, 200, 503] + [200, 503, 503]


@pytest.mark.parametrize("name", ["two keys", "two keys in two headers", "another host"])
def test_an_ambiguous_request_is_refused(server: Server, name: str) -> None:
    key = b"Authorization: Bearer " + ADMIN_KEY.encode() + b"\r\n"
    heads = {
        "two keys": b"GET /api/v1/runs HTTP/1.1\r\n" + HOST + key + b"Authorization: Bearer x\r\n\r\n",
        "two keys in two headers": b"GET /api/v1/runs HTTP/1.1\r\n" + HOST + key + b"X-API-Key: x\r\n\r\n",
        "another host": b"GET http://evil.example/api/v1/runs HTTP/1.1\r\n" + HOST + key + b"\r\n",
    }
    with crowd(server, 1) as [sender]:
        sender.sendall(heads[name])
        sender.settimeout(DEADLINE_S)
        assert sender.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_pages_that_one_key_does_not_read_take_nothing_from_others(fresh_server) -> None:
    """More than the server may have in hand, asked for at once."""
    server = fresh_server()
    _, hostile = server.make_org("hostile")
    sender = server.client(hostile)
    for _ in range(2):
        step(sender, "large", "step", {"node_name": "n", "text": "x" * 3 * MIB})
    [run] = sender.get("/v1/runs").json()
    page = f"GET /api/v1/runs/{run['run_id']}/events?limit=1000 HTTP/1.1\r\n".encode() + HOST
    _, neighbour = server.make_org("neighbour")
    beside = server.client(neighbour)
    step(beside, "beside", "step")
    with crowd(server, 32) as readers:
        for reader in readers:
            reader.sendall(page + f"Authorization: Bearer {hostile}\r\n\r\n".encode())

        def is_one_cut_beside_me() -> bool:
            step(beside, "beside", "step")  # never refused
            assert metric(beside, "towerlog_bytes_in_flight") <= 48 * MIB
            return metric(beside, "towerlog_readers_cut_total") > 0

        wait_until(is_one_cut_beside_me, "the first that is cut")


def test_a_body_in_chunks_of_a_byte_is_given_up(server: Server) -> None:
    key = server.make_key("ingest").encode()
    with crowd(server, 1) as [sender]:
        sender.sendall(NO_KEY + b"Authorization: Bearer " + key + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 40 * MIB and try_to_send(sender, b"1\r\n \r\n" * 8000):
            sent += 48_000
        assert sent < 20 * MIB
        sender.settimeout(DEADLINE_S)
        assert sender.recv(100).startswith(b"HTTP/1.1 400")
