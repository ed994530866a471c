"""A disk that fails while a copy is read back or cleared away: that is told, and not that the copy is wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import answered
from tests.faults.rotten import change_bytes, copy_of
from tests.support.samples import slow
from tests.support.server import clean_environment, executable

Run = Callable[..., subprocess.CompletedProcess[str]]
RULES = [f"{errno} {begun} {times}" for errno in ("EIO", "ENOSPC") for begun in (3, 300, 400) for times in (1, -1)]
UNREAD = "a read from disk failed"
SAID = {"EIO": (UNREAD, "Input/output error"), "ENOSPC": (UNREAD, "the disk is full")}


@pytest.fixture
def run(library: Path, tmp_path: Path) -> Run:
    """Runs a command on a disk of which this folder fails by a rule."""

    def one(folder: Path, rule: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
        rules = tmp_path / "rules"
        rules.write_text(rule)
        environment = {
            "LD_PRELOAD": str(library),
            "FAULTY_FILES": f"{folder}/",
            "FAULTY_FOLDER": str(folder),
            "FAULTY_RULES": str(rules),
            "FAULTY_READS": "1",
        }
        line = [executable(), *map(str, command)]
        return subprocess.run(line, env=clean_environment(environment), capture_output=True, text=True, check=False)

    return one


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("backup", "EIO 300 1"),
        *map(slow, ["restore", "backup", "restore"] * 4, RULES),
    ],
)
def test_a_copy_that_cannot_be_read_back_is_not_called_wrong(
    run: Run, filled: Path, tmp_path: Path, command: str, rule: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    arguments = ["restore", filled, "--data-dir", place] if command == "restore" else ["backup", place / "copy.db"]
    if command == "backup":
        arguments += ["--data-dir", filled.parent]
    done = run(place, f"read .partial {rule}", *arguments)
    if done.returncode == 0:
        return  # it has read less
    assert done.returncode == 70, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("towerlog: "), done.stderr
    assert any(one in last for one in SAID[rule.split()[0]]), done.stderr
    for wrong in ("not valid", "Traceback", "no transaction", "not sound"):
        assert wrong not in done.stderr
    assert not list(place.glob("*.db"))


def test_a_backup_that_is_there_is_one_though_nothing_can_be_removed(run: Run, filled: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    done = run(place, "unlink .lock EIO 0 -1", "backup", place / "copy.db", "--data-dir", filled.parent)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert answered("verify", "--database-url", f"sqlite:///{place / 'copy.db'}")["ok"] is True


def test_a_copy_that_is_wrong_is_told_as_that_though_it_cannot_be_removed(
    run: Run, filled: Path, tmp_path: Path
) -> None:
    source, place = copy_of(filled, tmp_path / "data"), tmp_path / "place"
    place.mkdir()
    change_bytes(source, b"mark-0007-", b"mark-9007-")
    done = run(place, "unlink .partial EIO 0 -1", "backup", place / "copy.db", "--data-dir", source.parent)
    assert done.returncode == 1, done.stderr
    assert "the copy is not valid and was not kept" in done.stderr
    assert "a file that is not needed any more stays" in done.stderr


def test_a_backup_whose_folder_cannot_be_synced_says_that_it_is_there(run: Run, filled: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    done = run(place, "sync / EIO 0 -1", "backup", place / "copy.db", "--data-dir", filled.parent)
    assert done.returncode == 70
    assert "is whole and there, though a power cut may take it away" in done.stderr
    assert (place / "copy.db").exists()
