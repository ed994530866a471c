"""`towerlog agents` and `threads` against a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.cli.serving import asking, lines, process, told_json
from tests.cli.terminal import seen
from tests.sdk.served import unique
from tests.support.server import NO_LIMITS, Server
from towerlog.cli import exits

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


@pytest.fixture
def agent(server) -> str:
    """The id of an agent of this test's own, in whose name stands what would turn the rest of its line around."""
    made = server.client().post("/api/v1/agents", json={"name": unique("ag\u202eent")})
    assert made.status_code == 201, made.text
    return str(made.json()["agent_id"])


def pushed(server: Server, agent_id: str, kind: str) -> None:
    done = server.client().post(f"/agents/{agent_id}/events", json={"type": kind, "duration_ms": 1500})
    assert done.status_code == 200, done.text


def test_agents_are_listed_by_name(server, agent) -> None:
    found = told_json(server, "agents", "ls")["data"]
    assert agent in [one["agent_id"] for one in found]
    assert [one["name"] for one in found] == sorted(one["name"] for one in found)
    words = "\n".join(lines(server, "agents", "ls"))
    assert agent in words
    assert "ag ent" in words, "the form in which events are kept under it"
    assert "\u202e" not in words


def test_what_an_agent_did_is_a_line_each(server, agent) -> None:
    for kind in ("file_read", "file_write"):
        pushed(server, agent, kind)
    first, second = lines(server, "agents", "events", agent)
    assert "file_read" in first
    assert "1.5 s" in second
    assert len(lines(server, "agents", "events", agent, "--tail", "1")) == 1
    assert [event["type"] for event in told_json(server, "agents", "events", agent)["data"]] == [
        "file_read",
        "file_write",
    ]


def test_what_an_agent_did_has_the_time_that_other_lists_have(server, agent) -> None:
    """On a terminal of this machine's zone, or in UTC; in a pipe as the API gives it."""
    pushed(server, agent, "file_read")
    [line] = seen(server, 200, "agents", "events", agent, "--utc")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z  file_read\b", line)
    [piped] = lines(server, "agents", "events", agent)
    assert re.match(r"\d{4}-\d\d-\d\dT", piped)


def test_a_tool_that_is_named_as_its_kind_is_named_once(server) -> None:
    name = unique("agent")
    call = {"event_type": "tool_call", "sdk_run_id": name, "agent_name": name}
    done = server.client().post("/api/ingest", json={**call, "payload": {"tool_name": "shell", "phase": "start"}})
    assert done.status_code == 200, done.text
    found = [line for line in lines(server, "agents", "events", name) if "command_start" in line]
    assert [line.split()[1:] for line in found] == [["command_start", "shell"]]


def test_an_agent_is_found_by_its_name_too(server) -> None:
    name = unique("agent")
    agent_id = server.client().post("/api/v1/agents", json={"name": name}).json()["agent_id"]
    pushed(server, agent_id, "file_read")
    assert len(lines(server, "agents", "events", name)) == 1
    refused = asking(server, "agents", "events", "nobody of that name")
    assert refused.exit_code == exits.FOUND_WRONG
    assert "no agent named 'nobody of that name'" in refused.stderr
    assert asking(server, "agents", "events", NOBODY).exit_code == exits.FOUND_WRONG


def test_a_feed_is_followed_over_the_servers_death(tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        server.start()
        agent_id = server.client().post("/api/v1/agents", json={"name": "a"}).json()["agent_id"]
        pushed(server, agent_id, "file_read")
        feed = process(server, "agents", "events", "a", "-f", "--json")
        assert feed.stdout is not None
        seen = [json.loads(feed.stdout.readline())["type"]]
        server.kill()
        server.start()
        pushed(server, agent_id, "file_write")
        seen.append(json.loads(feed.stdout.readline())["type"])
        assert seen == ["file_read", "file_write"]
        feed.kill()
        feed.communicate(timeout=30)
    finally:
        server.close()


def test_threads_are_listed(server) -> None:
    thread = unique("thread")
    server.client().post("/v1/threads", json={"thread_id": thread, "title": "T\x07"})
    assert thread in [one["thread_id"] for one in told_json(server, "threads")["data"]]
    [line] = [line for line in lines(server, "threads") if thread in line]
    assert "T\\x07" in line
    assert len(told_json(server, "threads", "--limit", "1")["data"]) == 1
    found = told_json(server, "threads", "ls", "--query", thread)["data"]
    assert [one["thread_id"] for one in found] == [thread]
