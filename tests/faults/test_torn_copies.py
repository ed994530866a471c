"""Files that do not belong together are found at the start, in words; and a restore leaves none of them behind."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import apsw
import httpx2
import pytest

from tests.cli.commands import answered, towerlog
from tests.faults.conftest import Serve
from tests.faults.rotten import AGENT, LAST, copy_of
from tests.faults.test_rotten_reads import frames_of, run_id_of
from tests.support.samples import first
from tests.support.senders import ingest, sdk_event
from tests.support.server import NO_LIMITS, Server
from towerlog.store.sqlite.connections.frames import FRAME, HEADER_BYTES, SALTS

TORN = 78


def checksum(header: bytes) -> bytes:
    """What SQLite writes behind the salts of a log."""
    first = second = 0
    for even, odd in struct.iter_unpack(">II" if header[3] & 1 else "<II", header):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second)


def files_of(path: Path) -> dict[str, bytes]:
    """The files of a store whose server was killed, as they lie there."""
    return {name: path.with_name(path.name + name).read_bytes() for name in ("", "-wal")}


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"towerlog.db{name}").write_bytes(content)
    return folder / "towerlog.db"


def steps(client: httpx2.Client, run: str, count: int) -> None:
    for _ in range(count):
        ingest(client, sdk_event("step", run, {}, agent_name="other"))


@pytest.fixture
def killed(path: Path) -> dict[str, bytes]:
    """The files of a server that was killed with something in its log."""
    server = Server(path.parent, NO_LIMITS)
    try:
        server.start()
        steps(server.client(), "late", 3)
        server.kill()
    finally:
        server.close()
    return files_of(path)


def refused(path: Path, *words: str) -> None:
    """What every command that opens the store says of it; nothing is made or changed by saying it."""
    before = sorted(file.name for file in path.parent.iterdir())
    url = ("--database-url", f"sqlite:///{path}")
    for command in (("verify", *url), ("serve", "--port", "0", *url), ("keys", "ls", *url)):
        done = towerlog(*command)
        assert done.exit_code == TORN, (command, done.output)
        for word in words:
            assert word in done.stderr, done.stderr
    left = {file.name for file in path.parent.iterdir()} - {f"{path.name}.lock", f"{path.name}-shm"}
    assert sorted(left) == before


@pytest.mark.slow
def test_files_as_a_killed_server_leaves_them_are_whole(killed, tmp_path) -> None:
    path = lay(tmp_path / "whole", killed)
    assert answered("verify", "--database-url", f"sqlite:///{path}")["ok"] is True
    # A command that is the last to close them empties nothing that only the server may.
    answered("keys", "ls", "--database-url", f"sqlite:///{path}")
    assert answered("verify", "--database-url", f"sqlite:///{path}")["ok"] is True
    server = Server(path.parent, NO_LIMITS)
    try:
        server.start()
        server.restart()
        server.stop()
    finally:
        server.close()
    assert not path.with_name("towerlog.db-wal").exists(), "an orderly stop leaves one file"
    assert answered("verify", "--database-url", f"sqlite:///{path}")["ok"] is True


def test_a_start_that_is_refused_takes_nothing_from_the_log(killed, tmp_path) -> None:
    path = lay(tmp_path / "newer", killed)

    def change(sql: str) -> None:
        db = apsw.Connection(str(path))
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.execute(sql)
        db.close()

    change("INSERT INTO migration VALUES (99, 'later', 'x')")
    for command in (("serve", "--port", "0"), ("keys", "ls")):
        done = towerlog(*command, "--database-url", f"sqlite:///{path}")
        assert done.exit_code == TORN, done.output
        assert "newer version" in done.stderr
    change("DELETE FROM migration WHERE number = 99")
    assert answered("verify", "--database-url", f"sqlite:///{path}")["ok"] is True


def test_a_database_without_its_log_is_refused(killed, tmp_path) -> None:
    refused(lay(tmp_path / "torn", {"": killed[""]}), "copied without the towerlog.db-wal", "towerlog restore")
    refused(lay(tmp_path / "emptied", {"": killed[""], "-wal": b""}), "copied without the towerlog.db-wal")


@pytest.mark.slow
def test_a_log_without_its_database_is_refused(killed, tmp_path) -> None:
    path = lay(tmp_path / "torn", {"-wal": killed["-wal"]})
    refused(path, "towerlog.db is not", "towerlog restore")
    for command in (
        ("backup", tmp_path / "copy.db"),
        ("rebuild",),
        ("keys", "create", "--name", "n", "--scopes", "read"),
    ):
        done = towerlog(*command, "--database-url", f"sqlite:///{path}")
        assert (done.exit_code, "towerlog.db is not" in done.stderr) == (TORN, True), done.output
    assert not path.exists(), "no new store is begun there"


@pytest.mark.parametrize(
    "command", [("verify",), ("backup", "copy.db"), ("rebuild",), ("keys", "ls"), ("serve", "--port", "0")]
)
def test_a_folder_in_the_place_of_the_database_is_named(tmp_path, command) -> None:
    path = tmp_path / "data" / "towerlog.db"
    path.mkdir(parents=True)
    done = towerlog(*command, "--data-dir", path.parent)
    assert done.exit_code == 69, done.output
    assert done.stderr == f"towerlog: {path}: Is a directory\n"


@pytest.mark.slow
def test_the_log_of_another_database_is_refused(killed, filled, tmp_path) -> None:
    path = lay(tmp_path / "mixed", {"": filled.read_bytes(), "-wal": killed["-wal"]})
    # It is the log of a copy of this very database, but one that began later.
    other = Server(tmp_path / "other", NO_LIMITS)
    try:
        other.start()
        steps(other.client(), "theirs", 2)
        other.kill()
    finally:
        other.close()
    path.with_name("towerlog.db-wal").write_bytes((tmp_path / "other" / "towerlog.db-wal").read_bytes())
    refused(path, "belongs to another database", "towerlog restore")


def test_an_empty_file_is_refused(tmp_path) -> None:
    path = lay(tmp_path / "empty", {"": b""})
    done = towerlog("serve", "--port", "0", "--database-url", f"sqlite:///{path}")
    assert done.exit_code == TORN
    assert "is empty (0 bytes)" in done.stderr


@pytest.mark.slow
def test_a_restore_takes_the_old_files_away_and_keeps_them(filled, killed, tmp_path) -> None:
    path = lay(tmp_path / "place", killed)
    backup = tmp_path / "monday.db"
    shutil.copyfile(filled, backup)
    made = answered("restore", backup, "--data-dir", path.parent)
    moved = Path(made["moved_to"])
    assert files_of(moved) == killed, "what was there is kept, the log with it"
    assert not path.with_name("towerlog.db-wal").exists()
    assert answered("verify", "--data-dir", path.parent)["events"] == made["events"]
    assert answered("verify", "--database-url", f"sqlite:///{moved}")["events"] == made["events"] + 3


@pytest.mark.slow
def test_a_restore_changes_nothing_unless_it_can_be_done(filled, killed, tmp_path) -> None:
    path = lay(tmp_path / "place", killed)
    torn = lay(tmp_path / "torn", {"": killed[""]})
    done = towerlog("restore", torn, "--data-dir", path.parent)
    assert done.exit_code == TORN
    assert "copied without" in done.stderr
    assert files_of(path) == killed
    # Where there is nothing better: what the database says of itself is checked all the same.
    assert answered("restore", torn, "--without-wal", "--data-dir", path.parent)["ok"] is True


@pytest.mark.slow
def test_a_restore_without_a_log_takes_none_that_lies_there(filled, killed, tmp_path) -> None:
    alone = lay(tmp_path / "alone", {"": filled.read_bytes()})
    beside = lay(tmp_path / "beside", {"": filled.read_bytes(), "-wal": killed["-wal"]})
    made = answered("restore", beside, "--without-wal", "--data-dir", tmp_path / "place")
    assert made["events"] == answered("restore", alone, "--data-dir", tmp_path / "other")["events"]
    assert beside.with_name("towerlog.db-wal").read_bytes() == killed["-wal"], "what lay there is left there"
    names = {file.name for file in (tmp_path / "place").iterdir()}
    assert names <= {"towerlog.db", "towerlog.db.lock"}, names


@pytest.mark.slow
def test_a_restore_needs_the_server_to_be_stopped(filled, path, serve) -> None:
    serve()
    done = towerlog("restore", filled, "--data-dir", path.parent)
    assert done.exit_code == 69
    assert "in use" in done.stderr


@pytest.mark.slow
def test_after_a_restore_a_bare_cursor_of_the_lost_events_gets_a_gap(path: Path, serve: Serve, tmp_path: Path) -> None:
    """A browser sends back the id of the last frame; that of a run is its seq alone in a log that was never copied."""
    server = serve()
    client = server.client()
    steps(client, "open", 4)
    open_run = str(client.get("/api/v1/runs", params={"agent": "other"}).json()["data"][0]["run_id"])
    [first, *_] = frames_of(client, f"/v1/runs/{open_run}/events")
    assert first.id == "1"
    backup = tmp_path / "monday.db"
    answered("backup", backup, "--data-dir", path.parent)
    steps(client, "open", 3)
    server.stop()
    answered("restore", backup, "--data-dir", path.parent)
    client = server.start().client()
    steps(client, "open", 5)

    def read(run: str, cursor: str) -> list[str | None]:
        reply = client.get(f"/v1/runs/{run}/events?follow=false", headers={"Last-Event-ID": cursor})
        assert reply.status_code == 200, reply.text
        return [line.removeprefix("id: ") for line in reply.text.splitlines() if line.startswith(("id:", "event: gap"))]

    epoch = client.get(f"/v1/runs/{open_run}/events?follow=false").headers["x-log-epoch"]
    everything = [f"{epoch}-{seq}" for seq in range(1, 10)]
    assert read(open_run, "7") == ["event: gap", *everything], "event 7 is another one here"
    assert read(open_run, "4") == everything[4:], "up to the backup both logs are the same"
    assert read(open_run, f"{epoch}-7") == everything[7:]
    assert read(run_id_of(client), str(LAST - 1)) == [f"{epoch}-{LAST}"]
    typed = client.get(f"/v1/runs/{open_run}/events?follow=false&after_seq=7")
    assert "event: gap" not in typed.text
    past = client.get(f"/v1/runs/{open_run}/events?follow=false&after_seq=70")
    assert "event: gap" in past.text
    assert client.get("/api/v1/agents").status_code == 200
    assert AGENT


def test_a_copy_of_the_fixture_is_whole(filled: Path, tmp_path: Path) -> None:
    assert answered("verify", "--data-dir", copy_of(filled, tmp_path / "copy").parent)["ok"] is True


@pytest.mark.slow
def test_a_power_cut_while_the_log_begins_anew_is_no_torn_copy(killed, tmp_path) -> None:
    """All that the log had is in the database; of the new one only the header has reached the disk."""
    path = lay(tmp_path / "cut", killed)
    db = apsw.Connection(str(path))
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    content = bytearray(path.with_name("towerlog.db-wal").read_bytes())
    moved = path.read_bytes()
    db.close()
    assert checksum(content[: SALTS.stop]) == content[SALTS.stop : HEADER_BYTES]
    content[SALTS] = b"\x01" * 8  # no frame behind it belongs to it
    content[SALTS.stop : HEADER_BYTES] = checksum(content[: SALTS.stop])
    again = lay(tmp_path / "again", {"": moved, "-wal": bytes(content)})
    assert answered("verify", "--database-url", f"sqlite:///{again}")["ok"] is True


MOVED_STEPS = 30


def frames_in(log: bytes) -> int:
    page = int.from_bytes(log[8:12], "big")
    return (len(log) - HEADER_BYTES) // (FRAME.size + page)


def frame_at(log: bytes, frame: int) -> int:
    """Where a frame begins."""
    return HEADER_BYTES + frame * (FRAME.size + int.from_bytes(log[8:12], "big"))


def moved_in(path: Path) -> dict[str, bytes]:
    """The files of a server that was killed when all that it had in its log was in the database as well."""
    server = Server(path.parent, NO_LIMITS)
    try:
        server.start()
        steps(server.client(), "late", MOVED_STEPS)
        server.kill()
    finally:
        server.close()
    db = apsw.Connection(str(path))
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    assert db.execute("SELECT count(*) FROM sqlite_master").get, "else it has not looked at the log"
    pages, done = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    db.close()
    assert pages == done > MOVED_STEPS
    return files_of(path)


def flipped(files: dict[str, bytes], frame: int) -> dict[str, bytes]:
    log = bytearray(files["-wal"])
    log[frame_at(log, frame) + FRAME.size + 4000] ^= 4
    return {**files, "-wal": bytes(log)}


def cut(files: dict[str, bytes], frame: int) -> dict[str, bytes]:
    return {**files, "-wal": files["-wal"][: frame_at(files["-wal"], frame)]}


@pytest.mark.parametrize(
    ("change", "quarters"),
    first(
        [
            pytest.param(flipped, 1),
            pytest.param(cut, 2),
            pytest.param(flipped, 0),
            pytest.param(flipped, 2),
            pytest.param(flipped, 3),
            pytest.param(cut, 1),
        ],
        quick=2,
    ),
)
def test_a_log_that_is_damaged_where_it_was_moved_hides_nothing_of_the_database(
    path: Path, tmp_path: Path, change: Callable[[dict[str, bytes], int], dict[str, bytes]], quarters: int
) -> None:
    moved = moved_in(path)
    whole = answered("restore", lay(tmp_path / "whole", moved), "--data-dir", tmp_path / "place")["events"]
    assert whole >= MOVED_STEPS
    path = lay(tmp_path / "damaged", change(moved, max(1, frames_in(moved["-wal"]) * quarters // 4)))
    refused(path, "is damaged", "towerlog rebuild")
    made = answered("rebuild", "--database-url", f"sqlite:///{path}")
    assert made["events"] == whole, "all of it is in the database"
    assert made["lost"]
    assert answered("verify", "--database-url", f"sqlite:///{path}")["ok"] is True


@pytest.mark.parametrize("frame", first([pytest.param(1), pytest.param(30)]))
def test_a_log_that_fits_the_database_no_more_is_told_from_one_of_another(tmp_path: Path, frame: int) -> None:
    """It begins with the first pages of a store that was empty, and the database is longer than they say."""
    moved = moved_in(tmp_path / "grown" / "towerlog.db")
    for changed in (flipped(moved, frame), cut(moved, frames_in(moved["-wal"]) // 2)):
        path = lay(tmp_path / f"damaged-{len(changed['-wal'])}", changed)
        refused(path, "is damaged", "towerlog rebuild")
        made = answered("rebuild", "--database-url", f"sqlite:///{path}")
        assert made["events"] == MOVED_STEPS
        assert answered("verify", "--database-url", f"sqlite:///{path}")["ok"] is True


def test_what_the_log_alone_has_is_kept_up_to_the_damage(filled, tmp_path) -> None:
    """Nothing of it was moved: the database alone has less."""
    before = answered("verify", "--data-dir", copy_of(filled, tmp_path / "before").parent)["events"]
    unmoved = tmp_path / "unmoved"
    server = Server(copy_of(filled, unmoved).parent, NO_LIMITS)
    try:
        server.start()
        steps(server.client(), "late", MOVED_STEPS)
        server.kill()
    finally:
        server.close()
    files = files_of(unmoved / "towerlog.db")
    path = lay(tmp_path / "damaged", flipped(files, frames_in(files["-wal"]) // 2))
    refused(path, "cannot be read", "towerlog rebuild")
    made = answered("rebuild", "--database-url", f"sqlite:///{path}")
    assert before < made["events"] < before + MOVED_STEPS
    assert answered("verify", "--database-url", f"sqlite:///{path}")["ok"] is True
