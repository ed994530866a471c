"""`towerlog export`: every event once, in forms that others can read, and a file only when it is whole."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import towerlog
from tests.cli.serving import asking, lines, told_json
from tests.sdk.served import reported, run_id_of, told, unique
from tests.sdk.talker import reply, talking
from tests.support.server import NO_LIMITS, Server
from towerlog.cli import exits
from towerlog.cli.export import COLUMNS


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS)
    try:
        yield one.start()
    finally:
        one.close()


def test_a_run_is_written_event_by_event(server) -> None:
    thread = reported(server, steps=2)
    run_id = run_id_of(server, thread)
    events = [json.loads(line) for line in lines(server, "export", run_id)]
    logged = server.client().get(f"/api/v1/runs/{run_id}/events").json()["data"]
    assert [{name: event[name] for name in logged[0]} for event in events] == logged
    assert {(event["run_id"], event["thread_id"]) for event in events} == {(run_id, thread)}


def test_all_runs_since_a_time_are_written_over_all_pages(server, monkeypatch) -> None:
    # By its name: the package has the command where the module was.
    monkeypatch.setattr(sys.modules["towerlog.cli.export"], "PAGE", 2)
    thread = unique("many")
    runs = [server.client().post(f"/v1/threads/{thread}/runs").json()["run_id"] for _ in range(5)]
    done = asking(server, "export", "--since", "1h", "--thread", thread)
    assert [json.loads(line)["run_id"] for line in done.stdout.splitlines()] == runs[::-1]
    assert done.stderr == "5 events of 5 runs.\n"
    assert asking(server, "export", "--since", "0s", "--thread", thread).stdout == ""


def test_csv_can_be_read_back(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    told(server, "step", name, text='comma, "quote" \x1b\n=1+1', number=1.5)
    run_id = run_id_of(server, name)
    head, first, second = csv.reader(io.StringIO(asking(server, "export", run_id, "--format", "csv").stdout))
    assert tuple(head) == COLUMNS
    assert first[COLUMNS.index("type")] == "run.started"
    assert json.loads(second[COLUMNS.index("data")])["text"] == 'comma, "quote" \x1b\n=1+1'


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_no_cell_is_a_formula(name) -> None:
    run = {
        "run_id": "r",
        "org_id": "o",
        "thread_id": name,
        "status": "s",
        "created_at": "c",
        "trace_id": "x",
        "last_seq": 1,
        "agent": name,
    }
    event = {"seq": 1, "type": "other", "name": name, "data": {}, "recorded_at": "t"}
    page = json.dumps({"data": [event], "next": None}).encode()
    with talking(reply(200, json.dumps(run).encode()), reply(200, page)) as talker:
        done = towerlog("export", "r", "--format", "csv", TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k")
    _, row = csv.reader(io.StringIO(done.stdout))
    cells = dict(zip(COLUMNS, row, strict=True))
    assert [cells["thread_id"], cells["agent"], cells["name"]] == [f"'{name}"] * 3


def test_a_file_is_new_and_whole(server, tmp_path: Path) -> None:
    run_id = run_id_of(server, reported(server))
    file = tmp_path / "run.ndjson"
    said = told_json(server, "export", run_id, "-o", str(file))
    assert said == {"ok": True, "file": str(file), "runs": 1, "events": 3}
    assert len(file.read_text().splitlines()) == 3
    again = asking(server, "export", run_id, "-o", str(file))
    assert again.exit_code == exits.UNAVAILABLE
    assert "the file exists already" in again.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["run.ndjson"]


def test_what_broke_off_gets_no_name(tmp_path) -> None:
    run = b'{"run_id":"r","org_id":"o","thread_id":"t","status":"s","created_at":"c","trace_id":"x","last_seq":1}'
    event = {"seq": 1, "type": "step", "data": {}, "recorded_at": "t"}
    page = json.dumps({"data": [event], "next": "c"}).encode()
    with talking(reply(200, run), reply(200, page), reply(404, b"{}")) as talker:
        file = tmp_path / "run.ndjson"
        done = towerlog("export", "r", "-o", str(file), TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k")
    assert done.exit_code == exits.FOUND_WRONG
    assert list(tmp_path.iterdir()) == []


def test_counts_are_json_beside_the_events(server) -> None:
    run_id = run_id_of(server, reported(server))
    done = asking(server, "export", run_id, "--json")
    assert json.loads(done.stderr) == {"ok": True, "file": None, "runs": 1, "events": 3}


@pytest.mark.parametrize("arguments", [[], ["r", "--since", "1h"]])
def test_it_must_be_said_what_is_wanted(server, arguments) -> None:
    assert asking(server, "export", *arguments).exit_code == exits.USAGE


def test_a_refused_time_has_words(server) -> None:
    done = asking(server, "export", "--since", "soon")
    assert done.exit_code == exits.FOUND_WRONG
    assert "since" in done.stderr
