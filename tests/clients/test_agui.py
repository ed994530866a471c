"""A run as AG-UI, read by the client of its makers: nothing is adapted to us but that the request is a GET."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.acceptance.feeds import complete, fail, held_run, report
from tests.acceptance.test_agui import piece, talk
from tests.clients.sightings import Sightings, npm_client
from tests.clients.tools import node_modules, program
from tests.support.server import ADMIN_KEY, Server

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
EXAMPLE, GUIDE = ROOT / "examples" / "agui" / "read.mjs", ROOT / "docs" / "guides" / "ag-ui.md"


def reads(server: Server, thread: str, run_id: str) -> AbstractContextManager[Sightings]:
    """The client on a run."""
    address = f"{server.base_url}/v1/runs/{run_id}/agui"
    return npm_client("ag-ui", address, ADMIN_KEY, thread, run_id, script="agui.mjs")


def checked(seen: Sightings) -> None:
    """Nothing that its client has complained of."""
    assert not seen.of("error")
    assert not seen.of("warning")


def test_the_client_makes_the_conversation_of_a_live_run(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    run_id = held_run(client, "t", "w", input="which towers?")
    with reads(server, "t", run_id) as seen:
        seen.until("type")
        talk(client, run_id)
        (end,) = seen.until("end")
    checked(seen)
    assert end["result"] == {"towers": 1}
    assert "run.waiting_for_input" in seen.of("custom")
    said = [(one["role"], one.get("content")) for one in end["messages"]]
    assert said == [
        ("user", "which towers?"),
        ("assistant", "let me see"),
        ("assistant", None),
        ("tool", '["Pisa"]'),
        ("assistant", "go on?"),
        ("user", "yes"),
        ("assistant", "done"),
    ]
    (called,) = end["messages"][2]["toolCalls"]
    assert called["function"] == {"name": "search", "arguments": '{"q":"towers"}'}


def test_the_client_is_told_of_a_failure(fresh_server) -> None:
    server: Server = fresh_server()
    run_id = held_run(server.client(), "t", "w")
    fail(server.client(), run_id, "w", "no network")
    with reads(server, "t", run_id) as seen:
        seen.until("end")
    checked(seen)
    assert seen.of("failed") == ["no network"]


def test_pieces_of_two_messages_and_thoughts_may_alternate(fresh_server) -> None:
    server: Server = fresh_server()
    client = server.client()
    run_id = held_run(client, "t", "w")
    for turn in "ab":
        told = [piece(turn, message_id=name) for name in ("m1", "m2")]
        report(client, run_id, "w", *told, piece(turn, message_id="m3", channel="thinking"), piece(turn))
    complete(client, run_id, "w")
    with reads(server, "t", run_id) as seen:
        (end,) = seen.until("end")
    checked(seen)
    roles = [one["role"] for one in end["messages"]]
    assert [one["content"] for one in end["messages"]] == ["ab"] * 4
    assert roles == ["assistant", "assistant", "reasoning", "assistant"]


def test_a_server_that_stops_is_no_end_of_the_run(fresh_server) -> None:
    server: Server = fresh_server()
    run_id = held_run(server.client(), "t", "w")
    with reads(server, "t", run_id) as seen:
        seen.until("type")
        server.stop()
        seen.until("error")
    assert not seen.of("end")


def test_the_example_of_the_guide_reads_a_run(fresh_server, tmp_path: Path) -> None:
    server: Server = fresh_server()
    run_id = held_run(server.client(), "t", "w", input="which towers?")
    talk(server.client(), run_id)
    shutil.copy(EXAMPLE, tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules())
    env = {**os.environ, "TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY}
    command = [program("node"), "read.mjs", "t", run_id]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "let me see" in done.stdout
    assert "7 messages, result: { towers: 1 }" in done.stdout
    # What the page shows is the beginning of the example, without its comment.
    shown = re.search(r"```js\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert shown is not None
    lines = [line.strip() for line in EXAMPLE.read_text().splitlines()]
    assert [line for line in shown[1].splitlines()[:-1] if line.strip() not in lines] == []
