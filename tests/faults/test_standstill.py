"""Real servers: one that was stopped hears first what waits in its socket; one whose clock is set takes no lease."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import detail, held_run, report, types_of
from tests.faults.disk import CHANGES
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until

LEASE_S = 3
STOPPED_S = 3 * LEASE_S
DAY_S = 86_400
SOURCE = Path(__file__).with_name("wall.c")


@pytest.fixture
def change() -> str:
    """What of the program is changed: nothing."""
    return ""


@pytest.fixture
def server(tmp_path: Path, change: str) -> Iterator[Server]:
    """One whose wall clock reads as many seconds off as `wall` beside its data says."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "this test builds tests/faults/wall.c and needs a C compiler: on Debian, apt install gcc libc6-dev"
    library, wall = tmp_path / "wall.so", tmp_path / "wall"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    wall.write_text("0")
    silent = {"TOWERLOG_SILENT_AFTER_SECONDS": "3600"}
    clocks = {"LD_PRELOAD": str(library), "WALL_SECONDS": str(wall)}
    changes = {"FAULTY_CHANGES": change, "PYTHONPATH": str(CHANGES)}
    made = Server(tmp_path / "data", {**NO_LIMITS, **silent, **clocks, **changes})
    try:
        yield made.start()
    finally:
        made.close()


def passed(seconds: float) -> None:
    """Returns once so much time has passed."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, f"{seconds} s to pass")


@pytest.mark.parametrize(
    ("change", "is_heard"),
    [("", True), ("standstill_counts", False)],
    ids=["as-it-is", "mutant"],
)
@pytest.mark.slow
def test_a_heartbeat_that_waits_in_a_stopped_servers_socket_keeps_the_lease(server: Server, is_heard: bool) -> None:
    client = server.client()
    run_id = held_run(client, "thread", "w", lease_seconds=LEASE_S)
    body = json.dumps({"worker_id": "w"}).encode()
    head = (
        f"POST /api/agents/runs/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert server.process is not None
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as waiting:
        server.process.send_signal(signal.SIGSTOP)
        try:
            waiting.sendall(head.encode() + body)
            passed(STOPPED_S)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert (waiting.recv(4096).split(b"\r\n")[0] == b"HTTP/1.1 200 OK") is is_heard
    assert ("lane.lost" not in types_of(client, run_id)) is is_heard
    wait_until(lambda: "lane.lost" in types_of(client, run_id), "the lease to run out now that nobody reports")


@pytest.mark.parametrize("by_s", [-365 * DAY_S, 365 * DAY_S])
@pytest.mark.slow
def test_a_real_clock_that_is_set_takes_no_lease_and_its_times_follow(
    server: Server, tmp_path: Path, by_s: int
) -> None:
    client = server.client()
    run_id = held_run(client, "thread", "w", lease_seconds=60)
    before = report(client, run_id, "w")["lease_expires_at"]
    (tmp_path / "wall").write_text(str(by_s))
    passed(2)
    assert "lane.lost" not in types_of(client, run_id)
    after = report(client, run_id, "w")["lease_expires_at"]
    assert (after > before) == (by_s > 0), "the lease's end is shown by the clock as it is set now"
    assert after[:4] != before[:4]
    assert detail(client, run_id)["liveness"]["verdict"] == "alive"


@pytest.mark.parametrize("restarts", [False, True], ids=["while it runs", "before a start"])
@pytest.mark.slow
def test_a_real_clock_that_is_ahead_erases_nothing(server: Server, tmp_path: Path, restarts: bool) -> None:
    client = server.client()
    ended = {"event_id": "e", "run_key": "r", "client_seq": 1, "type": "run.completed", "data": {"result": "kept"}}
    [stored] = ok(client.post("/api/v1/events", json={"client_id": "c", "events": [ended]}))["results"]
    events = f"/api/v1/runs/{stored['run_id']}/events"
    assert "kept" in client.get(events).text
    if restarts:
        server.stop()
    (tmp_path / "wall").write_text(str(100 * DAY_S))
    if restarts:
        server.start()
    wait_until(lambda: "clock_off" in client.get("/readyz").text, "the clock to be looked at")
    ok(client.put("/api/v1/retention/events", json={"max_age_seconds": 90 * DAY_S}))
    # A policy that was changed is carried out within a second; so is the next one, for which nothing is too young.
    passed(5)
    assert "kept" in client.get(events).text
    (tmp_path / "wall").write_text("0")
    ok(client.put("/api/v1/retention/events", json={"max_bytes": 0}))
    wait_until(lambda: "kept" not in client.get(events).text, "a policy to be carried out")


@pytest.mark.parametrize("restarts", [False, True], ids=["while it runs", "before a start"])
@pytest.mark.slow
def test_a_real_clock_that_is_confirmed_is_followed_and_no_other(
    server: Server, tmp_path: Path, restarts: bool
) -> None:
    client = server.client()
    ended = {"event_id": "e", "run_key": "r", "client_seq": 1, "type": "run.completed", "data": {"result": "kept"}}
    [stored] = ok(client.post("/api/v1/events", json={"client_id": "c", "events": [ended]}))["results"]
    events = f"/api/v1/runs/{stored['run_id']}/events"
    ok(client.put("/api/v1/retention/events", json={"max_age_seconds": 90 * DAY_S}))
    server.stop()
    confirm = ("retention", "confirm-clock", "--yes")
    (tmp_path / "wall").write_text(str(200 * DAY_S))
    assert server.cli(*confirm).returncode == 0
    (tmp_path / "wall").write_text(str(100 * DAY_S))
    server.start()
    wait_until(lambda: "clock_off" in client.get("/readyz").text, "the clock to be looked at")
    ok(client.post("/api/v1/retention/run", json={"dry_run": False}))
    passed(3)
    assert "kept" in client.get(events).text, "another clock was confirmed"
    if restarts:
        server.stop()
    told = server.cli(*confirm)
    assert "99 d 23 h ahead" in told.stderr or "100 d 0 h ahead" in told.stderr
    if restarts:
        server.start()
    wait_until(lambda: "clock_off" not in client.get("/readyz").text, "the word to be taken")
    wait_until(lambda: "kept" not in client.get(events).text, "what is too old to be erased")


def ok(reply: httpx2.Response) -> Any:
    assert reply.is_success, reply.text
    return reply.json()
