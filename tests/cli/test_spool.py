"""`towerlog spool`: what could not be delivered is listed, sent where a person says, or deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.serving import asking
from tests.sdk.served import unique
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.cli import exits
from towerlog.sdk.record.backlog.destination import NO_KEY, Destination, fingerprint
from towerlog.sdk.record.recorder import Recorder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


def left_behind(root: Path, run_key: str, destination: Destination) -> None:
    """A program that reported a run and could not deliver it."""
    recorder = Recorder(destination=destination, spool_dir=root)
    with recorder.record_run(agent="a", run_key=run_key):
        pass
    recorder.close(0.0)


def spool(server: Server, root: Path, *arguments: str) -> Any:
    done = asking(server, "spool", *arguments, "--json", "--spool-dir", str(root))
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def agents_runs(server: Server, run_key: str) -> list[Any]:
    found: list[Any] = server.client().get("/api/v1/runs", params={"q": f"sdk:{run_key}"}).json()["data"]
    return found


def test_spools_are_listed_with_why_they_wait(server: Server, tmp_path: Path) -> None:
    left_behind(tmp_path, "r1", Destination.of("http://127.0.0.1:9", ""))
    left_behind(tmp_path, "r2", Destination.of("http://127.0.0.1:9", "key"))
    keyed, keyless = spool(server, tmp_path, "ls")["data"]
    assert (keyed["events"], keyed["key"], keyed["why_not"]) == (2, fingerprint("key"), None)
    assert (keyless["events"], keyless["url"], keyless["why_not"]) == (2, "http://127.0.0.1:9", NO_KEY)
    words = asking(server, "spool", "ls", "--spool-dir", str(tmp_path)).stdout
    assert "the next program of this key" in words
    assert "`spool adopt` only" in words


def test_a_spool_is_sent_where_a_person_says(server: Server, tmp_path: Path) -> None:
    run_key = unique("run")
    left_behind(tmp_path, run_key, Destination("htp://mistyped", "k", "not valid"))
    assert spool(server, tmp_path, "adopt", "unusable", "--yes") == {
        "moved": 2,
        "delivered": 2,
        "dropped": 0,
        "left": [],
    }
    assert [run["status"] for run in agents_runs(server, run_key)] == ["completed"]
    assert spool(server, tmp_path, "ls")["data"] == []


def test_a_spool_is_deleted_when_a_person_says_so(server: Server, tmp_path: Path) -> None:
    left_behind(tmp_path, "r1", Destination.of("http://127.0.0.1:9", ""))
    asked = asking(server, "spool", "drop", "keyless", "--spool-dir", str(tmp_path), stdin="n\n")
    assert asked.exit_code != 0
    assert len(spool(server, tmp_path, "ls")["data"]) == 1
    assert spool(server, tmp_path, "drop", "keyless", "--yes") == {"dropped": 2, "left": []}
    assert list(tmp_path.iterdir()) == []


def test_what_a_running_program_holds_stays_with_it(server: Server, tmp_path: Path) -> None:
    left_behind(tmp_path, "r1", Destination.of("http://127.0.0.1:9", "key"))
    recorder = Recorder("http://127.0.0.1:9", "key", spool_dir=tmp_path)
    try:
        recorder.state.backlog.adopt()
        (one,) = spool(server, tmp_path, "ls")["data"]
        assert (one["events"], one["held"]) == (2, 2)
        assert spool(server, tmp_path, "drop", one["spool_id"], "--yes") == {"dropped": 0, "left": []}
    finally:
        recorder.close(0.0)
    assert spool(server, tmp_path, "drop", one["spool_id"], "--yes") == {"dropped": 2, "left": []}


@pytest.mark.parametrize("is_moved", [True, False])
def test_what_cannot_be_taken_over_is_named_and_the_command_fails(
    server: Server, tmp_path: Path, is_moved: bool
) -> None:
    run_key = unique("run")
    destination = Destination.of("http://127.0.0.1:9" if is_moved else server.base_url, ADMIN_KEY)
    left_behind(tmp_path, run_key, destination)
    stuck = destination.folder(tmp_path) / "client"
    stuck.mkdir()
    (stuck / "lock").mkdir()
    for command in ("adopt", "drop"):
        done = asking(server, "spool", command, destination.spool_id, "--yes", "--json", "--spool-dir", str(tmp_path))
        assert done.exit_code == 1, done.output
        assert f"Left behind: {stuck / 'lock'}: " in done.stderr
        assert len(json.loads(done.stdout)["left"]) == 1
    assert [run["status"] for run in agents_runs(server, run_key)] == ["completed"], "the rest was sent"
    assert stuck.is_dir()


def test_the_spool_of_another_user_is_not_sent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_key = unique("run")
    left_behind(tmp_path, run_key, Destination.of("http://127.0.0.1:9", ADMIN_KEY))
    [there] = tmp_path.iterdir()
    destination = Destination.of(server.base_url, ADMIN_KEY)
    there.rename(destination.folder(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    done = asking(server, "spool", "adopt", destination.spool_id, "--yes", "--spool-dir", str(tmp_path))
    assert done.exit_code == 1, done.output
    assert f"Left behind: {destination.folder(tmp_path)}: a spool must be a folder of the user" in done.stderr
    assert agents_runs(server, run_key) == []


@pytest.mark.parametrize("name", ["", "keyless-nobody"])
def test_a_spool_must_be_named_by_one_name(server: Server, tmp_path: Path, name: str) -> None:
    for key in ("", "key"):
        left_behind(tmp_path, "r1", Destination.of("http://127.0.0.1:9", key))
    done = asking(server, "spool", "drop", name, "--yes", "--spool-dir", str(tmp_path))
    assert done.exit_code == exits.FOUND_WRONG
    assert "spool" in done.output
