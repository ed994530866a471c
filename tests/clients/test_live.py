"""Rows that change, as clients of others read them: `httpx-sse`, npm's `eventsource` with a ticket, and the example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import httpx_sse
import pytest

from tests.acceptance.feeds import claim, complete, create_run, held_run
from tests.clients.sightings import npm_client
from tests.support.server import ADMIN_KEY, Server

HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}
EXAMPLE = Path(__file__).parents[2] / "examples" / "live" / "watch.py"


def test_httpx_sse_watches_a_run(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    seen: list[str] = []
    with (
        httpx.Client(headers=HEADERS, trust_env=False, timeout=60) as reader,
        httpx_sse.connect_sse(reader, "GET", f"{server.base_url}/api/v1/live?kind=run") as source,
    ):
        for event in source.iter_sse():
            assert event.id, "each event has a place, if only that of the one before"
            if event.event == "snapshot":
                run_id = create_run(client, "t")["run_id"]
            elif event.event == "run" and event.json()["status"] not in seen:
                assert event.json()["run_id"] == run_id
                seen.append(event.json()["status"])
                if seen == ["queued"]:
                    claim(client, run_id, "w")
                elif seen == ["queued", "running"]:
                    complete(client, run_id, "w")
                else:
                    break
    assert seen == ["queued", "running", "completed"]


def test_the_example_of_the_docs_shows_what_changes(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    old = held_run(client, "t", "w")
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE)],
        env={"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        assert next(lines).split()[0] == old[-6:]
        assert next(lines) == "watching\n"
        complete(client, old, "w")
        assert any(line.split()[2] == "completed" for line in lines)
        server.restart()
        new = create_run(client, "t2")["run_id"]
        assert any(line.startswith(new[-6:]) for line in lines)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_npms_eventsource_watches_by_tickets_over_restarts(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    with npm_client("eventsource", server.base_url, ADMIN_KEY, script="live.mjs") as seen:
        assert seen.until("snapshot") == [False]
        for turn in range(3):
            run_id = held_run(client, f"t{turn}", "w")
            complete(client, run_id, "w")
            while seen.until("run", len(seen.of("run")) or 1)[-1] != f"{run_id} completed":
                seen.until("run", len(seen.of("run")) + 1)
            server.restart()
            assert seen.until("snapshot", turn + 2)[-1] is True
    assert seen.of("gap") == []
