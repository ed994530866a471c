"""Files as they lie there: several, empty, broken, of nobody, in folders. Each comes in as far as it can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import towerlog
from tests.cli.importers import samples
from tests.cli.importers.samples import left, written
from tests.cli.serving import asking
from tests.support.server import NO_LIMITS, Server
from towerlog.ambient import SystemClock
from towerlog.cli import exits
from towerlog.cli.importers import sources
from towerlog.cli.importers.copies import Copies
from towerlog.cli.importers.events import ImportedEvent
from towerlog.cli.importers.files import events_in, format_of
from towerlog.cli.importers.sources import Source

GOOD = b"\n".join(json.dumps(line).encode() for line in samples.claude_code()) + b"\n"
LINES = GOOD.splitlines(keepends=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", NO_LIMITS) as one:
        yield one


def source_of(path: Path, content: bytes) -> Source:
    """A file that nobody writes to any more."""
    path.write_bytes(content)
    return Source(left(path), SystemClock().now_ms())


def read(source: Source) -> list[ImportedEvent]:
    """All events of a file."""
    return list(events_in(source, str(format_of(source)), lambda kind: None))


@pytest.fixture
def whole(tmp_path: Path) -> list[ImportedEvent]:
    """The events of the file without a fault."""
    return read(source_of(tmp_path / "whole.jsonl", GOOD))


def test_each_file_is_imported_for_itself(server, tmp_path) -> None:
    codex, langsmith = samples.codex(), samples.langsmith()
    files = [
        written(tmp_path / "one.jsonl", *codex),
        written(tmp_path / "empty.jsonl"),
        written(tmp_path / "nobody.jsonl", {"a": 1}),
        written(tmp_path / "summary.jsonl", {"type": "summary", "summary": "x", "leafUuid": "y"}),
        written(tmp_path / "two.jsonl", *langsmith),
    ]
    done = asking(server, "import", *map(str, files))
    assert done.exit_code == exits.FOUND_WRONG
    told = {line.split()[0].rstrip(":") for line in done.stdout.splitlines()}
    assert told == {"one.jsonl", "empty.jsonl", "summary.jsonl", "two.jsonl"}
    assert "nobody.jsonl: is no file of" in done.stderr
    assert len(server.client().get("/api/v1/runs").json()["data"]) == 2
    done = asking(server, "import", *map(str, files), "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["ok"] for line in lines) == [False, True, True, True, True]
    assert asking(server, "import", *(str(path) for path in files if path.stem != "nobody")).exit_code == 0


def test_of_a_folder_all_files_are_imported_and_those_of_others_are_no_failure(server, tmp_path) -> None:
    folder = tmp_path / "sessions"
    written(folder / "2026" / "03" / "01" / "rollout-x.jsonl", *samples.codex())
    written(folder / "index.json", {"version": 1})
    (folder / "notes.txt").write_text("no JSON")
    done = asking(server, "import", str(folder))
    assert done.exit_code == 0, done.output
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == ["index.json:", "rollout-x.jsonl"]
    assert len(server.client().get("/api/v1/runs").json()["data"]) == 1


def test_a_folder_without_files_is_told(tmp_path) -> None:
    done = towerlog("import", tmp_path, "--dry-run")
    assert (done.exit_code, "no files that end in .jsonl" in done.stderr) == (exits.FOUND_WRONG, True)


def test_a_dry_run_counts_copies_once_and_remembers_nothing(tmp_path) -> None:
    lines = samples.claude_code()
    one = written(tmp_path / "one.jsonl", *lines)
    two = written(tmp_path / "two.jsonl", *({**line, "sessionId": "other"} for line in lines if "uuid" in line))
    for _ in range(2):
        done = towerlog("import", one, two, "--dry-run", "--json", XDG_STATE_HOME=str(tmp_path))
        assert [json.loads(line)["model_calls"] for line in done.stdout.splitlines()] == [3, 0]
    assert not (tmp_path / "towerlog").exists()


def test_a_server_that_cannot_be_reached_ends_it_at_once(tmp_path) -> None:
    files = [written(tmp_path / name, *samples.codex()) for name in ("one.jsonl", "two.jsonl")]
    env = {"TOWERLOG_URL": "http://127.0.0.1:1", "TOWERLOG_API_KEY": "tl_x", "XDG_STATE_HOME": str(tmp_path)}
    done = towerlog("import", *files, **env)
    assert (done.exit_code, done.stdout) == (exits.UNAVAILABLE, "")


@pytest.mark.parametrize(
    "broken",
    [b'{"type":"assi\n', b'{"type":"assi{"a":1}\n', b'{"a":1}{"b":2}\n', b"}{\n", b"\xfa\xff\n", b"[1,\n"],
    ids=["cut", "spliced", "two in one", "braces", "bytes", "open"],
)
@pytest.mark.parametrize("place", [0, 4], ids=["first", "midst"])
def test_a_line_that_cannot_be_read_is_named_and_the_others_come_in(tmp_path, whole, broken, place) -> None:
    source = source_of(tmp_path / "s.jsonl", b"".join([*LINES[:place], broken, *LINES[place:]]))
    events = read(source)
    assert [event.type for event in events] == [event.type for event in whole]
    assert list(source.bad_lines) == [place + 1]


def test_lines_that_were_left_out_are_told_and_are_no_success(server, tmp_path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"".join([*LINES[:4], b'{"a\n' * 50, *LINES[4:]]))
    done = asking(server, "import", str(left(path)))
    assert done.exit_code == exits.FOUND_WRONG
    assert "without 50 lines that could not be read" in done.stdout
    assert "line 5 is not JSON" in done.stderr
    assert "30 more lines" in done.stderr
    assert json.loads(asking(server, "import", str(path), "--json").stdout)["bad_lines"] == list(range(5, 55))


def with_in_midst(text: bytes) -> bytes:
    """The file with something between two of its lines."""
    return b"".join([*LINES[:4], text, *LINES[4:]])


MARK = b"\xef\xbb\xbf"
AROUND = {
    "mark": MARK + GOOD,
    "mark in the midst": with_in_midst(MARK),
    "mark alone": with_in_midst(MARK + b"\n"),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 BE": b"\xfe\xff" + GOOD.decode().replace("\n", "\r\n").encode("utf-16-be"),
    "UTF-16 put together": with_in_midst(MARK).decode().encode("utf-16"),
    "cut end": GOOD + b'{"type": "assistant", "mess',
    "zeros": GOOD + b"\0" * 512,
    "zeros in the midst": with_in_midst(b"\0" * 512 + b"\n"),
    "CRLF": GOOD.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("content", AROUND.values(), ids=list(AROUND))
def test_what_stands_around_the_lines_costs_nothing(tmp_path, whole, content) -> None:
    source = source_of(tmp_path / "s.jsonl", content)
    events = read(source)
    assert [(event.event_id, event.data) for event in events] == [(event.event_id, event.data) for event in whole]
    assert not source.bad_lines


def test_bytes_that_are_no_utf8_are_replaced_and_named(tmp_path, whole) -> None:
    source = source_of(tmp_path / "s.jsonl", GOOD.replace(b"Let me look.", b"Un caf\xe9?"))
    events = read(source)
    assert [event.event_id for event in events] == [event.event_id for event in whole]
    assert "Un caf\ufffd?" in [event.data.get("content") for event in events]
    assert (list(source.mended_lines), source.bad_lines) == ([4], {})


def test_a_line_that_is_too_long_is_left_out(tmp_path, whole, monkeypatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 2000)
    long = b'{"type":"' + b"x" * 5000 + b'"}\n'
    for content in (with_in_midst(long), with_in_midst(long).decode().encode("utf-16")):
        source = source_of(tmp_path / "s.jsonl", content)
        assert [event.event_id for event in read(source)] == [event.event_id for event in whole]
        assert source.bad_lines == {5: "is longer than 2000 bytes"}


def test_what_has_not_arrived_belongs_to_nobody_and_a_cut_record_is_none(tmp_path) -> None:
    file = tmp_path / "known"
    first = Copies(file)
    assert not first.is_copy("m1", "a")
    first.forget()
    assert not first.is_copy("m1", "b")
    first.keep()
    with file.open("ab") as opened:
        opened.write(b"\0" * 9)
    again = Copies(file)
    assert (again.is_copy("m1", "a"), again.is_copy("m1", "b"), again.is_copy("m2", "a")) == (True, False, False)
    again.keep()
    assert Copies(file).is_copy("m2", "b"), "behind what was cut"
