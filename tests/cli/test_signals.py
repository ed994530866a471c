"""Commands that make a new file for the store and are ended in the midst leave nothing, or are finished by then."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.commands import answered, towerlog

CODE = """
import asyncio, os, signal, sys
from towerlog.cli import maintenance
from towerlog.store import placing
from towerlog.store.sqlite.upkeep import backup, salvage
from towerlog.store.sqlite.upkeep.restore_target import Place

fill = Place.fill

async def stopped(*_):
    wait()
    return 0

def stopped_fill(*arguments):
    wait()
    return fill(*arguments)

def wait():
    print("there", flush=True)
    sys.stdin.readline()

def waiting(act):
    def stopped_act(*arguments):
        wait()
        return act(*arguments)
    return stopped_act

def signalled(number, act):
    def begun(*arguments):
        os.kill(os.getpid(), number)
        return act(*arguments)
    return begun

place, number = sys.argv.pop(1), int(sys.argv.pop(1))
if place == "fill":
    Place.fill = stopped_fill
elif place == "copied":
    maintenance.verify_store = maintenance.rebuild_store = stopped
elif place == "copying":
    salvage.begin_digests_anew = waiting(salvage.begin_digests_anew)
    backup._make_it_another_log = waiting(backup._make_it_another_log)
    salvage.discard = backup.discard = placing.discard = signalled(number, placing.discard)
else:
    asyncio.events.new_event_loop = signalled(number, asyncio.events.new_event_loop)
from towerlog.cli.main import main
main()
"""
"""Runs `towerlog ARGUMENTS` up to a place, says so, and waits there for a line: when the copy is made, or is to be
put in the place of the store. `copying`: while it is made, and the second argument is a signal that comes when it is
being removed; `loop`: that signal comes when the work over the copy is about to begin."""
ENDS = [signal.SIGTERM, signal.SIGINT]
NOISE = ("Traceback", "Exception ignored", "never awaited")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a store, with a backup beside it."""
    made = tmp_path / "data"
    assert towerlog("keys", "create", "--init", "--name", "a", "--scopes", "read", "--data-dir", made).exit_code == 0
    answered("backup", "--data-dir", made, made / "saved.db")
    return made


def begun(place: str, folder: Path, command: str, number: int) -> subprocess.Popen[str]:
    arguments = [command, *([str(folder / "saved.db")] if command == "restore" else []), "--data-dir", str(folder)]
    pipe = subprocess.PIPE
    code = [sys.executable, "-c", CODE, place, str(int(number)), *arguments]
    return subprocess.Popen(code, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def stopped_at(place: str, folder: Path, command: str, number: int = 0) -> Iterator[subprocess.Popen[str]]:
    """The command, which has come to this place."""
    started = begun(place, folder, command, number)
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "there\n"
        yield started
    finally:
        started.kill()
        started.communicate()


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("number", ENDS, ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("command", ["restore", "rebuild"])
def test_one_that_is_ended_leaves_no_copy_and_the_store_as_it_was(folder: Path, command: str, number: int) -> None:
    before, content = names(folder), (folder / "towerlog.db").read_bytes()
    with stopped_at("copied", folder, command) as started:
        assert any(".partial" in name for name in names(folder))
        started.send_signal(number)
        started.communicate(timeout=60)
        assert started.returncode not in (0, -number), "it has ended by itself"
    assert names(folder) - {"towerlog.lock"} == before - {"towerlog.lock"}
    assert (folder / "towerlog.db").read_bytes() == content


@pytest.mark.parametrize("number", ENDS, ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("command", ["restore", "rebuild"])
def test_a_second_signal_breaks_off_nothing_that_the_first_has_begun(folder: Path, command: str, number: int) -> None:
    before = names(folder)
    [second] = set(ENDS) - {number}
    with stopped_at("copying", folder, command, second) as started:
        assert any(".partial" in name for name in names(folder))
        started.send_signal(number)
        _, said = started.communicate(timeout=60)
        assert started.returncode == {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 1}[signal.Signals(number)]
    assert not any(noise in said for noise in NOISE), said
    assert names(folder) - {"towerlog.lock"} == before - {"towerlog.lock"}


@pytest.mark.parametrize("number", ENDS, ids=["SIGTERM", "SIGINT"])
def test_one_that_is_ended_before_its_work_begins_says_no_more_than_that(folder: Path, number: int) -> None:
    before = names(folder)
    _, said = begun("loop", folder, "rebuild", number).communicate(timeout=60)
    assert not any(noise in said for noise in NOISE), said
    assert names(folder) - {"towerlog.lock"} == before - {"towerlog.lock"}


@pytest.mark.parametrize("command", ["restore", "rebuild"])
def test_one_that_puts_the_copy_there_is_not_broken_off(folder: Path, command: str) -> None:
    with stopped_at("fill", folder, command) as started:
        started.send_signal(signal.SIGTERM)
        started.send_signal(signal.SIGINT)
        said, _ = started.communicate("\n", timeout=60)
        assert started.returncode == 0
    assert "What was there before is " in said
    assert not any(".partial" in name or ".replacement" in name for name in names(folder))
    assert answered("verify", "--data-dir", folder)["ok"]
