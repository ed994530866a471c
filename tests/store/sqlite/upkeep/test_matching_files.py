"""A log keeps a name that the database knows, whoever reads meanwhile; and what cannot be read is not called torn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from towerlog.errors import StoreTorn
from towerlog.store.sqlite.connections import connection as files
from towerlog.store.sqlite.connections.frames import FRAME, HEADER_BYTES, SALTS
from towerlog.store.sqlite.upkeep import matching_files


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    with closing(files.open_connection(tmp_path / "towerlog.db")) as opened:
        files.migrate(opened)
        matching_files.begin_log(opened, "first")
        yield opened


@contextmanager
def reader(path: Path) -> Iterator[None]:
    """A snapshot that somebody keeps."""
    with closing(files.open_connection(path, read_only=True)) as looking:
        looking.execute("BEGIN")
        assert looking.execute("SELECT count(*) FROM meta").get
        yield
        looking.execute("ROLLBACK")


def commit(db: apsw.Connection, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES ('mine', ?)", (value,))


def as_killed(path: Path, into: Path) -> Path:
    """The files as a kill now would leave them. By another process: to close a file here would give up its locks."""
    into.mkdir()
    subprocess.run(["cp", path, files.log_of(path), into], check=True)
    return into / path.name


def mark(path: Path) -> str:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as opened:
        return str(opened.execute("SELECT value FROM meta WHERE name = 'log'").get)


def test_a_log_that_somebody_keeps_reading_still_belongs_to_its_database(db: apsw.Connection, tmp_path: Path) -> None:
    path = tmp_path / "towerlog.db"
    with reader(path):
        for turn in range(3):
            commit(db, f"turn {turn}")
            matching_files.renew_log(db, f"idle {turn}".replace(" ", "."))
            copy = as_killed(path, tmp_path / f"killed {turn}")
            matching_files.check_whole(copy)
            with closing(files.open_connection(copy, read_only=True)) as found:
                assert found.execute("SELECT value FROM meta WHERE name = 'mine'").get == f"turn {turn}"
            files.log_of(copy).unlink()
            with pytest.raises(StoreTorn, match="copied without"):
                matching_files.check_whole(copy)
    assert mark(path).startswith("first "), "its name stays while the database cannot take another"
    matching_files.renew_log(db, "after")
    assert mark(path).startswith("after first ")


def test_starts_beside_a_reader_leave_a_log_that_belongs_to_its_database(tmp_path: Path) -> None:
    path = tmp_path / "towerlog.db"
    with closing(files.open_connection(path)) as made:
        files.migrate(made)
        matching_files.begin_log(made, "made")
    with reader(path):
        for turn in range(3):
            with closing(files.open_connection(path)) as opened:
                matching_files.begin_log(opened, f"start.{turn}")
                commit(opened, f"start {turn}")
                matching_files.check_whole(as_killed(path, tmp_path / f"killed {turn}"))


STEPS_OF_A_RENEWAL = 6


@pytest.mark.parametrize("step", range(STEPS_OF_A_RENEWAL))
def test_a_reader_who_comes_at_any_moment_of_a_renewal_hides_no_missing_log(
    db: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """What is committed beside him is in the log alone, and so the database alone must not say that it is whole."""
    path, done = tmp_path / "towerlog.db", 0
    commit(db, "before")
    with closing(files.open_connection(path, read_only=True)) as looking:

        def counted(act: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*args: Any) -> Any:
                nonlocal done
                found = act(*args)
                if done == step:
                    looking.execute("BEGIN")
                    assert looking.execute("SELECT count(*) FROM meta").get
                done += 1
                return found

            return counting

        with monkeypatch.context() as patch:
            patch.setattr(matching_files, "_write", counted(matching_files._write))
            patch.setattr(files, "checkpoint", counted(files.checkpoint))
            matching_files.renew_log(db, "next")
        assert looking.in_transaction, "the renewal has fewer steps"
        commit(db, "beside him")
        files.checkpoint(db)
        copy = as_killed(path, tmp_path / "killed")
        matching_files.check_whole(copy)
        with closing(files.open_connection(copy, read_only=True)) as found:
            assert found.execute("SELECT value FROM meta WHERE name = 'mine'").get == "beside him"
        files.log_of(copy).unlink()
        with pytest.raises(StoreTorn, match="copied without"):
            matching_files.check_whole(copy)


def test_a_log_that_begins_anew_is_cut(db: apsw.Connection, tmp_path: Path) -> None:
    log = files.log_of(tmp_path / "towerlog.db")
    for turn in range(20):
        commit(db, f"turn {turn}")
    before = log.stat().st_size
    matching_files.renew_log(db, "next")
    assert log.stat().st_size < before / 5
    assert db.pragma("journal_size_limit") == files.WAL_RESET_BYTES


def test_a_reader_who_comes_while_a_log_is_settled_leaves_it_open(
    db: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "towerlog.db"
    write = matching_files._write
    with closing(files.open_connection(path, read_only=True)) as looking:

        def written(db: apsw.Connection, text: str) -> None:
            write(db, text)
            if text.endswith("whole"):
                looking.execute("BEGIN")
                assert looking.execute("SELECT count(*) FROM meta").get

        monkeypatch.setattr(matching_files, "_write", written)
        assert matching_files.settle_log(db) is False
        assert mark(path).endswith(" open")
        assert str(matching_files._said_alone(path).mark).endswith(" whole"), (
            "he keeps the database from taking that in"
        )
        looking.execute("ROLLBACK")
        monkeypatch.undo()
    assert matching_files.settle_log(db) is True
    assert not files.log_of(path).stat().st_size


WITH_TWO_FILES = """
import os, sys
from pathlib import Path
from towerlog.errors import StorageFailed
from towerlog.store.sqlite.upkeep import matching_files
from towerlog.store.sqlite.connections.frames import FRAME, HEADER_BYTES, SALTS
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
spare = []
try:
    while True:
        spare.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    for one in spare[-2:]:
        os.close(one)
