"""The server under bad connections and at its end: bare sockets that misbehave, and SIGTERM under load."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.acceptance.feeds import create_run, held_run, log_of, newest_run_of, ok, run_stream, step, watch
from tests.support.readback import ReadBack
from tests.support.senders import ingest, sdk_event
from tests.support.server import ADMIN_KEY, Server
from tests.support.wait import wait_until

HEAD = f"Host: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n"
BODY = '{"event_type": "step", "sdk_run_id": "raw-socket", "payload": {}}'

MALFORMED = {
    "no-request": "\r\n\r\n\r\n",
    "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "negative-length": f"POST /api/ingest HTTP/1.1\r\n{HEAD}Content-Length: -1\r\n\r\n{BODY}",
    "absurd-length": f"POST /api/ingest HTTP/1.1\r\n{HEAD}Content-Length: 99999999999999999999999\r\n\r\n{BODY}",
    "word-for-length": f"POST /api/ingest HTTP/1.1\r\n{HEAD}Content-Length: many\r\n\r\n{BODY}",
    "two-lengths": f"POST /api/ingest HTTP/1.1\r\n{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{BODY}",
    "bad-chunk": f"POST /api/ingest HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n{BODY}\r\n0\r\n\r\n",
    "length-and-chunks": (
        f"POST /api/ingest HTTP/1.1\r\n{HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /"
    ),
    "huge-header": f"GET /v1/runs HTTP/1.1\r\n{HEAD}X-Large: {'x' * 500_000}\r\n\r\n",
    "huge-path": f"GET /v1/runs/{'x' * 500_000} HTTP/1.1\r\n{HEAD}\r\n",
    "old-version": f"GET /v1/runs HTTP/0.9\r\n{HEAD}\r\n",
}


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_a_malformed_request_gets_a_4xx_or_a_closed_door(server, client, name) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
        try:
            raw.sendall(MALFORMED[name].encode("latin-1"))
            raw.shutdown(socket.SHUT_WR)
            answer = b""
            while received := raw.recv(65536):
                answer += received
        except OSError:  # it was closed in the middle
            answer = b""
    if answer:
        assert 200 <= int(answer.split(b" ")[1]) < 500, answer[:200]
    assert client.get("/healthz").status_code == 200
    assert client.get("/v1/threads/raw-socket").status_code == 404, "a malformed request has left something"


def test_bodies_that_never_end_hold_up_nobody(server, client, unique) -> None:
    half = f"POST /api/ingest HTTP/1.1\r\n{HEAD}Content-Length: {len(BODY)}\r\n\r\n{BODY[:20]}"
    holding = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(100)]
    try:
        for number, raw in enumerate(holding):
            raw.sendall(half.encode() if number % 2 else half[: number % 100].encode())
        # Each is answered while all the others are still held open.
        for n in range(50):
            step(client, unique("sdk"), "step", {"node_name": str(n)})
    finally:
        for raw in holding:
            raw.close()
    assert client.get("/v1/threads/raw-socket").status_code == 404


def test_a_request_that_hangs_up_may_be_sent_again(server, client, unique) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name="a")
    for n in range(20):
        event_id = f"{sdk_run}-{n}"
        body = (
            f'{{"event_type":"step","sdk_run_id":"{sdk_run}","payload":{{"node_name":"{n}"}},"event_id":"{event_id}"}}'
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
            raw.sendall(f"POST /api/ingest HTTP/1.1\r\n{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        step(client, sdk_run, "step", {"node_name": str(n)}, event_id=event_id)
    names = [event["data"]["node_name"] for event in log_of(client, newest_run_of(client, sdk_run))[1:]]
    assert names == [str(n) for n in range(20)]


def write(server: Server, sdk_run: str, acked: list[str]) -> None:
    """Sends events until the server does not take any more; keeps what was acknowledged."""
    client = server.client()
    for n in range(1_000_000):
        try:
            reply = ingest(client, sdk_event("step", sdk_run, {"node_name": str(n)}))
        except httpx2.TransportError:
            return
        if reply.status_code != 200:
            assert reply.status_code == 503, reply.text
            return
        acked.append(str(n))


def test_sigterm_drains_with_open_streams_and_load(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    acked: list[list[str]] = [[] for _ in range(4)]
    for n in range(4):
        step(client, f"sdk{n}", "run_start", agent_name="a")
    run_ids = [newest_run_of(client, f"sdk{n}") for n in range(4)]
    agent_id = ReadBack(client).agent_id("a")
    quiet = create_run(client, "quiet")["run_id"]
    held = held_run(client, "held", "w")
    streams = [run_stream(server, run_id) for run_id in [*run_ids, *[quiet] * 40]]
    feeds = [watch(server, f"/agents/{agent_id}/events?follow=true") for _ in range(10)]
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, server, f"sdk{n}", acked[n]) for n in range(4)]
        # Two requests that would wait for a minute must not hold the server up.
        claim = {"worker_id": "w2", "wait_seconds": 60, "agents": ["nobody"]}
        waiting = pool.submit(quietly, server, "/api/agents/runs/claim", claim)
        heartbeat = pool.submit(
            quietly, server, f"/api/agents/runs/{held}/events", {"worker_id": "w", "wait_seconds": 60}
        )
        wait_until(lambda: all(len(labels) > 20 for labels in acked), "the load to be on")
        server.stop()
        for job in [*writers, waiting, heartbeat]:
            job.result(60)
    last = [list(stream.rest()) for stream in feeds]
    assert all(frames[-1].event == "end" and frames[-1].data == "stream closed" for frames in last)
    for stream in streams:
        for frame in stream.rest():
            assert frame.data is None or frame.json["seq"] >= 1
    assert server.cli_inside("verify").returncode == 0
    server.start()
    for n in range(4):
        kept = [event["data"]["node_name"] for event in log_of(client, run_ids[n]) if event["type"] == "step"]
        assert kept[: len(acked[n])] == acked[n]
        assert len(kept) <= len(acked[n]) + 1
    for stream in [*streams, *feeds]:
        stream.close()


def quietly(server: Server, path: str, body: dict[str, object]) -> int | None:
    """The status of a request that a stopping server may leave unanswered."""
    try:
        return server.client().post(path, json=body, timeout=60).status_code
    except httpx2.TransportError:
        return None


def test_requests_that_wait_are_answered_when_the_server_stops(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    run_id = held_run(client, "held", "w")
    before = len(log_of(client, run_id))
    claim = {"worker_id": "hungry", "wait_seconds": 60, "agents": ["nobody"]}
    delta = {"type": "message.delta", "payload": {"content": "kept"}}
    patient = {"worker_id": "w", "wait_seconds": 60, "events": [delta]}
    with ThreadPoolExecutor(2) as pool:
        claiming = pool.submit(quietly, server, "/api/agents/runs/claim", claim)
        reporting = pool.submit(quietly, server, f"/api/agents/runs/{run_id}/events", patient)
        wait_until(lambda: len(log_of(client, run_id)) > before, "the report to be stored")
        # `stop` has half of the minute that the two want to wait.
        server.stop()
        assert claiming.result(60) in {204, 503, None}
        assert reporting.result(60) == 200, "what was stored is acknowledged"


def test_a_stopping_server_is_not_ready(fresh_server) -> None:
    server: Server = fresh_server()
    assert ok(server.client(None).get("/readyz")) is not None
    stopped = threading.Event()

    def stop() -> None:
        server.stop()
        stopped.set()

    thread = threading.Thread(target=stop)
    thread.start()
    codes, client = set(), server.client(None, timeout=2)
    while not stopped.wait(0.01):
        try:
            codes.add(client.get("/readyz").status_code)
        except httpx2.TransportError:
            continue
    thread.join(60)
    assert codes <= {200, 503}
    assert server.process is None
