"""One flipped bit puts a table out of order: whatever walks through it ends, and says where it did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.rotten import AGENT, TEXT, copy_of, fill, mislay, mislead
from tests.faults.test_rotten_reads import frames_of, metric
from tests.support.readback import ReadBack
from tests.support.samples import first
from tests.support.senders import checkpoint, ingest, runner_event, save_batch, sdk_event
from tests.support.server import NO_LIMITS, Server

WALKED = ("message", "node", "audit_entry")
LIMIT_S = 60.0
RUNS, EVENTS, LOST = 40, 5, 16


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database each of whose tables that are walked through has several pages."""
    server = Server(tmp_path_factory.mktemp("grown") / "data", NO_LIMITS)
    try:
        client = server.start().client()
        fill(server)
        history = [{"role": "user", "content": f"question {number} {'y' * 200}"} for number in range(300)]
        save_batch(client, runner_event("thread_started", "long", "trace-2"))
        for step in range(1, 151):
            save_batch(client, checkpoint("long", "trace-2", step, history=history[: 2 * step]))
        for number in range(80):
            assert client.post("/api/v1/keys", json={"name": f"key-{number}", "scopes": ["read"]}).status_code == 201
        server.stop()
    finally:
        server.close()
    return server.data_dir / "towerlog.db"


@pytest.mark.parametrize("table", first(WALKED))
def test_a_walk_that_is_led_back_ends_and_names_the_table_and_the_place(
    grown: Path, tmp_path: Path, table: str
) -> None:
    path = copy_of(grown, tmp_path / "data")
    mislead(path, table)
    command = [sys.executable, "-m", "towerlog", "verify", "--data-dir", str(path.parent), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1, done.stderr
    first, *others = json.loads(done.stdout)["shown"]
    assert first.startswith(f"the database file: table {table}: Tree "), first
    assert "out of order" in first
    assert any(f"the table {table} is out of order: behind key " in one for one in others), others
    assert not any("differs from its rebuild" in one for one in others), "what could not be read is not compared"
    assert done.stderr.splitlines()[0] == first, "what was found is told when it is found"


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of many runs, some of which lie whole in the part that one bit hides."""
    server = Server(tmp_path_factory.mktemp("small") / "data", NO_LIMITS)
    try:
        client = server.start().client()
        for run in range(RUNS):
            for number in range(EVENTS):
                body = {"tool_name": "t", "arguments": {"text": TEXT}}
                event = sdk_event("tool_call", f"run-{run}", body, agent_name=AGENT, event_id=f"id-{run}-{number}")
                assert ingest(client, event).status_code == 200
        server.stop()
    finally:
        server.close()
    return server.data_dir / "towerlog.db"


def test_events_that_an_index_has_and_the_table_does_not_are_named_and_not_looked_for_again(
    small_runs: Path, tmp_path: Path
) -> None:
    path = copy_of(small_runs, tmp_path / "data")
    lost = mislay(path, "event", LOST)
    server = Server(path.parent, NO_LIMITS)
    try:
        client = server.start().client()
        ids = [row["run_id"] for row in client.get("/api/v1/runs", params={"limit": 200}).json()["data"]]
        refused, gaps = [], 0
        for run_id in ids:
            page = client.get(f"/api/v1/runs/{run_id}/events", timeout=LIMIT_S)
            if page.status_code != 200:
                assert (page.status_code, page.json()["code"]) == (500, "damaged"), page.text
                assert f"of run {run_id} " in page.text
                refused.append(run_id)
            told: list[int] = []
            for frame in frames_of(client, f"/v1/runs/{run_id}/events"):
                missing = frame.json["missing"] if frame.event == "gap" else 1
                told += range(frame.json["seq"] - missing + 1, frame.json["seq"] + 1)
                gaps += missing if frame.event == "gap" else 0
            assert told == list(range(1, EVENTS + 1)), "each event once, or named once"
        assert (len(ids), gaps >= lost) == (RUNS, True)
        assert len(refused) >= LOST // EVENTS - 1
        assert metric(server, "towerlog_read_failures_total") <= 8 * RUNS, "each read fails a few times, and ends"
        feed = client.get(f"/agents/{ReadBack(client).agent_id(AGENT)}/events", params={"tail": 500})
        assert len(feed.headers["x-damaged"].split()) >= lost, "neither are they left out of the feed without a word"
    finally:
        server.close()
