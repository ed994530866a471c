"""A store that lies where nothing can be written is checked and saved all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.commands import answered
from tests.faults.disk import on_read_only
from tests.faults.rotten import copy_of
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server, clean_environment, executable

STRANGER = 54_321
HOW = '"$0" verify --data-dir "$1" --json && "$0" backup --data-dir "$1" "$2" --json'
"""By `sh -c` with the program, the data folder and a file elsewhere."""


def checked_and_saved(place: Path, copy: Path) -> list[str]:
    return ["sh", "-c", HOW, str(executable()), str(place), str(copy)]


def test_a_store_that_was_closed_is_checked_and_saved_from_a_read_only_disk(filled: Path, tmp_path: Path) -> None:
    source, copy = copy_of(filled, tmp_path / "source").parent, tmp_path / "copy.db"
    done = on_read_only(source, tmp_path / "place", checked_and_saved(tmp_path / "place", copy))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert answered("verify", "--database-url", f"sqlite:///{copy}") == answered("verify", "--data-dir", source)


@pytest.fixture
def killed(filled: Path, tmp_path: Path) -> Path:
    """The folder of a server that was killed with something in its log."""
    folder = copy_of(filled, tmp_path / "killed").parent
    with closing(Server(folder, NO_LIMITS)) as server:
        server.start()
        ingest(server.client(), sdk_event("step", "late", {}, agent_name="late"))
        server.kill()
    assert (folder / "towerlog.db-wal").stat().st_size
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("has_index", [True, False])
def test_a_store_that_was_not_closed_is_saved_with_its_log(killed: Path, tmp_path: Path, has_index: bool) -> None:
    place, copy = tmp_path / "place", tmp_path / "copy.db"
    if not has_index:
        (killed / "towerlog.db-shm").unlink()
    refused = on_read_only(killed, place, [executable(), "verify", "--data-dir", place])
    assert refused.returncode == 69
    [line] = refused.stderr.splitlines()
    assert "`towerlog backup` to another disk, or `towerlog verify --copy-in FOLDER`" in line
    before = sorted(one.name for one in tmp_path.iterdir())
    verified = on_read_only(killed, place, [executable(), "verify", "--data-dir", place, "--copy-in", tmp_path])
    assert verified.returncode == 0, verified.stderr
    saved = on_read_only(killed, place, [executable(), "backup", "--data-dir", place, copy])
    assert saved.returncode == 0, saved.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([*before, "copy.db"]), "nothing else is left"
    restored = tmp_path / "restored"
    arguments = [executable(), "restore", "--data-dir", restored, place / "towerlog.db"]
    assert on_read_only(killed, place, arguments).returncode == 0
    events = answered("verify", "--data-dir", killed)["events"]
    for found in (("--database-url", f"sqlite:///{copy}"), ("--data-dir", restored)):
        assert answered("verify", *found)["events"] == events


@pytest.fixture
def foreign(filled: Path, tmp_path: Path) -> Iterator[Path]:
    """A data folder in which `as_stranger` may look at everything, and change nothing."""
    data = copy_of(filled, tmp_path / "data").parent
    (data / "towerlog.db").chmod(0o644)
    if os.geteuid() == 0:
        os.chown(data, STRANGER, STRANGER)
        os.chown(data / "towerlog.db", STRANGER, STRANGER)
    data.chmod(0o755 if os.geteuid() == 0 else 0o555)
    yield data
    data.chmod(0o755)


def as_stranger(command: list[str]) -> subprocess.Popen[str]:
    """Somebody who may not write there: root without the right to write everywhere, or who may not write at all."""
    bounded = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    pipe = subprocess.PIPE
    line = [*bounded, *command]
    return subprocess.Popen(line, env=clean_environment({}), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o755, 0o711])
def test_a_closed_store_of_another_user_is_checked_and_saved(foreign: Path, tmp_path: Path, mode: int) -> None:
    foreign.chmod(mode if os.geteuid() == 0 else mode & 0o555)
    copy = tmp_path / "copy.db"
    started = as_stranger(checked_and_saved(foreign, copy))
    _, told = started.communicate(timeout=120)
    assert (started.returncode, told) == (0, "")
    assert answered("verify", "--database-url", f"sqlite:///{copy}")["ok"] is True


@pytest.mark.slow
def test_the_store_of_another_users_server_is_told_as_his(foreign: Path, tmp_path: Path) -> None:
    with Server(foreign, NO_LIMITS) as server:
        assert ingest(server.client(), sdk_event("step", "late", {}, agent_name="late")).status_code == 200
        foreign.chmod(0o755 if os.geteuid() == 0 else 0o555)
        for one in foreign.iterdir():
            one.chmod(0o644)
        command = [str(executable()), "backup", "--data-dir", str(foreign), str(tmp_path / "copy.db")]
        started = as_stranger(command)
        _, told = started.communicate(timeout=120)
        assert (started.returncode, len(told.splitlines())) == (69, 1), told
        assert "permission denied" in told
        assert "belongs to" in told
        foreign.chmod(0o755)


READING = """
import sys
from towerlog.cli import maintenance

async def stopped(store, findings):
    events = sum([org.org for org in await store.orgs()])
    print("read", flush=True)
    sys.stdin.readline()
    return events

maintenance.verify_store = stopped
from towerlog.cli.main import main
main()
"""
"""Runs `towerlog ARGUMENTS`; once it has read the store says so, and waits for a line."""


@pytest.mark.slow
@pytest.mark.parametrize("is_written", [True, False])
def test_what_is_read_while_its_server_starts_counts_for_nothing(foreign: Path, is_written: bool) -> None:
    started = as_stranger([sys.executable, "-c", READING, "verify", "--data-dir", str(foreign)])
    assert started.stdout is not None
    assert started.stdout.readline() == "read\n"
    if is_written:
        with Server(foreign, NO_LIMITS) as server:
            server.stop()
    _, told = started.communicate("\n", timeout=60)
    if is_written:
        assert started.returncode == 69
        assert "was opened by a server while it was read" in told
    else:
        assert (started.returncode, told) == (0, "")
