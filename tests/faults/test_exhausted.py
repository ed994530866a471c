"""A server that gets no more threads has what it needs from its start on; without a descriptor it ends in order."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import answered
from tests.faults.disk import Faulty
from tests.support.figures import MIB
from tests.support.samples import first
from tests.support.senders import ingest, sdk_event
from tests.support.server import clean_environment, executable


def test_a_server_that_may_start_no_thread_goes_on_with_everything(faulty: Faulty) -> None:
    server = faulty()
    server.fail("thread - EAGAIN 0 -1")  # before there was any request
    client = server.client(timeout=60)
    for number, size in enumerate([10, 400_000, 10, MIB, 3 * MIB]):
        text = "ä" * (size // 2)
        told = ingest(client, sdk_event("step", f"r{number}", {"text": text}, agent_name="a"))
        assert told.status_code == 200, told.text
    runs = client.get("/api/v1/runs").json()["data"]
    assert len(runs) == 5
    for path in (f"/api/v1/runs/{runs[0]['run_id']}/outline", "/openapi.json", "/llms.txt", "/metrics"):
        assert client.get(path).status_code == 200, path
    assert client.post("/api/v1/keys", json={"name": "k", "scopes": ["read"]}).status_code == 201
    assert client.get("/readyz").json()["status"] == "ready"
    assert "towerlog_checkpoints_failed_total 0.0" in client.get("/metrics").text
    server.stop()
    assert "can't start new thread" not in server.log


NO_THREADS = "towerlog: the system starts no more threads for this user or unit"


@pytest.mark.parametrize("begun", first([0, 4, 1, 2, 8, 16], quick=2))
def test_what_gets_too_few_threads_to_start_says_so_in_a_line(faulty: Faulty, tmp_path: Path, begun: int) -> None:
    server = faulty()
    server.stop()
    server.fail(f"thread - EAGAIN {begun} -1")
    arguments = (("verify",), ("backup", str(tmp_path / "b.db")), ("rebuild",), ("serve", "--port", "0"))
    for one in arguments[3:] if begun > 4 else arguments:
        done = server.cli(*one)
        told = done.stderr.splitlines()
        if done.returncode == 0 and one[0] != "serve":
            continue  # it needs no more than those
        assert done.returncode == 69, (one, done.stderr)
        assert told[-1].startswith(NO_THREADS), (one, told)
        assert "Traceback" not in done.stderr, (one, done.stderr)
        assert begun or len(told) == 1, (one, told)


@pytest.mark.parametrize("most", first([20, 12, 16, 18, 22, 24, 28], quick=2))
def test_a_command_without_descriptors_calls_nothing_damaged(path: Path, tmp_path: Path, most: int) -> None:
    copy = tmp_path / "b.db"
    answered("backup", copy, "--data-dir", path.parent)
    for command in (f"restore {copy}", "verify", f"backup {copy}.2", "rebuild"):
        line = f"ulimit -n {most}; exec {executable()} {command} --data-dir {path.parent}"
        env = clean_environment({})
        done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, 69, 70), (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, (command, done.stderr)
        for wrong in ("not valid", "restore a backup", "not whole"):
            assert wrong not in done.stderr, (command, done.stderr)


def test_a_server_without_any_descriptor_ends_in_order(faulty: Faulty) -> None:
    server = faulty()
    client = server.client()
    assert ingest(client, sdk_event("step", "r", {"text": "x"}, agent_name="a")).status_code == 200
    assert server.process is not None
    most = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, most[1]))
    server.stop()  # with 0
    assert "Traceback" not in server.log
