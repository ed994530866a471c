"""Folders of spools in which somebody has put something: links, pipes, locks that are none, files full of nonsense.

What can be sent is sent; nothing else is touched, waited for, or read into memory as a whole.
"""

from __future__ import annotations

import json
import logging
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import towerlog
from tests.sdk.support.ingest_server import KEY, Ingest
from tests.sdk.test_strangers import DEEP, event, spooled
from towerlog.sdk.record.backlog.destination import ABOUT, Destination
from towerlog.sdk.record.backlog.own_files import OwnFolder
from towerlog.sdk.record.backlog.segments import MAX_LINE_BYTES
from towerlog.sdk.record.backlog.spool import SET_ASIDE, SET_ASIDE_NAMES
from towerlog.sdk.record.backlog.spools import drop_spool, left_behind, list_spools
from towerlog.sdk.record.recorder import Recorder


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    server = Ingest()
    yield server
    server.close()


def delivered(ingest: Ingest, root: Path) -> list[str]:
    """The events that a program sends of what others have left."""
    recorder = Recorder(ingest.url, KEY, spool_dir=root)
    assert recorder.drain(30)
    recorder.close()
    return sorted(one["event_id"] for one in ingest.of("r"))


def client_of(home: Path, number: int) -> Path:
    """The folder of another client, before or after the usual one."""
    folder = home / f"0196b2c4-5d1e-7c3a-9f10-00000000000{number}"
    folder.mkdir(exist_ok=True)
    return folder


def test_a_folder_that_cannot_be_taken_over_does_not_keep_the_others(tmp_path: Path, ingest: Ingest) -> None:
    home = spooled(tmp_path, ingest.url, event(1))
    (client_of(home, 0) / "lock").mkdir()
    elsewhere = tmp_path / "elsewhere"
    (client_of(home, 2) / "lock").symlink_to(elsewhere)
    recorder = Recorder(ingest.url, KEY, spool_dir=tmp_path)
    assert recorder.drain(30)
    assert [one["event_id"] for one in ingest.of("r")] == ["e1"]
    assert "cannot read the spool" in (recorder.status().last_error or "")
    recorder.close()
    assert not elsewhere.exists()


