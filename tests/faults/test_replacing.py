"""A restore and a rebuild that are killed at any call leave the old store or the new one, not none, not a mixture."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from itertools import count
from pathlib import Path

import apsw
import pytest

from tests.cli.commands import answered, towerlog
from tests.faults.disk import CHANGES, FOLDER, Done, calls
from tests.faults.rotten import copy_of
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server, clean_environment, executable

CALLS = {"s": "sync", "u": "unlink", "r": "rename", "l": "link"}
ENDS = (".partial", ".replacement", ".lock", "-wal", "-shm", ".db", FOLDER)
"""What the names of the files that are replaced end in; what is kept has a time in its name."""


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def killed(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that was killed with something in its log."""
    path = copy_of(filled, tmp_path_factory.mktemp("killed") / "data")
    server = Server(path.parent, NO_LIMITS)
    with closing(server):
        server.start()
        ingest(server.client(), sdk_event("step", "late", {}, agent_name="late"))
        server.kill()
    assert path.with_name("towerlog.db-wal").stat().st_size
    return path.parent


class Replacing:
    """A command that puts another database in the place of one, on a disk that fails on demand."""

    def __init__(self, library: Path, killed: Path, folder: Path, *command: str | Path, defect: str = "") -> None:
        folder.mkdir()
        self.data = folder / "data"
        shutil.copytree(killed, self.data)
        self._rules, self.record = folder / "rules", folder / "record"
        self._command = [executable(), *map(str, command), "--data-dir", str(self.data)]
        self._environment = clean_environment(
            {
                "LD_PRELOAD": str(library),
                "PYTHONPATH": str(CHANGES),
                "FAULTY_FILES": f"{self.data}/",
                "FAULTY_FOLDER": str(self.data),
                "FAULTY_RULES": str(self._rules),
                "FAULTY_RECORD": str(self.record),
                "FAULTY_CHANGES": defect,
            }
        )

    def run(self, rule: str = "") -> subprocess.CompletedProcess[str]:
        self._rules.write_text(rule)
        return subprocess.run(self._command, env=self._environment, capture_output=True, text=True, check=False)

    def steps(self) -> list[Done]:
        """What it did to the files from the first step that counts."""
        done = calls(self.record)
        return done[next(number for number, one in enumerate(done) if one.kind == "l") :]

    def kills(self) -> list[str]:
        """A rule for each of these calls by which the process kills itself instead, and one that kills nothing."""
        done = calls(self.record)
        rules = []
        for number in range(len(done) - len(self.steps()), len(done)):
            call, end = done[number].kind, next(end for end in ENDS if done[number].name.endswith(end))
            before = sum(one.kind == call and one.name.endswith(end) for one in done[:number])
            rules.append(f"{CALLS[call]} {end} KILL {before} 1")
        return [*rules, ""]


def agents(path: Path) -> set[str]:
    with closing(apsw.Connection(str(path))) as db:
        return {str(row[0]) for row in db.execute("SELECT name FROM agent")}


@pytest.mark.parametrize(("command", "each"), [("restore", 3), slow("restore", 1), slow("rebuild", 1)])
def test_killed_at_any_call_the_old_store_or_the_new_one_is_there(
    library: Path, killed: Path, filled: Path, tmp_path: Path, command: str, each: int
) -> None:
    arguments = ("restore", filled) if command == "restore" else ("rebuild",)
    whole = Replacing(library, killed, tmp_path / "whole", *arguments)
    done = whole.run()
    assert done.returncode == 0, done.stderr
    numbers = count()
    found = []
    for rule in whole.kills()[::each]:
        broken = Replacing(library, killed, tmp_path / f"broken{next(numbers)}", *arguments)
        assert bool(broken.run(rule).returncode) is bool(rule), rule
        found.append(what_is_there(broken.data, command))
        shutil.rmtree(broken.data.parent)
    assert found == sorted(found), "from one call on it is the new one"
    assert {found[0], found[-1]} == {"1 old", "2 new"}


@pytest.mark.slow
def test_a_place_that_is_emptied_first_is_found(library: Path, killed: Path, filled: Path, tmp_path: Path) -> None:
    broken = Replacing(library, killed, tmp_path / "broken", "restore", filled, defect="place_emptied_first")
    assert broken.run("rename .partial KILL 0 1").returncode
    with pytest.raises(AssertionError, match="no moment without a database"):
        what_is_there(broken.data, "restore")


