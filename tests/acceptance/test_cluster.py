"""`make cluster`, and several processes on one port: nodes behind one address, as one server to its clients."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.feeds import create_run, ok, report, rest_of
from tests.support.postgres import cluster
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.sse import EventStream
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}


def talk(base_url: str, thread: str) -> None:
    """A run from its start to its end, each request by a connection of its own, so that all nodes get some."""

    def client() -> httpx2.Client:
        return httpx2.Client(base_url=base_url, headers={**KEY, "Connection": "close"}, timeout=30, trust_env=False)

    with client() as one:
        run_id = create_run(one, thread)["run_id"]
        ok(one.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": "w", "lease_seconds": 60}))
    with EventStream(f"{base_url}/v1/runs/{run_id}/events", KEY) as stream:
        for turn in range(9):
            with client() as one:
                report(one, run_id, "w", {"type": "message.delta", "payload": {"n": turn}})
        with client() as one:
            ok(one.post(f"/api/agents/runs/{run_id}/complete", json={"worker_id": "w"}))
        seqs = [frame.json["seq"] for frame in rest_of(stream)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 10


@pytest.mark.slow
@pytest.mark.parametrize("wake", ["nats", "postgres"])
def test_a_cluster_is_one_server_to_its_clients(wake: str, unique) -> None:
    command = [sys.executable, str(ROOT / "tools" / "cluster.py"), "--wake", wake]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        found = re.search(r"3 nodes behind (http://127\.0\.0\.1:\d+)", told)
        assert found is not None, told
        for _ in range(3):
            talk(found[1], unique("thread"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_several_processes_serve_one_port(tmp_path: Path, unique) -> None:
    name = cluster().lasting_name()
    cluster().create(name)
    env = {"TOWERLOG_DATABASE_URL": cluster().url(name), "TOWERLOG_WORKERS": "2", **NO_LIMITS}
    with Server(tmp_path / "data", env) as server:
        assert server.process is not None
        both = wait_until(lambda: children_of(server.process.pid, 2), "two processes")
        for _ in range(3):
            talk(server.base_url, unique("thread"))
        os.kill(both[1], signal.SIGKILL)
        again = wait_until(lambda: [pid for pid in children_of(server.process.pid, 2) if pid not in both], "another")
        assert len(again) == 1
        talk(server.base_url, unique("thread"))
        server.stop()
        server.says("a worker was lost")


def children_of(pid: int, count: int) -> list[int]:
    """The processes that it has started, once there are so many."""
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found if len(found) == count else []


def test_several_processes_need_a_database_for_several(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", {"TOWERLOG_WORKERS": "2"})
    try:
        refused = server.cli("serve", "--port", "0")
        assert (refused.returncode, "needs PostgreSQL" in refused.stderr) == (78, True), refused.stderr
    finally:
        server.close()