def test_a_link_among_the_files_is_left_alone(tmp_path: Path, ingest: Ingest) -> None:
    """An unfinished last line is cut off, but not in a file that lies elsewhere."""
    home = spooled(tmp_path, ingest.url, event(1))
    diary = tmp_path / "diary"
    diary.write_text("dear\ndiary")
    (client_of(home, 1) / "00000000.ndjson").symlink_to(diary)
    (home / "0196b2c4-5d1e-7c3a-9f10-000000000003").symlink_to(tmp_path)
    assert delivered(ingest, tmp_path) == ["e1"]
    assert diary.read_text() == "dear\ndiary"


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "open to all"])
def test_lines_are_set_aside_elsewhere_where_something_else_has_the_name(
    tmp_path: Path, ingest: Ingest, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    home = spooled(tmp_path, ingest.url, event(1), b"nonsense", event(3), event(4))
    aside, elsewhere = home / SET_ASIDE, tmp_path / "elsewhere"
    if kind == "folder":
        (aside / "kept").mkdir(parents=True)
    elif kind == "link":
        aside.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(aside)
    else:
        aside.touch()
        aside.chmod(0o666)
    assert delivered(ingest, tmp_path) == ["e1", "e3", "e4"]
    assert not elsewhere.exists()
    kept = home / SET_ASIDE_NAMES[1]
    assert kept.read_bytes() == b"nonsense\n"
    assert f"see {kept}, since {SET_ASIDE} beside it is no file of this user" in caplog.text


def test_lines_that_cannot_be_set_aside_do_not_cost_those_behind_them(tmp_path: Path, ingest: Ingest) -> None:
    home = spooled(tmp_path, ingest.url, event(1), b"nonsense", event(3), event(4))
    for name in SET_ASIDE_NAMES:
        (home / name).mkdir()
    assert delivered(ingest, tmp_path) == ["e1", "e3", "e4"]


STRANGER = 54_321


def of_a_stranger(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a file or a folder to another user; where this one may not, all that is asked of it says so."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER)
        return
    fstat, own = os.fstat, path.stat()

    def told(number: int) -> os.stat_result:
        found = fstat(number)
        if (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino):
            return found
        return os.stat_result([*found[:4], STRANGER, *found[5:]])

    monkeypatch.setattr(os, "fstat", told)


@pytest.mark.parametrize("what", ["folder", "file", "lock"])
def test_what_another_user_has_put_into_a_spool_is_not_sent(
    tmp_path: Path, ingest: Ingest, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it could be done while the folder of the destination was open to all."""
    home = spooled(tmp_path, ingest.url, event(1))
    client = client_of(home, 0)
    planted = client / "00000001.ndjson"
    planted.write_bytes(event(2) + b"\n")
    (client / "lock").touch(mode=0o600)
    home.chmod(0o777)
    theirs = {"folder": client, "file": planted, "lock": client / "lock"}[what]
    of_a_stranger(theirs, monkeypatch)
    assert delivered(ingest, tmp_path) == ["e1"]
    assert planted.read_bytes() == event(2) + b"\n"
    assert str(theirs) in caplog.text
    [left] = left_behind(home)
    assert str(client) in left
    assert drop_spool(home) == 0
    assert planted.exists()


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_another_user_has_put_into_a_spool_is_not_counted(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = spooled(tmp_path, "http://127.0.0.1:9", event(1))
    planted = client_of(home, 0) / "00000001.ndjson"
    planted.write_bytes(event(2) + b"\n")
    of_a_stranger(planted.parent if what == "folder" else planted, monkeypatch)
    [found] = list_spools(tmp_path)
    assert found.events == 1
    of_a_stranger(home, monkeypatch)
    assert list_spools(tmp_path) == []


def test_the_note_of_another_user_says_nothing_of_a_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = spooled(tmp_path, "http://127.0.0.1:9", event(1))
    (home / ABOUT).write_text('{"url": "http://elsewhere"}')
    of_a_stranger(home / ABOUT, monkeypatch)
    [found] = list_spools(tmp_path)
    assert found.url is None
    with OwnFolder.open(home) as folder:
        Destination("http://here", "k").note(folder)
    [found] = list_spools(tmp_path)
    assert found.url == "http://here"


def test_a_file_full_of_nonsense_is_one_line_in_the_log(
    tmp_path: Path, ingest: Ingest, caplog: pytest.LogCaptureFixture
) -> None:
    home = spooled(tmp_path, ingest.url, *[b"nonsense"] * 5000, event(1), *[b""] * 5000, event(2))
    with caplog.at_level(logging.WARNING, "towerlog.sdk"):
        assert delivered(ingest, tmp_path) == ["e1", "e2"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert (home / SET_ASIDE).read_bytes() == b"nonsense\n" * 5000 + b"\n" * 5000


ABOUTS: dict[str, bytes] = {
    "a number": b"5",
    "deep": DEEP,
    "other types": b'{"url": 7, "key": [], "why_not": {}}',
    "bytes": b"\xff",
    "endless": b" " * 1_000_000 + b"{}",
}


@pytest.mark.parametrize("what", ABOUTS)
def test_spools_are_listed_whatever_is_said_of_them(tmp_path: Path, what: str) -> None:
    home = spooled(tmp_path, "http://127.0.0.1:9", event(1))
    (home / ABOUT).write_bytes(ABOUTS[what])
    done = towerlog("spool", "ls", "--json", "--spool-dir", str(tmp_path))
    assert done.exit_code == 0, done.output
    [found] = json.loads(done.stdout)["data"]
    assert (found["events"], found["url"], found["key"]) == (1, None, None)


def test_listing_spools_waits_for_no_pipe_and_takes_no_lock_that_is_none(tmp_path: Path) -> None:
    home = spooled(tmp_path, "http://127.0.0.1:9", event(1))
    os.mkfifo(client_of(home, 1) / "00000002.ndjson")
    os.mkfifo(home / ABOUT)
    (client_of(home, 2) / "lock").mkdir()
    (client_of(home, 2) / "00000001.ndjson").write_bytes(event(2) + b"\n")
    [found] = list_spools(tmp_path)
    assert (found.events, found.held) == (2, 1)


@pytest.mark.parametrize("kind", ["a hole", "an event"])
def test_a_line_of_any_length_is_listed_and_sent_past_in_little_memory(
    tmp_path: Path, ingest: Ingest, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named, counted as lost, and kept for people as far as there is room."""
    home = spooled(tmp_path, ingest.url, event(1))
    [path] = home.glob("*/*.ndjson")
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        if kind == "a hole":
            # A hole costs nothing but the memory of whoever reads it whole.
            file.truncate(512 * 1024 * 1024)
            file.seek(0, os.SEEK_END)
        else:
            file.write(event(2)[:-2] + b',"more":"')
            for _ in range(17):
                file.write("🗼".encode() * (256 * 1024))
            file.write(b'"}}')
        file.write(b"\n" + event(3) + b"\n")
    tracemalloc.start()
    try:
        [found] = list_spools(tmp_path)
        assert found.events == 3
        recorder = Recorder(ingest.url, KEY, spool_dir=tmp_path)
        assert recorder.drain(30)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()
    assert sorted(one["event_id"] for one in ingest.of("r")) == ["e1", "e3"]
    assert recorder.status().dropped == 1
    recorder.close()
    assert f"are no events and are not sent; see {home / SET_ASIDE}" in caplog.text
    assert (home / SET_ASIDE).stat().st_size == MAX_LINE_BYTES + 1
    assert not path.exists()