@pytest.mark.parametrize("command", ["restore", pytest.param("rebuild", marks=pytest.mark.slow)])
def test_one_that_fails_at_any_call_leaves_the_old_store_and_says_so(
    library: Path, killed: Path, filled: Path, tmp_path: Path, command: str
) -> None:
    arguments = ("restore", filled) if command == "restore" else ("rebuild",)
    whole = Replacing(library, killed, tmp_path / "whole", *arguments)
    assert whole.run().returncode == 0
    rules = [one.replace("KILL", "EIO") for one in whole.kills()]
    in_place = max(number for number, one in enumerate(rules) if one.startswith("sync / "))
    for number, rule in enumerate(rules[: in_place + 1]):
        failing = Replacing(library, killed, tmp_path / f"failing{number}", *arguments)
        before = names(failing.data)
        done = failing.run(rule)
        assert done.returncode == 70, (rule, done.stderr)
        if number == in_place:
            assert "; the new store is there" in done.stderr
            assert what_is_there(failing.data, command) == "2 new"
            continue
        assert done.stderr.endswith("; the store is as it was\n"), (rule, done.stderr)
        assert names(failing.data) <= before, rule
        assert what_is_there(failing.data, command) == "1 old", rule


def names(data: Path) -> set[str]:
    """Of the files there, but for what is no part of a store at rest."""
    return {one.name for one in data.iterdir() if not one.name.endswith((".lock", "-shm"))}


def test_one_that_fails_and_cannot_be_undone_says_so_both_times(
    library: Path, killed: Path, filled: Path, tmp_path: Path
) -> None:
    failing = Replacing(library, killed, tmp_path / "failing", "restore", filled)
    done = failing.run("rename .replacement ENOSPC 0 -1\nunlink .replacement EIO 0 -1")
    assert done.returncode == 70, done.stderr
    assert "is still there, and the next start puts it in the place of the store" in done.stderr
    # A process of its own: in this one, what is logged goes where another test has led it.
    listing = [executable(), "keys", "ls", "--data-dir", str(failing.data)]
    keys = subprocess.run(listing, env=clean_environment({}), capture_output=True, text=True, check=False)
    assert keys.returncode == 0, keys.stderr
    assert "had broken off was finished" in keys.stderr
    assert what_is_there(failing.data, "restore") == "2 new"


def what_is_there(data: Path, command: str) -> str:
    """Whether a start finds the old store or the new one; whichever it is, it is whole, and the old one is kept."""
    path = data / "towerlog.db"
    assert path.exists(), "there is no moment without a database"
    server = Server(data, NO_LIMITS)
    with closing(server):
        server.start()
        server.stop()
    assert answered("verify", "--data-dir", data)["ok"] is True
    kept = [one for one in data.glob("towerlog.db.before-*") if not one.name.endswith(("-wal", "-shm", ".lock"))]
    assert not list(data.glob("*.replacement"))
    if not kept:
        assert "late" in agents(path)
        return "1 old"
    assert ("late" in agents(path)) is (command == "rebuild")
    [old] = kept
    assert answered("verify", "--database-url", f"sqlite:///{old}")["ok"] is True
    assert "late" in agents(old)
    return "2 new"


@pytest.mark.parametrize(("defect", "is_ordered"), [("", True), slow("folder_not_synced", False)])
def test_each_step_of_a_replacement_is_on_disk_before_the_next(
    library: Path, killed: Path, filled: Path, tmp_path: Path, defect: str, is_ordered: bool
) -> None:
    replacing = Replacing(library, killed, tmp_path / "place", "restore", filled, defect=defect)
    done = replacing.run()
    assert done.returncode == 0, done.stderr
    steps = replacing.steps()
    before = calls(replacing.record)[: -len(steps)]
    assert next(one.kind for one in reversed(before) if one.name == steps[0].name) == "s", "it is on disk itself"
    assert steps[0].data.endswith(b".replacement")
    said = "".join("/" if one.name == FOLDER else one.kind for one in steps)
    # Its second name; its first one and what lay beside the old one go; its last name.
    assert (said == "l/urul/r/") is is_ordered, said


def test_a_store_that_is_being_replaced_is_not_read_nor_copied(filled: Path, tmp_path: Path) -> None:
    path = copy_of(filled, tmp_path / "data")
    path.with_name("towerlog.db.before-now.replacement").write_bytes(filled.read_bytes())
    for command in (("verify",), ("backup", tmp_path / "copy.db")):
        done = towerlog(*command, "--data-dir", path.parent)
        assert done.exit_code == 78, done.output
        assert "is being replaced" in done.stderr
    answered("keys", "ls", "--data-dir", path.parent)
    assert answered("verify", "--data-dir", path.parent)["ok"] is True, "a command that writes goes on with it"
    assert path.with_name("towerlog.db.before-now").exists()


@pytest.mark.slow
def test_a_log_that_is_alone_is_refused_also_after_a_restore_that_broke_off(
    library: Path, killed: Path, filled: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(killed / "towerlog.db-wal", alone)
    broken = Replacing(library, alone, tmp_path / "broken", "restore", filled)
    assert broken.run("link .partial KILL 0 1").returncode != 0
    done = towerlog("serve", "--port", "0", "--data-dir", broken.data)
    assert done.exit_code == 78, done.output
    assert not (broken.data / "towerlog.db").exists()
    assert broken.run().returncode == 0
    assert answered("verify", "--data-dir", broken.data)["ok"] is True
    [kept] = broken.data.glob("*-wal")
    assert kept.name.startswith("towerlog.db.before-")
