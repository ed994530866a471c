"""A row of a list is one line, on every terminal; in a pipe nothing is cut that somebody has to copy."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from tests.cli.serving import asking, lines
from tests.cli.terminal import seen
from tests.sdk.served import checkpoint, told, unique
from tests.support.server import NO_LIMITS, Server
from towerlog.ambient import format_uuid7
from towerlog.cli import exits, tables
from towerlog.cli.tables import Column, View, fitted, shortened, show_table

WIDTHS = (60, 80, 100, 140)
LONG = "an agent with a rather long name, such as frameworks give"
LISTS = (
    ("runs", "ls"),
    ("agents", "ls"),
    ("threads", "ls"),
    ("queue", "ls"),
    ("workers", "ls"),
    ("usage",),
    ("usage", "--by", "hour"),
    ("usage", "--by", "model"),
    ("approvals", "ls"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """One with a row in every list, and names that are long, wide or empty."""
    one = Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS)
    try:
        one.start()
        for number, agent in enumerate((LONG, "名前" * 30, "a")):
            name = f"run {number} " + "of a long thread " * number
            told(one, "run_start", name, agent_name=agent)
            usage = {"model": "gpt-4", "prompt_tokens": 123_456_789, "completion_tokens": 9_876_543, "cost_usd": 1234.5}
            told(one, "run_end", name, **usage)
        made = [
            one.client().post(f"/v1/threads/{unique('thread')}/runs", json={"agent": LONG, "labels": {"gpu": "1"}})
            for _ in range(2)
        ]
        claimed = {"worker_id": "w" * 150, "lease_seconds": 3600}
        held = one.client().post(f"/api/agents/runs/{made[0].json()['run_id']}/claim", json=claimed)
        assert held.status_code == 200, held.text
        checkpoint(one, unique("thread"), unique("trace"), "waiting_for_approval", 1)
        yield one
    finally:
        one.close()


def cells(line: str) -> int:
    from rich.cells import cell_len

    return cell_len(line)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_a_row_is_a_line(server, width, command) -> None:
    rows = len(lines(server, *command))
    shown = seen(server, width, *command)
    assert len(shown) == rows > 1
    assert max(map(cells, shown)) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_short_id_of_a_list_is_taken_by_every_command(server, width) -> None:
    head, newest, *_ = seen(server, width, "runs", "ls", "--status", "completed")
    assert head.split()[:3] == ["RUN", "ID", "STATUS"]
    short = newest.split()[0]
    assert len(short) < 36
    for command in (("show",), ("tail",), ("checkpoints",)):
        assert seen(server, width, "runs", *command, short)
    assert lines(server, "export", short)
    refused = asking(server, "runs", "pause", short)
    assert refused.exit_code == exits.FOUND_WRONG
    assert "completed" in refused.stderr


def test_times_are_told_from_now_or_in_utc(server) -> None:
    assert any({"ago", "now"} & set(row.split()) for row in seen(server, 80, "runs", "ls")[1:])
    utc = seen(server, 140, "runs", "ls", "--utc")
    assert all("Z" in row for row in utc[1:])
    assert not any(" ago" in row for row in utc)


def test_hours_are_named_by_their_beginning(server) -> None:
    # Two, where one has ended while the server was fed.
    rows = seen(server, 80, "usage", "--by", "hour", "--utc")[1:]
    wholes = lines(server, "usage", "--by", "hour")[1:]
    assert [row[:17] for row in rows] == [whole[:16].replace("T", " ") + "Z" for whole in wholes]
    shown = seen(server, 80, "usage", "--by", "hour")[1:]
    assert 1 <= len(shown) == len(rows)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d  ", local) for local in shown)


def test_ids_in_a_list_are_as_short_as_those_in_a_column(server) -> None:
    [row] = seen(server, 80, "workers", "ls")[1:]
    short = row.split()[-1]
    assert len(short) == tables.SHORT_ID_CHARS
    assert seen(server, 80, "runs", "show", short)


def test_wide_shows_whole_ids_and_every_column(server) -> None:
    run_ids = [line.split()[0] for line in lines(server, "runs", "ls")[1:]]
    shown = seen(server, 80, "runs", "ls", "--wide")
    assert [row.split()[0] for row in shown[1:]] == run_ids
    assert all(len(run_id) == 36 for run_id in run_ids)
    assert LONG in "\n".join(shown)


def test_the_beginning_of_several_ids_is_refused_with_their_names(server) -> None:
    run_ids = sorted(line.split()[0] for line in lines(server, "runs", "ls")[1:])
    done = asking(server, "runs", "show", run_ids[0][:2])
    assert done.exit_code == exits.FOUND_WRONG
    assert "more than one run id" in done.stderr
    assert run_ids[0] in done.stderr
    for nobody in ("ffff", "nonsense", "%"):
        done = asking(server, "runs", "show", nobody)
        assert done.exit_code == exits.FOUND_WRONG
        assert f"no run whose id begins or ends with '{nobody}'" in done.stderr


def test_a_run_is_found_by_the_end_of_its_id_too(server) -> None:
    """Which is what the dashboard and logs show."""
    run_ids = [line.split()[0] for line in lines(server, "runs", "ls")[1:]]
    for run_id in run_ids:
        for end in (run_id[-6:], run_id[-12:].upper()):
            assert seen(server, 80, "runs", "show", end) == seen(server, 80, "runs", "show", run_id)


def test_a_table_in_a_pipe_is_as_wide_as_it_has_to_be(capsys) -> None:
    columns = (Column("KEY ID", "id"), Column("NAME", rank=1))
    show_table(columns, [("i" * 60, "n" * 200), ("j", "[bold]m\x1b[2J")], empty="None.")
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 3
    assert "i" * 60 in found[1]
    assert "n" * 200 in found[1]
    assert "[bold]m\\x1b[2J" in found[2]


@pytest.mark.parametrize("text", ["soon", "2026", "+1", "99999-01-01T00:00:00Z"])
def test_a_time_that_is_none_is_shown_as_it_is(capsys, monkeypatch, text) -> None:
    monkeypatch.setattr(tables, "screen_width", lambda: 80)
    show_table([Column("A", "time"), Column("B", "hour")], [(text, text)], empty="")
    assert capsys.readouterr().out.splitlines()[1].split() == [text, text]
    assert tables.moment(text, utc=True) == text


def test_an_empty_table_says_so(capsys) -> None:
    show_table((Column("A"),), [], empty="None.")
    assert capsys.readouterr().out == "None.\n"


def test_ids_are_as_long_as_they_have_to_be() -> None:
    first, second = "0196b2c4-5d1e-7c3a-9f10-2b7d4e8a1c55", "0196b2c4-5d1e-7c3a-9f10-2b8d4e8a1c55"
    assert shortened([first, first]) == ["0196b2c4-5d1e-7c3a-9f10"] * 2
    assert shortened([first, second]) == ["0196b2c4-5d1e-7c3a-9f10-2b7", "0196b2c4-5d1e-7c3a-9f10-2b8"]
    assert shortened(["short", ""]) == ["short", ""]


def test_a_short_id_is_no_beginning_of_an_id_that_is_not_shown() -> None:
    """As of runs that a program begins in one millisecond, more than a table has rows."""
    source = random.Random(7)
    ids = [format_uuid7(1_775_000_000_000, source.getrandbits(80)) for _ in range(300)]
    for short in shortened(ids[:50]):
        assert len([one for one in ids if one.startswith(short)]) == 1


def test_what_says_nothing_goes_first_then_what_is_least_asked_for() -> None:
    columns = (Column("A"), Column("B", rank=1), Column("C", rank=2), Column("D", "number", rank=3))
    widths = [10, 10, 10, 10]
    assert fitted(columns, [*widths], [], 46) == [0, 1, 2, 3]
    assert fitted(columns, [*widths], [], 40) == [0, 1, 2, 3], "text is cut before a column goes"
    assert fitted(columns, [*widths], [1], 40) == [0, 2, 3], "a column without a value goes before text is cut"
    assert fitted(columns, [*widths], [1], 34) == [0, 2, 3]
    assert fitted(columns, [*widths], [], 34) == [0, 1, 2]
    narrow = [*widths]
    assert fitted(columns, narrow, [], 9) == [0]
    assert narrow[0] == 9


def test_a_number_stands_to_the_right_and_is_never_cut(capsys, monkeypatch) -> None:
    monkeypatch.setattr(tables, "screen_width", lambda: 20)
    show_table((Column("NAME"), Column("N", "number")), [("n" * 40, "1"), ("m", "1,234,567")], empty="", view=View())
    shown = capsys.readouterr().out.splitlines()[1:]
    assert shown == ["nnnnnnnn…          1", "m          1,234,567"]
