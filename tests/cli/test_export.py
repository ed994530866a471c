"""`towerlog export`: every event once, in forms that others can read, and a file only when it is whole."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
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
from towerlog.cli.export import EVENT_COLUMNS, RUN_COLUMNS, written_to

STRANGER = 54_321
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


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


def test_a_file_is_for_the_owner_of_its_folder_alone(server, tmp_path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, STRANGER, STRANGER)
    run_id = run_id_of(server, reported(server))
    lines(server, "export", run_id, "-o", str(folder / "run.ndjson"))
    found = (folder / "run.ndjson").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == folder.stat().st_uid


def test_csv_can_be_read_back(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    told(server, "step", name, text='comma, "quote" \x1b\n=1+1', number=1.5)
    run_id = run_id_of(server, name)
    head, first, second = csv.reader(io.StringIO(asking(server, "export", run_id, "--format", "csv").stdout))
    assert tuple(head) == EVENT_COLUMNS
    assert first[EVENT_COLUMNS.index("type")] == "run.started"
    assert json.loads(second[EVENT_COLUMNS.index("data")])["text"] == 'comma, "quote" \x1b\n=1+1'


ODD = '{"n":1e400,"pi":3.141592653589793238,"d":{"a":1,"a":2},"z":-0,"big":1234567890123456789012}'


def odd_run(server: Server) -> str:
    """A run whose event holds numbers that no float has, and a member twice."""
    name = unique("odd")
    body = f'{{"event_type": "step", "sdk_run_id": "{name}", "payload": {ODD}}}'
    done = server.client().post("/api/ingest", content=body, headers={"Content-Type": "application/json"})
    assert done.status_code == 200, done.text
    return run_id_of(server, name)


def test_data_is_written_as_it_was_sent_and_every_line_is_json(server) -> None:
    run_id = odd_run(server)
    [line] = lines(server, "export", run_id)
    assert f'"data":{ODD}' in line
    json.loads(line, parse_constant=pytest.fail)
    [row] = list(csv.DictReader(io.StringIO(asking(server, "export", run_id, "--format", "csv").stdout)))
    assert row["data"] == ODD


@pytest.mark.parametrize("command", [("tail", "--json"), ("show", "--json")], ids=" ".join)
def test_what_is_shown_as_json_is_json_too(server, command) -> None:
    name, (verb, option) = unique("odd"), command
    event = '{"type":"run.started","data":{"input":1e400},"event_id":"1","client_seq":1,"run_key":"NAME"}'
    meta = event.replace("NAME", name)
    body = f'{{"client_id": "c", "events": [{meta}]}}'
    done = server.client().post("/api/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert done.status_code == 200, done.text
    server.client().post(
        "/api/v1/events",
        json={
            "client_id": "c",
            "events": [{"event_id": "2", "client_seq": 2, "run_key": name, "type": "run.completed", "data": {}}],
        },
    )
    found = lines(server, "runs", verb, run_id_of(server, name), option)
    assert "1e400" in found[0]
    json.loads(found[0], parse_constant=pytest.fail)


def test_the_hash_of_the_log_and_no_internal_key_are_written(server) -> None:
    name = unique("told")
    told(server, "run_start", name)
    [event] = [json.loads(line) for line in lines(server, "export", run_id_of(server, name))]
    assert event["event_id"] is None
    assert len(bytes.fromhex(event["hash"])) == 32


def test_runs_can_be_written_too(server) -> None:
    thread = reported(server)
    run_id = run_id_of(server, thread)
    asked = ("export", "--what", "runs", "--since", "1h", "--thread", thread)
    done = asking(server, *asked, "--format", "csv")
    [row] = list(csv.DictReader(io.StringIO(done.stdout)))
    assert tuple(row) == RUN_COLUMNS
    assert (row["run_id"], row["status"], done.stderr) == (run_id, "completed", "1 runs.\n")
    [run] = [json.loads(line) for line in lines(server, *asked)]
    assert (run["run_id"], run["usage"]["input_tokens"]) == (run_id, run["total_input_tokens"])


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "  =1+1", "\u00a0=1+1", "\u3000+1", "\uff1d1+1", "\uff20x"])
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
        done = towerlog("export", NOBODY, "--format", "csv", TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k")
    _, row = csv.reader(io.StringIO(done.stdout))
    cells = dict(zip(EVENT_COLUMNS, row, strict=True))
    assert [cells["thread_id"], cells["agent"], cells["name"]] == [f"'{name}"] * 3


def test_a_file_is_new_and_whole(server, tmp_path: Path) -> None:
    run_id = run_id_of(server, reported(server))
    file = tmp_path / "run.ndjson"
    said = told_json(server, "export", run_id, "-o", str(file))
    assert file.stat().st_mode & 0o777 == 0o600, "what agents said is for its owner alone"
    assert said == {"ok": True, "file": str(file), "runs": 1, "events": 3}
    assert len(file.read_text().splitlines()) == 3
    again = asking(server, "export", run_id, "-o", str(file))
    assert again.exit_code == exits.USAGE
    assert "this file exists already" in again.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["run.ndjson"]


def test_a_file_that_another_export_is_writing_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    with written_to(path) as out:
        out.write("whole\n")
        with pytest.raises(FileExistsError), written_to(path):
            pass
    assert path.read_text() == "whole\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_broke_off_gets_no_name(tmp_path) -> None:
    run = b'{"run_id":"r","org_id":"o","thread_id":"t","status":"s","created_at":"c","trace_id":"x","last_seq":1}'
    event = {"seq": 1, "type": "step", "data": {}, "recorded_at": "t"}
    page = json.dumps({"data": [event], "next": "c"}).encode()
    with talking(reply(200, run), reply(200, page), reply(404, b"{}")) as talker:
        file = tmp_path / "run.ndjson"
        done = towerlog("export", NOBODY, "-o", str(file), TOWERLOG_URL=talker.url, TOWERLOG_API_KEY="k")
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
    assert done.exit_code == exits.USAGE
    assert "since" in done.stderr
