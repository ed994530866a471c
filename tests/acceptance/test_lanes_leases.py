"""The `lanes` dialect over HTTP: leases that run out, attempts, late workers, and the rate limit."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx2

from tests.acceptance.feeds import claim, create_run, detail, held_run, log_of, ok, report, step, types_of
from tests.acceptance.test_lanes_wire import refused
from tests.support.wait import wait_until


def test_a_lease_that_ran_out_is_requeued_by_the_sweep(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "sleepy", lease_seconds=1)
    wait_until(lambda: "lane.lost" in types_of(client, run_id), "the sweep")
    assert detail(client, run_id)["status"] == "queued"
    run = claim(client, run_id, "next")["run"]
    assert run["attempt"] == 2
    assert run["lease_epoch"] == 2
    assert run["worker_id"] == "next"


def test_reports_keep_a_short_lease_alive(client, unique) -> None:
    wait_until(lambda: keeps_its_lease(client, unique("thread")), "reports none of which comes too late")


def keeps_its_lease(client: httpx2.Client, thread: str) -> bool:
    """Reports for two and a half leases of a second. False where one of them came late by itself, on a busy machine:
    what became of the lease then says nothing."""
    began = sent_at = time.monotonic()
    run_id = held_run(client, thread, "awake", lease_seconds=1)
    while True:
        threading.Event().wait(0.1)
        before, sent_at = sent_at, time.monotonic()
        reply = client.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": "awake"})
        types = types_of(client, run_id)
        if time.monotonic() - before > 0.9:
            return False
        assert (reply.status_code, "lane.lost" in types) == (200, False), reply.text
        assert reply.json()["run"]["attempt"] == 1
        if sent_at - began > 2.5:
            return True


def lose(client: httpx2.Client, run_id: str, attempt: int) -> None:
    """A worker claims the run for a second and is never heard of again."""
    run = claim(client, run_id, f"sleepy{attempt}", lease_seconds=1)["run"]
    assert run["attempt"] == attempt
    wait_until(lambda: types_of(client, run_id).count("lane.lost") >= attempt, "the lease to be lost")


def test_after_three_attempts_the_run_is_lost(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    for attempt in (1, 2, 3):
        lose(client, run_id, attempt)
    assert detail(client, run_id)["status"] == "lost"
    types = types_of(client, run_id)
    assert types.count("lane.lost") == 3
    assert types.count("lane.claimed") == 3
    assert types[-1] in {"run.failed", "run.lost"}
    refused(client.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": "fourth"}), 409, "RUN_ENDED")
    assert client.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": str(len(types))}).status_code == 204
    assert run_id in client.get("/api/agents/runs", params={"state": "failed"}).text


def late_worker(client: httpx2.Client, thread: str) -> tuple[str, int]:
    """A run that a worker `late` lost to a worker `new`, and the epoch that it lost."""
    run_id = create_run(client, thread)["run_id"]
    epoch: int = claim(client, run_id, "late", lease_seconds=1)["run"]["lease_epoch"]
    wait_until(lambda: "lane.lost" in types_of(client, run_id), "the lease to be lost")
    claim(client, run_id, "new")
    return run_id, epoch


def test_a_late_worker_gets_409_and_its_report_is_not_folded(client, unique) -> None:
    run_id, epoch = late_worker(client, unique("thread"))
    before = log_of(client, run_id)
    canary = unique("canary")
    body: dict[str, Any] = {
        "worker_id": "late",
        "lease_epoch": epoch,
        "phase": canary,
        "events": [
            {"type": "message.delta", "payload": {"content": canary}},
            {"type": "ship_complete", "payload": {"note": canary}},
        ],
    }
    reply = client.post(f"/api/agents/runs/{run_id}/events", json=body)
    refused(reply, 409, "LEASE_LOST")
    assert "new" not in reply.json()["error"].split()
    assert log_of(client, run_id) == before
    assert detail(client, run_id)["status"] == "running"
    run = report(client, run_id, "new")
    assert run["worker_id"] == "new"
    assert run["phase"] != canary
    visible = [client.get(f"/api/v1/runs/{run_id}{path}").text for path in ["", "/events", "/quarantine"]]
    assert any(canary in text for text in visible), "what a late worker sent is to be kept and shown"


def test_a_late_worker_may_not_end_the_run(client, unique) -> None:
    run_id, _ = late_worker(client, unique("thread"))
    for act in ["complete", "fail", "release"]:
        refused(client.post(f"/api/agents/runs/{run_id}/{act}", json={"worker_id": "late"}), 409, "LEASE_LOST")
    assert report(client, run_id, "new")["worker_id"] == "new"
    assert detail(client, run_id)["status"] == "running"


def test_six_hundred_reports_a_minute_from_one_address(fresh_server) -> None:
    server = fresh_server(limits=True)
    client = server.client()
    run_id = create_run(client, "thread")["run_id"]
    claim(client, run_id, "w", lease_seconds=60)
    path, body = f"/api/agents/runs/{run_id}/events", {"worker_id": "w"}
    replies = [client.post(path, json=body) for _ in range(610)]
    passed = [reply for reply in replies if reply.status_code == 200]
    # The claim may count too; nothing else was asked of this dialect.
    assert 599 <= len(passed) <= 600
    limited = [reply for reply in replies if reply.status_code != 200]
    for reply in limited:
        told = refused(reply, 429, "RATE_LIMITED")
        assert 0 < int(reply.headers["Retry-After"]) <= 60
        assert told["retryAfter"] == int(reply.headers["Retry-After"])
        assert reply.headers["X-RateLimit-Limit"] == "600"
        assert reply.headers["X-RateLimit-Remaining"] == "0"
        assert reply.headers["X-RateLimit-Reset"]
    ok(client.get("/v1/runs"))
    step(client, "another-dialect", "run_start")


def test_the_rate_is_counted_by_address_and_not_by_key(fresh_server) -> None:
    server = fresh_server(limits=True, TOWERLOG_LANES_RATE_PER_MINUTE="10")
    clients = [server.client(server.make_key("worker")) for _ in range(2)]
    run_id = create_run(server.client(), "thread")["run_id"]
    path, body = f"/api/agents/runs/{run_id}/events", {"worker_id": "w"}
    codes = [clients[n % 2].post(path, json=body).status_code for n in range(20)]
    assert codes == [409] * 10 + [429] * 10


def test_a_rate_of_zero_is_no_limit(fresh_server) -> None:
    server = fresh_server(limits=True, TOWERLOG_LANES_RATE_PER_MINUTE="0")
    client = server.client()
    run_id = create_run(client, "thread")["run_id"]
    claim(client, run_id, "w", lease_seconds=60)
    path, body = f"/api/agents/runs/{run_id}/events", {"worker_id": "w"}
    assert {client.post(path, json=body).status_code for _ in range(650)} == {200}
