"""A server that dies and comes back on another port: who goes by its data folder finds it, and no key goes elsewhere.

On the port that it had a stranger listens meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.sdk.talker import Talker, reply, talking
from tests.sdk.worker_process import Control, WorkerProcess
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.cli import connect
from towerlog.config import Settings
from towerlog.sdk.record.backlog.destination import Destination
from towerlog.sdk.record.recorder import Recorder
from towerlog.sdk.wire.errors import Unreachable


class Moving:
    """A server over one data folder, and whoever comes to listen where it was."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.server = self._started()
        self.strangers: list[Talker] = []

    def _started(self) -> Server:
        return self._stack.enter_context(Server(self._folder / "data", NO_LIMITS))

    def die(self) -> None:
        """As a crash would; at once somebody else has the port."""
        self.server.kill()
        self.strangers.append(self._stack.enter_context(talking(*[reply(200)] * 100, port=self.server.port)))

    def come_back(self) -> None:
        """On another port."""
        was = self.server.port
        self.server = self._started()
        assert self.server.port != was

    def assert_that_no_stranger_was_told_anything(self) -> None:
        assert self.strangers
        assert [one.requests for one in self.strangers] == [[]] * len(self.strangers)


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    with ExitStack() as stack:
        yield Moving(tmp_path, stack)


@pytest.fixture
def settings(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("TOWERLOG_URL", "TOWERLOG_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Settings(data_dir=str(moving.server.data_dir))


def test_a_worker_goes_on_with_its_run_where_the_server_is_now(moving: Moving, tmp_path: Path) -> None:
    worker = WorkerProcess(moving.server, None, tmp_path / "worker", "--lease-seconds", "60")
    try:
        run_id = Control(moving.server.client()).create("t", "researcher")
        Control(moving.server.client()).until(run_id, "waiting_for_input")
        moving.die()
        moving.come_back()
        control = Control(moving.server.client())
        assert control.client.post(f"/v1/runs/{run_id}/input", json={"content": "yes"}).status_code == 200
        assert control.until(run_id, "completed")["result"] == {"published": "yes"}
        assert len(control.events(run_id, "lane.claimed")) == 1
        # What its agents report by themselves goes there too, and is found below the run.
        nesting = control.create("t2", "nesting")
        control.until(nesting, "completed")
        wait_until(
            lambda: control.client.get("/api/v1/runs", params={"agent": "nested"}).json()["data"], "the inner run"
        )
        moving.assert_that_no_stranger_was_told_anything()
    finally:
        worker.kill()


def test_a_client_asks_where_the_server_is_now(moving: Moving, settings: Settings) -> None:
    with connect.client_of(settings, None) as client:
        assert list(client.list_runs()) == []
        moving.die()
        with pytest.raises(Unreachable, match="is running"):
            next(iter(client.list_runs()), None)
        moving.come_back()
        Control(moving.server.client()).create("t")
        assert len(list(client.list_runs())) == 1
        assert str(client.http.address) == moving.server.base_url
    moving.assert_that_no_stranger_was_told_anything()


def test_a_recorder_reports_where_the_server_is_now_and_its_spool_is_the_same(
    moving: Moving, settings: Settings, tmp_path: Path
) -> None:
    destination = Destination.of(*connect.server_of(settings, None, connect.COMMANDS))
    recorder = Recorder(destination=destination, spool_dir=tmp_path / "spool", longest_pause_seconds=0.5)
    try:
        with recorder.record_run("teller") as run:
            assert recorder.flush(20)
            spool_id = destination.spool_id
            moving.die()
            run.step("while nobody listens")
            wait_until(lambda: recorder.status().last_error, "a try that fails")
            moving.come_back()
            run.step("again")
        assert recorder.flush(60)
        assert run.url == f"{moving.server.base_url}/runs/{run.run_id}"
        assert destination.spool_id == spool_id
    finally:
        recorder.close(0.0)
    found = moving.server.client().get(f"/api/v1/runs/{run.run_id}").json()
    assert (found["status"], found["delivery"]["complete"]) == ("completed", True)
    moving.assert_that_no_stranger_was_told_anything()
