"""A program that is begun again under its run key is told what the one before has heard, against a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.recorder import Recorder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("again") / "data", {**NO_LIMITS, "TOWERLOG_CANCEL_DEADLINE_SECONDS": "3600"})
    yield made.start()
    made.close()


@pytest.fixture(autouse=True)
def asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program asks what people want of its run every five seconds."""
    monkeypatch.setattr("towerlog.sdk.record.delivery.POLL_EVERY_S", 0.2)


class Program:
    """A program that works where it may, with a recorder of its own; `left` by a test as a killed one is."""

    def __init__(self, server: Server, run_key: str, spool: Path) -> None:
        self.recorder = Recorder(server.base_url, ADMIN_KEY, spool_dir=spool, longest_pause_seconds=0.5)
        self.run = self.recorder.start_run("program", run_key=run_key)
        self.ticks, self.heard = 0, ""
        self._left = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def begin(self) -> Program:
        self.thread.start()
        return self

    def leave(self) -> None:
        self._left.set()
        self.recorder.state.delivery.stop(5.0)

    def _work(self) -> None:
        try:
            while not self._left.wait(0.02):
                self.run.pause_point()
                self.ticks += 1
        except RunCancelled as error:
            self.heard = str(error)


def test_a_pause_outlives_its_program(server: Server, tmp_path: Path) -> None:
    client = server.client()
    first = Program(server, "nightly", tmp_path / "first").begin()
    run_id = wait_until(lambda: first.run.run_id, "the run")

    def shown() -> dict[str, Any]:
        return client.get(f"/v1/runs/{run_id}").json()

    client.post(f"/api/v1/runs/{run_id}:pause", json={"reason": "a person looks"}).raise_for_status()
    wait_until(lambda: shown()["status"] == "paused", "the pause")
    first.leave()
    again = Program(server, "nightly", tmp_path / "again")
    wait_until(lambda: again.run.pausing, "the pause, told again")
    again.begin()
    wait_until(lambda: not again.run.pausing, "its pause point")
    assert (again.ticks, shown()["status"]) == (0, "paused")
    client.post(f"/api/v1/runs/{run_id}:resume").raise_for_status()
    wait_until(lambda: again.ticks, "work after the pause")
    wait_until(lambda: shown()["status"] == "running", "the status")
    again.run.finish()
    assert again.recorder.close(20)


def test_a_cancel_outlives_its_program(server: Server, tmp_path: Path) -> None:
    client = server.client()
    first = Program(server, "cleaning", tmp_path / "first").begin()
    run_id = wait_until(lambda: first.run.run_id, "the run")
    client.post(f"/v1/runs/{run_id}:cancel", json={"reason": "enough"}).raise_for_status()
    wait_until(lambda: client.get(f"/v1/runs/{run_id}").json()["cancel"]["acknowledged_at"], "that it is known")
    first.leave()
    again = Program(server, "cleaning", tmp_path / "again").begin()
    wait_until(lambda: again.heard, "the cancel, told again")
    assert again.heard == "enough"
    again.recorder.close(20)
