"""Damage below the rows is found and named, and a rebuild works as long as the log is whole."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.cli.commands import answered, towerlog
from tests.faults.conftest import Serve
from tests.faults.rotten import AGENT, BAD_INDEXES, INDEX_LEAF, LAST, RUN, change_bytes, event_id, mark, ruin_pages_of
from tests.faults.test_rotten_reads import frames_of, run_id_of
from tests.support.senders import ingest, sdk_event
from tests.support.server import clean_environment, executable
from towerlog.store.sqlite.connections.connection import PAGE_BYTES

BAD = 40
READ_A_FILE = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
EVENTS = LAST + 2


def complaints(path: Path) -> list[str]:
    done = towerlog("verify", "--data-dir", path.parent, "--json")
    assert done.exit_code == 1, done.output
    shown: list[str] = json.loads(done.stdout)["shown"]
    return shown


def is_whole(path: Path) -> bool:
    return bool(answered("verify", "--data-dir", path.parent)["ok"])


def test_an_index_row_that_was_flipped_is_found_and_its_event_named(path: Path) -> None:
    change_bytes(path, event_id(BAD).encode(), event_id(BAD).replace("id", "ID").encode(), page_kind=INDEX_LEAF)
    found = complaints(path)
    assert any(f"seq {BAD} of run " in one and "missing from the index event_by_id" in one for one in found), found


@pytest.mark.slow
def test_an_event_that_a_flipped_index_let_in_twice_is_found(path: Path, serve: Serve) -> None:
    change_bytes(path, event_id(BAD).encode(), event_id(BAD).replace("id", "ID").encode(), page_kind=INDEX_LEAF)
    server = serve()
    client = server.client()
    body = {"tool_name": "t", "arguments": {"mark": mark(BAD), "text": "x" * 400}}
    told = ingest(client, sdk_event("tool_call", RUN, body, agent_name=AGENT, event_id=event_id(BAD)))
    assert told.status_code == 200
    run_id = run_id_of(client)
    server.stop()
    found = complaints(path)
    assert any(f"run {run_id}: the event id '{event_id(BAD)}' is there 2 times" in one for one in found), found


def test_a_foreign_id_that_two_runs_have_is_found(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("UPDATE run SET foreign_id = 'steps:same'")
    assert any("the foreign id 'steps:same' is there 2 times" in one for one in complaints(path))


@pytest.mark.parametrize(
    ("sought", "words"),
    [
        (b"SQLite format 3\0", "this is no SQLite database"),
        (b"CREATE TABLE event", "the database is damaged ("),
        (b"Of an event with an id: the digest", "a text in it cannot be read"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named_with_a_way_out(path: Path, sought: bytes, words: str) -> None:
    flip(path, sought)
    for command in (("verify",), ("backup", path.with_name("copy.db")), ("serve", "--port", "0"), ("keys", "ls")):
        done = towerlog(*command, "--data-dir", path.parent)
        assert done.exit_code == 70, (command, done.output)
        [line] = [one for one in done.stderr.splitlines() if one.startswith("towerlog: ")]
        assert str(path) in line
        assert words in line
        assert "`towerlog restore`" in line


def flip(path: Path, sought: bytes) -> None:
    """The highest bit of the first of these bytes, which no text has alone; also where a page was left behind."""
    content = path.read_bytes()
    assert sought in content
    path.write_bytes(content.replace(sought, bytes((sought[0] ^ 0x80,)) + sought[1:]))


def test_a_flipped_bit_in_what_the_store_keeps_for_itself_is_named(path: Path) -> None:
    kept, sound = notes_of(path), path.read_bytes()
    for name, sought, at, words in (
        ("epoch", kept["epoch"], 3, "is not what was written"),
        ("secret", kept["secret"], 3, "is not what was written"),
        ("age", kept["age"], kept["age"].index(":") + 1, "is not what was written"),
        ("secret", "secret" + kept["secret"], 0, "is missing"),
        ("`ge", "age" + kept["age"], 0, "nothing of this name is kept"),
        ("digests", kept["digests"], 0, "cannot be read"),
    ):
        flip_bit(path, sought, at)
        found = complaints(path)
        assert any(one.startswith(f"meta '{name}': {words}") for one in found), (name, found)
        path.write_bytes(sound)


def test_a_rebuild_says_which_note_of_the_store_it_takes_as_it_is(path: Path) -> None:
    flip_bit(path, notes_of(path)["epoch"], 3)
    lost = answered("rebuild", "--data-dir", path.parent)["lost"]
    assert lost == ["meta 'epoch': is not what was written; it counts as it is"]
    assert is_whole(path)


def notes_of(path: Path) -> dict[str, str]:
    """What a store keeps for itself."""
    with closing(apsw.Connection(f"file:{path}?immutable=1", flags=READ_A_FILE)) as db:
        return {str(name): str(value) for name, value in db.execute("SELECT name, value FROM meta")}


def flip_bit(path: Path, sought: str, at: int) -> None:
    """The lowest bit of one letter."""
    flipped = sought[:at] + chr(ord(sought[at]) ^ 1) + sought[at + 1 :]
    change_bytes(path, sought.encode(), flipped.encode(), page_kind=INDEX_LEAF)


def test_an_index_that_is_not_there_is_found(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("DROP INDEX event_by_id")
    assert any("event_by_id is missing" in one for one in complaints(path))


@pytest.mark.parametrize("name", BAD_INDEXES)
@pytest.mark.slow
def test_a_rebuild_works_whatever_else_is_damaged(path: Path, serve: Serve, name: str) -> None:
    assert is_whole(path)
    ruin_pages_of(path, name)
    assert complaints(path)
    made = answered("rebuild", "--data-dir", path.parent)
    assert made["events"] == EVENTS
    assert Path(made["moved_to"]).exists(), "the damaged file is kept"
    assert is_whole(path), "nothing is left to mend"
    client = serve().client()
    frames = frames_of(client, f"/v1/runs/{run_id_of(client)}/events")
    assert len(frames) == LAST + 1


@pytest.mark.parametrize("blocks", [16, *(pytest.param(one, marks=pytest.mark.slow) for one in (1, 64, 128))])
def test_a_rebuild_without_room_says_so_and_calls_nothing_damaged(path: Path, blocks: int) -> None:
    """So many KiB is the largest size of a file."""
    before = path.read_bytes()
    assert len(before) > 2 * blocks * 1024
    command = f"ulimit -f {blocks}; exec {executable()} rebuild --data-dir {path.parent}"
    env = clean_environment({})
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 70, done.stderr
    assert "the largest size that a file may have is reached" in done.stderr, done.stderr
    assert "cannot be read" not in done.stderr
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*partial*"))


@pytest.mark.parametrize(("at", "size"), [(0, PAGE_BYTES), (0, 100), (100, 8)])
def test_a_rebuild_that_can_read_nothing_sends_nobody_back_to_itself(path: Path, at: int, size: int) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + size] = bytes(size)
    path.write_bytes(content)
    done = towerlog("rebuild", "--data-dir", path.parent)
    assert done.exit_code == 70, done.output
    assert "restore a backup with `towerlog restore`" in done.stderr
    assert "towerlog rebuild" not in done.stderr


def test_a_rebuild_of_a_damaged_log_is_refused_and_changes_nothing(path: Path) -> None:
    change_bytes(path, mark(BAD).encode(), mark(BAD).replace("mark", "murk").encode())
    before = path.read_bytes()
    done = towerlog("rebuild", "--data-dir", path.parent)
    assert done.exit_code == 1
    assert f"seq {BAD} of run" in done.stderr
    assert path.read_bytes() == before
    left: list[Any] = [file.name for file in path.parent.iterdir() if "partial" in file.name or "before" in file.name]
    assert left == []


def test_a_message_that_is_not_there_is_named_and_so_it_is_by_the_rebuild_that_cannot_mend_it(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("DELETE FROM message WHERE message = (SELECT min(message) FROM message)")
    [found] = complaints(path)
    assert "its history cannot be read" in found
    made = answered("rebuild", "--data-dir", path.parent)
    assert made["not_mended"] == [f"not mended: {found}"]
