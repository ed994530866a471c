"""A server that gets no more memory refuses what needs it, is never at fault in an answer, and goes on."""

from __future__ import annotations

import gzip
import json
import random
import resource
from collections.abc import Callable

import httpx2

from tests.support.figures import MIB
from tests.support.server import Server

UNLIMITED = resource.RLIM_INFINITY
TEXT = random.Random(1).randbytes(3 * MIB // 2).hex()
"""Large, and not much smaller when it is compressed."""


def send(client: httpx2.Client, event_id: str, seq: int) -> httpx2.Response:
    event = {"event_id": event_id, "client_seq": seq, "run_key": "r", "type": "step", "data": {"name": "n", "t": TEXT}}
    body = gzip.compress(json.dumps({"client_id": "c", "events": [event]}).encode(), 1)
    return client.post("/api/v1/events", content=body, headers={"Content-Encoding": "gzip"})


def test_a_server_without_memory_refuses_and_goes_on(fresh_server: Callable[..., Server]) -> None:
    server = fresh_server()
    with server.client(timeout=60) as client:
        assert send(client, "first", 1).status_code == 200  # what threads and modules need is there from now on
        most_bytes = server.resident_bytes("VmSize") + 2 * MIB
        server.limit(resource.RLIMIT_AS, most_bytes)
        answers = [send(client, f"e{n}", 2 + n) for n in range(6)]
        server.limit(resource.RLIMIT_AS, UNLIMITED)
        refused = [one for one in answers if one.status_code != 200]
        assert refused
        assert {(one.status_code, one.headers["retry-after"]) for one in refused} == {(503, "1")}
        assert f"towerlog_out_of_memory_total {len(refused)}.0" in client.get("/metrics").text
        # What was refused is taken once there is memory again; what was taken is a repeat.
        results = [send(client, f"e{n}", 2 + n).json()["results"][0]["status"] for n in range(6)]
        assert set(results) <= {"stored", "duplicate"}
    assert server.process is not None
    assert server.process.poll() is None
