"""A start that is told to stop ends in order, makes nothing by halves, and loses no key."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.disk import EXIT_DEADLINE_S, FaultyServer, calls
from tests.faults.test_starts import is_stopped
from tests.support.server import clean_environment, executable, is_ready
from tests.support.wait import wait_until

NO_KEY_OF_ITS_OWN = {"TOWERLOG_BOOTSTRAP_KEY": ""}
KEY = re.compile(r"tl_adm_\w+")


@pytest.fixture
def server(library: Path, tmp_path: Path) -> Iterator[FaultyServer]:
    """One that was never started, without a key of the operator's."""
    server = FaultyServer(library, tmp_path / "first", **NO_KEY_OF_ITS_OWN)
    yield server
    server.close()


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def begin(server: FaultyServer) -> subprocess.Popen[bytes]:
    """A start that is not waited for."""
    command = [executable(), "serve", "--host", "127.0.0.1", "--port", str(server.port)]
    with server.log_path.open("ab") as log:
        server.process = subprocess.Popen(
            [*command, "--data-dir", str(server.data_dir)], stdout=log, stderr=log, env=server._env
        )
    return server.process


def told_key(server: FaultyServer) -> str:
    """The one key that all starts so far have told."""
    [key] = set(KEY.findall(server.log))
    return key


def lets_in(server: FaultyServer, key: str) -> bool:
    return bool(server.client(key).get("/v1/runs").status_code == 200)


def synced(server: FaultyServer) -> int:
    """How often the log was."""
    if not server.record.exists():
        return 0
    return sum(one.kind == "s" and one.name.endswith(".db-wal") for one in calls(server.record))


@pytest.fixture(scope="module")
def first(library: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many syncs of the log come in a first start before the one that makes the organisation durable."""
    server = FaultyServer(library, tmp_path_factory.mktemp("whole") / "first", **NO_KEY_OF_ITS_OWN)
    with closing(server):
        server._wait_until_up(begin(server), is_ready)
        done = [one for one in calls(server.record) if one.name.endswith(".db-wal")]
        made = next(number for number, one in enumerate(done) if b"organisation.create" in one.data)
        return sum(one.kind == "s" for one in done[:made])


OPENING, MIGRATING = "open .db STOP 0 1", "sync .db-wal STOP 4 1"
MAKING, MADE = "sync .db-wal STOP {first} 1", "sync .db-wal STOP {then} 1"
RULES = {"opening": OPENING, "migrating": MIGRATING, "making": MAKING, "made": MADE}


@pytest.mark.parametrize("place", [slow("opening"), slow("migrating"), "making", slow("made")])
def test_a_first_start_that_is_told_to_stop_ends_in_order_and_its_key_is_told(
    server: FaultyServer, first: int, place: str
) -> None:
    server.fail(RULES[place].format(first=first, then=first + 1))
    process = begin(server)
    wait_until(lambda: is_stopped(server), "the start to stand at its place")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert server.ended() == 0, server.log
    assert "Traceback" not in server.log
    assert bool(KEY.search(server.log)) == (place in ("making", "made")), server.log
    check_next_start(server)


@pytest.mark.parametrize("later", [slow(-1), 1])
def test_a_start_whose_disk_stands_still_ends_within_the_deadline(server: FaultyServer, first: int, later: int) -> None:
    """Nothing waits for the sync, and what the start has made until then is told."""
    server.fail(f"sync .db-wal 60000 {first + later} -1")
    process = begin(server)
    wait_until(lambda: synced(server) >= first + later, "the start to have come so far")
    process.send_signal(signal.SIGTERM)
    assert server.ended() == 0, server.log
    assert "takes too long" in server.log
    assert bool(KEY.search(server.log)) == (later > 0), server.log
    check_next_start(server)


def check_next_start(server: FaultyServer) -> None:
    """It has a key that lets in, told by it or by the one before, and a store without a difference."""
    server.fail()
    process = begin(server)
    server._wait_until_up(process, is_ready)
    assert lets_in(server, told_key(server)), server.log
    server.stop()
    assert server.cli_inside("verify").returncode == 0


def test_from_its_first_moment_on_a_signal_ends_a_server_with_0(tmp_path: Path) -> None:
    """Also as the first process of a container, which hears of no signal that it has no handler for."""
    command = [sys.executable, "-X", "importtime", executable(), "serve", "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(command, env=clean_environment({}), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            # Among the first that it imports for itself: most is still to come.
            if line.rstrip().endswith("towerlog.cli.exits"):
                break
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(EXIT_DEADLINE_S) == 0
    assert not (tmp_path / "data").exists()
