"""A kill at any point of the server's work costs nothing that was acknowledged; the points are `changed/points.py`."""

from __future__ import annotations

import importlib
import operator
import shutil
import signal
import threading
from pathlib import Path

import httpx2
import pytest

from tests.faults.changed.points import POINTS
from tests.faults.disk import Faulty, FaultyServer, Load, event_ids
from tests.faults.test_full_disk import standing_reader
from tests.support.wait import wait_until

ENOUGH = 30
LEAST = 15
CHANGES = {"hurried load": "hurried", "held load": "short_log", "idle": "hurried"}
KEY = {"Idempotency-Key": "the-one"}
QUICK = {
    "between the frames of a group and their sync",
    "between the commit of a group and its publishing",
    "before a stored reply is written",
}


class Killed:
    """A server that is to be killed at a point."""

    def __init__(self, faulty: Faulty, folder: Path, name: str, **settings: str) -> None:
        self.point = POINTS[name]
        self.armed = folder / "armed"
        planted = ("killed",) if self.point.function else ()
        changes = (*filter(None, [CHANGES.get(self.point.during)]), *planted)
        self.server: FaultyServer = faulty(*changes, FAULTY_POINT=name, FAULTY_ARMED=str(self.armed), **settings)
        self.acked: set[str] = set()
        self.told: list[str] = []
        """Of a command with a key: the ids of its run."""

    def arm(self) -> None:
        """From now on the point kills."""
        self.armed.touch()
        self.server.fail(*filter(None, [self.point.rule]))

    def disarm(self) -> None:
        self.armed.unlink()
        self.server.fail()

    def load(self) -> None:
        """Some that is acknowledged."""
        with Load(self.server) as load:
            wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
        self.acked |= set(load.acked)

    def load_to_the_end(self) -> None:
        """Until it is killed."""
        with Load(self.server, event_bytes=3000) as load:
            self.arm()
            wait_until(self.is_dead, "the kill")
        self.acked |= set(load.acked)

    def is_dead(self) -> bool:
        return self.server._running().poll() is not None

    def send(self, path: str, body: object, **headers: str) -> None:
        """A request whose reply may never come."""
        try:
            reply = self.server.client().post(path, json=body, headers=headers)
        except httpx2.TransportError:
            return
        assert reply.is_success, reply.text
        self.told.append(reply.json()["run_id"])


def test_there_are_enough_points() -> None:
    assert len(POINTS) >= LEAST


def test_each_point_is_in_the_program() -> None:
    """A function that was renamed would make its point one that is never reached."""
    for point in POINTS.values():
        if point.function:
            module, _, name = point.function.partition(":")
            assert callable(operator.attrgetter(name)(importlib.import_module(module))), point.function


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name.replace(" ", "_"))
        for name, point in POINTS.items()
        if point.during != "telling"  # `test_kills_while_telling.py` gets there, several times in one story.
    ],
)
def test_a_kill_at_each_point_costs_nothing(faulty: Faulty, tmp_path: Path, name: str) -> None:
    killed = Killed(faulty, tmp_path, name)
    server = killed.server
    killed.load()
    WAYS[killed.point.during](killed)
    assert server.ended() == -signal.SIGKILL, f"the point was not reached\n{server.log}"
    killed.disarm()
    server.start()
    if killed.point.during == "keyed":
        killed.send("/v1/threads/keyed/runs", {}, **KEY)
        assert len(set(killed.told)) == 1, "the command is carried out once, and its reply is the same"
        assert len(server.client().get("/v1/runs?thread_id=keyed").json()) == 1
    server.stop()
    assert killed.acked <= event_ids(server.data_dir / "towerlog.db")
    assert server.cli_inside("verify").returncode == 0


def _load(killed: Killed) -> None:
    killed.load_to_the_end()


def _held_load(killed: Killed) -> None:
    """When somebody who has kept the log from starting anew lets it go."""
    with Load(killed.server, event_bytes=100_000) as load:
        with standing_reader(killed.server):
            wait_until(lambda: 503 in load.refused, "writes to be held up")
            killed.arm()
        wait_until(killed.is_dead, "the kill")
    killed.acked |= set(load.acked)


def _idle(killed: Killed) -> None:
    """When nobody writes any more."""
    with Load(killed.server) as load:
        seen = len(load.acked)
        killed.arm()
        wait_until(lambda: len(load.acked) > seen + ENOUGH or killed.is_dead(), "more to be taken")
    killed.acked |= set(load.acked)
    wait_until(killed.is_dead, "the kill")


def _keyed(killed: Killed) -> None:
    killed.arm()
    sender = threading.Thread(target=killed.send, args=("/v1/threads/keyed/runs", {}), kwargs=KEY)
    sender.start()
    wait_until(killed.is_dead, "the kill")
    sender.join()


def _claim(killed: Killed) -> None:
    killed.send("/v1/threads/t/runs", {})
    [run_id] = killed.told
    killed.arm()
    path = f"/api/agents/runs/{run_id}/claim"
    sender = threading.Thread(target=killed.send, args=(path, {"worker_id": "w"}))
    sender.start()
    wait_until(killed.is_dead, "the kill")
    sender.join()


def _first_start(killed: Killed) -> None:
    killed.server.stop()
    shutil.rmtree(killed.server.data_dir)
    killed.acked.clear()
    _started(killed)


def _start(killed: Killed) -> None:
    killed.server.kill()
    _started(killed)


def _started(killed: Killed) -> None:
    killed.arm()
    with pytest.raises(AssertionError, match="before it was ready"):
        killed.server.start()


def _stop(killed: Killed) -> None:
    killed.arm()
    killed.server._running().send_signal(signal.SIGTERM)


WAYS = {
    "load": _load,
    "hurried load": _load,
    "held load": _held_load,
    "idle": _idle,
    "keyed": _keyed,
    "claim": _claim,
    "first start": _first_start,
    "start": _start,
    "stop": _stop,
}
"""What is done to get to a point."""


@pytest.mark.slow
def test_a_kill_finds_what_is_acknowledged_before_its_commit(faulty: Faulty) -> None:
    server = faulty("ack_before_commit")
    with Load(server) as load:
        wait_until(lambda: len(load.acked) > ENOUGH, "the load to be on")
        server.fail("head .db-wal 100 0 -1", "page .db-wal KILL 3 1")
        wait_until(lambda: server._running().poll() is not None, "the kill")
    assert server.ended() == -signal.SIGKILL
    server.fail()
    server.start()
    server.stop()
    assert set(load.acked) - event_ids(server.data_dir / "towerlog.db"), "the rig does not see the defect"
