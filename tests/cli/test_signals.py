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
import sys
from towerlog.cli import maintenance
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

if sys.argv.pop(1) == "fill":
    Place.fill = stopped_fill
else:
    maintenance.verify_store = maintenance.rebuild_store = stopped
from towerlog.cli.main import main
main()
"""
"""Runs `towerlog ARGUMENTS` up to a place, says so, and waits there for a line: when the copy is made, or is to be
put in the place of the store."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a store, with a backup beside it."""
    made = tmp_path / "data"
    assert towerlog("keys", "create", "--init", "--name", "a", "--scopes", "read", "--data-dir", made).exit_code == 0
    answered("backup", "--data-dir", made, made / "saved.db")
    return made


@contextmanager
def stopped_at(place: str, folder: Path, command: str) -> Iterator[subprocess.Popen[str]]:
    """The command, which has come to this place."""
    arguments = [command, *([str(folder / "saved.db")] if command == "restore" else []), "--data-dir", str(folder)]
    started = subprocess.Popen(
        [sys.executable, "-c", CODE, place, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "there\n"
        yield started
    finally:
        started.kill()
        started.communicate()


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
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
