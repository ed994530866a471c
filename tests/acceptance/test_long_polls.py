"""Long polls: one whose caller has gone, or whose key was revoked, takes nothing from the queue."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.acceptance.feeds import claim, create_run, detail, ok, report, types_of
from tests.support.wait import wait_until


@pytest.fixture
def org(server, unique) -> tuple[str, httpx2.Client]:
    """The admin key and a client of an organisation whose queue is empty."""
    _, key = server.make_org(unique("org"))
    return key, server.client(key)


def waiting(client: httpx2.Client) -> int:
    """How many workers the queue shows as holders: a claim for nobody would be one."""
    return len(client.get("/api/agents/workers").json()["data"])


def poll_and_leave(base_url: str, key: str) -> None:
    """Sends a claim that waits, and cuts the connection once the server has it."""
    target = urlsplit(base_url)
    body = json.dumps({"worker_id": "gone", "wait_seconds": 60}).encode()
    head = (
        f"POST /api/agents/runs/claim HTTP/1.1\r\nHost: {target.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((target.hostname or "", target.port or 80), timeout=60) as connection:
        connection.sendall(head.encode())
        # The server asks for the body once it works on the request: from there the poll is under way.
        assert connection.recv(1024).startswith(b"HTTP/1.1 100")
        connection.sendall(body)


def test_a_caller_that_left_takes_nothing(server, org, unique) -> None:
    key, client = org
    poll_and_leave(server.base_url, key)
    run_id = create_run(client, unique("thread"))["run_id"]
    taken = ok(client.post("/api/agents/runs/claim", json={"worker_id": "present", "wait_seconds": 5}))
    assert taken["run"]["id"] == run_id
    assert (taken["run"]["worker_id"], taken["run"]["attempt"]) == ("present", 1)
    assert waiting(client) == 1


def test_a_key_that_was_revoked_takes_nothing(server, org, unique) -> None:
    _, client = org
    minted = ok(client.post("/api/v1/keys", json={"name": "worker", "scopes": ["worker"]}), 201)
    worker = server.client(minted["key"])
    with ThreadPoolExecutor(1) as pool:
        asked = {"worker_id": "w", "wait_seconds": 60}
        poll = pool.submit(worker.post, "/api/agents/runs/claim", json=asked, timeout=90)
        wait_until(lambda: worker.get("/api/agents/workers").status_code == 200, "the key to be known")
        assert client.delete(f"/api/v1/keys/{minted['key_id']}").status_code == 200
        assert poll.result(timeout=30).status_code == 401
    create_run(client, unique("thread"))
    assert waiting(client) == 0


def test_a_run_that_was_given_back_is_not_taken_out_of_the_queue_by_bystanders(org, unique) -> None:
    _, client = org
    made = create_run(client, unique("thread"))
    run_id, trace_id = made["run_id"], made["trace_id"]
    taken = claim(client, run_id, "first")
    state: dict[str, Any] = {"step_index": 1, "status": "waiting_for_approval", "history": []}
    report(client, run_id, "first", {"type": "checkpoint", "payload": state})
    ok(client.post(f"/api/agents/runs/{run_id}/release", json={"worker_id": "first"}))
    ok(client.post(f"/approvals/{trace_id}/1/approve"))
    assert detail(client, run_id)["status"] == "queued"
    again = ok(client.post("/api/agents/runs/claim", json={"worker_id": "second"}))
    assert again["run"]["id"] == run_id
    assert again["run"]["lease_epoch"] > taken["run"]["lease_epoch"]
    assert types_of(client, run_id).count("lane.claimed") == 2