try:
    matching_files.check_whole(Path(sys.argv[1]))
except StorageFailed as error:
    print(type(error).__name__, error.message)
"""
"""The database alone can be opened then; not its log with its index as well."""


def test_files_that_cannot_be_read_together_are_not_called_torn(db: apsw.Connection, tmp_path: Path) -> None:
    commit(db, "kept")
    copy = as_killed(tmp_path / "towerlog.db", tmp_path / "killed")
    told = subprocess.run([sys.executable, "-c", WITH_TWO_FILES, copy], check=True, capture_output=True, text=True)
    assert told.stdout.startswith(f"StorageFailed cannot open {copy}: "), told


def frames_of(path: Path) -> list[int]:
    """Where in the log each commit's last frame begins."""
    log = files.log_of(path).read_bytes()
    size = FRAME.size + files.PAGE_BYTES
    found = range(HEADER_BYTES, len(log) - size + 1, size)
    return [at for at in found if FRAME.unpack_from(log, at)[1] and FRAME.unpack_from(log, at)[2] == log[SALTS]]


def flip(path: Path, at: int) -> None:
    """One bit of the log."""
    log = files.log_of(path)
    data = bytearray(log.read_bytes())
    data[at] ^= 1
    log.write_bytes(data)


def test_a_frame_that_rots_before_acknowledged_ones_is_told(db: apsw.Connection, tmp_path: Path) -> None:
    for turn in range(6):
        commit(db, f"turn {turn}")
    ends = frames_of(tmp_path / "towerlog.db")
    for at, place in enumerate((ends[-4] + FRAME.size + 100, ends[-4] + 2)):
        rotten = as_killed(tmp_path / "towerlog.db", tmp_path / f"rotten {at}")
        matching_files.check_whole(rotten)
        flip(rotten, place)
        with pytest.raises(StoreTorn, match=r"is damaged: what was stored behind its frame \d+ cannot be read"):
            matching_files.check_whole(rotten)
        lost: list[str] = []
        matching_files.check_whole(rotten, lost)
        assert len(lost) == 1


def test_a_header_that_rots_before_acknowledged_frames_is_told_whichever_bit_it_is(
    db: apsw.Connection, tmp_path: Path
) -> None:
    """SQLite reads none of the frames then, and begins the log anew over them."""
    for turn in range(6):
        commit(db, f"turn {turn}")
    rotten = as_killed(tmp_path / "towerlog.db", tmp_path / "rotten")
    log = files.log_of(rotten)
    sound = log.read_bytes()
    for bit in range(8 * HEADER_BYTES):
        flipped = bytearray(sound)
        flipped[bit // 8] ^= 1 << bit % 8
        log.write_bytes(flipped)
        lost: list[str] = []
        matching_files.check_whole(rotten, lost)
        assert lost == [f"{log} is damaged: what was stored behind its frame 0 cannot be read"], f"bit {bit}"
    with pytest.raises(StoreTorn, match="towerlog rebuild"):
        matching_files.check_whole(rotten)
    log.write_bytes(sound)
    matching_files.check_whole(rotten)


def test_a_header_alone_has_nothing_behind_it_that_could_be_lost(db: apsw.Connection, tmp_path: Path) -> None:
    commit(db, "moved")
    files.checkpoint(db)
    cut = as_killed(tmp_path / "towerlog.db", tmp_path / "cut")
    log = files.log_of(cut)
    log.write_bytes(log.read_bytes()[: HEADER_BYTES - 1] + b"\x00")
    matching_files.check_whole(cut)


def test_what_a_power_cut_has_left_of_the_last_commit_is_no_damage(db: apsw.Connection, tmp_path: Path) -> None:
    for turn in range(6):
        commit(db, f"turn {turn}")
    path = tmp_path / "towerlog.db"
    torn = as_killed(path, tmp_path / "torn")
    flip(torn, frames_of(torn)[-1] + FRAME.size + 100)
    matching_files.check_whole(torn)
    # Its remains stay behind a shorter commit, where a reader keeps the log from beginning anew.
    with closing(files.open_connection(torn)) as opened, reader(torn):
        commit(opened, "after")
        matching_files.check_whole(as_killed(torn, tmp_path / "again"))
