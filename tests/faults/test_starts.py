"""What a start builds on is on disk, and nobody else writes while it sees to that: not a server's, nor a command's."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from tests.faults.disk import Disk, Faulty, FaultyServer, calls, is_refused
from tests.support.wait import wait_until


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def key_ids(path: Path) -> set[str]:
    """The keys of a sound database; none of one that is not."""
    try:
        with closing(apsw.Connection(str(path))) as db:
            if db.execute("PRAGMA integrity_check(1)").get != "ok":
                return set()
            return {str(row[0]) for row in db.execute("SELECT key_id FROM api_key")}
    except apsw.Error:
        return set()


class KeyWriter:
    """A process that writes keys beside a server (`key_writer.py`)."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "tests.faults.key_writer", str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def heard(self) -> str:
        """Its next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "it has ended"
        return line

    def ask(self, line: str) -> str:
        """What it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.heard()

    def close(self) -> None:
        self._process.communicate(timeout=60)


@contextmanager
def writing_beside(server: FaultyServer) -> Iterator[KeyWriter]:
    writer = KeyWriter(server.data_dir / "towerlog.db")
    with closing(writer):
        assert writer.heard() == "open"
        yield writer


def is_stopped(server: FaultyServer) -> bool:
    """Whether it stands still, told to by itself."""
    process = server.process
    if process is None:
        return False
    status = Path(f"/proc/{process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] in "Tt"


def started(server: FaultyServer, failed: list[AssertionError]) -> None:
    """Starts a server; one that finds its database damaged ends before it is ready, and that is noted."""
    try:
        server.start()
    except AssertionError as error:
        if "is damaged" not in str(error):
            raise
        failed.append(error)


@pytest.mark.parametrize(("defect", "loses"), [("", False), slow("log_written_unlocked", True)])
def test_no_log_is_written_again_while_another_process_writes_to_it(faulty: Faulty, defect: str, loses: bool) -> None:
    server = faulty(*filter(None, [defect]))
    with writing_beside(server) as writer:
        server.kill()
        acked = {writer.ask("fill")}
        server.fail("write .db-wal STOP 0 1")
        failed: list[AssertionError] = []
        start = threading.Thread(target=started, args=(server, failed))
        start.start()
        wait_until(lambda: is_stopped(server), "the start to be about to write the log")
        answer = writer.ask("put")
        server.fail()
        os.kill(server._running().pid, signal.SIGCONT)
        start.join()
        while answer == "busy":
            answer = writer.ask("put")
        acked.add(answer)
    if not failed:
        server.stop()
    # A log that two have written is missing what one of them has acknowledged, or cannot be read at all.
    assert bool(failed or acked - key_ids(server.data_dir / "towerlog.db")) is loses, failed
    assert loses or server.cli_inside("verify").returncode == 0


@pytest.mark.parametrize(("defect", "loses"), [("", False), slow("command_takes_no_place", True)])
def test_a_command_appends_nothing_to_what_a_failed_sync_has_lost(
    faulty: Faulty, tmp_path: Path, defect: str, loses: bool
) -> None:
    server = faulty(*filter(None, [defect]))
    server.fail("sync .db-wal EIO 0 1")
    assert is_refused(server)
    assert server.ended() == 70
    server.fail()
    made = server.cli("keys", "create", "--name", "after", "--scopes", "read", "--json")
    assert made.returncode == 0, made.stderr
    disk = Disk()
    for one in calls(server.record):
        disk.do(one)
    image = disk.after_a_cut(tmp_path / "cut", random.Random(1), "none")
    names = {"after"} & key_names(image)
    assert (not names) is loses


def key_names(path: Path) -> set[str]:
    with closing(apsw.Connection(str(path))) as db:
        return {str(row[0]) for row in db.execute("SELECT name FROM api_key")}


@pytest.mark.parametrize(
    ("folder", "defect", "starts"),
    [
        ("data", "", False),
        slow("data", "folder_sync_ignored", True),
        slow("", "", False),
        slow("", "folder_sync_ignored", True),
    ],
)
def test_a_new_store_whose_folder_cannot_be_synced_is_not_begun(
    library: Path, tmp_path: Path, folder: str, defect: str, starts: bool
) -> None:
    """SQLite says nothing of it: after a power cut there would be no store, and the next start would make another."""
    watched = tmp_path / "server" / folder
    server = FaultyServer(library, tmp_path / "server", *filter(None, [defect]), FAULTY_FOLDER=str(watched))
    with closing(server):
        server.fail("sync / EIO 0 -1")
        made = server.cli("keys", "create", "--init", "--name", "n", "--scopes", "read")
        assert (made.returncode == 0) is starts, made.stderr
        if not starts:
            assert made.returncode == 70
            assert f"a sync of {watched} failed" in made.stderr
            assert "tl_" not in made.stdout, "no key is shown"
        shutil.rmtree(server.data_dir, ignore_errors=True)
        if starts:
            server.start()
            return
        with pytest.raises(AssertionError, match=f"ended with 70 before it was ready(.|\n)*a sync of {watched} failed"):
            server.start()
        server.process = None
