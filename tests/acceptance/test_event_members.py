"""A run that came in through any dialect reads the same: who answered what, which tool was called, what came out."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.acceptance.feeds import Json, container_event, held_run, newest_run_of, ok, push, report
from tests.support.readback import ReadBack
from tests.support.senders import ingest, save_batch, sdk_event, tell
from tests.support.server import ADMIN_KEY, Server
from towerlog.dialects.views.event_members import MAX_REPEATED_BYTES
from towerlog.sdk.api.client import Client


def frames(client: httpx2.Client, run_id: str) -> list[Json]:
    """All frames of the run's stream."""
    text = client.get(f"/v1/runs/{run_id}/events", params={"follow": "false"}).text
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith('data: {"seq"')]


def listed(client: httpx2.Client, run_id: str) -> list[Json]:
    """All events of the native list."""
    found: list[Json] = ok(client.get(f"/api/v1/runs/{run_id}/events"))["data"]
    return found


READERS = [frames, listed]


def members(events: list[Json], kind: str, *names: str) -> list[Json]:
    """Of the events of a type, those of these members that they have."""
    return [{name: one[name] for name in names if one.get(name) is not None} for one in events if one["type"] == kind]


@pytest.mark.parametrize("read", READERS)
def test_of_steps(client: httpx2.Client, back: ReadBack, unique: Unique, read: Any) -> None:
    run = unique("run")
    tell(client, "run_start", run, {"framework": "none"})
    tell(client, "tool_call", run, {"tool_name": "shell", "phase": "start", "input_preview": "ls"})
    result = {"tool_name": "shell", "phase": "end", "output_preview": "README", "success": True}
    tell(client, "tool_call", run, result)
    tell(client, "human_input_requested", run, {"question": "Go on?"})
    tell(client, "human_input_received", run, {"response": "no", "responded_by": "inspector"})
    tell(client, "step", run, {"node_name": "plan", "phase": "end"})
    tell(client, "run_end", run, {"output": {"words_seen": 181}, "prompt_tokens": 3})
    events = read(client, back.run(run)["run_id"])
    assert members(events, "tool.call", "tool", "arguments") == [{"tool": "shell", "arguments": "ls"}]
    expected = [{"tool": "shell", "result": "README", "success": True}]
    assert members(events, "tool.result", "tool", "result", "success") == expected
    assert members(events, "run.waiting_for_input", "question_id") == [{"question_id": 4}]
    names = ("content", "question_id", "answered_by")
    assert members(events, "run.input", *names) == [{"content": "no", "question_id": 4, "answered_by": "inspector"}]
    assert members(events, "step", "name") == [{"name": "plan"}]
    assert members(events, "run.completed", "result") == [{"result": {"words_seen": 181}}]
    (kept,) = [one["data"] for one in events if one["type"] == "tool.result"]
    assert {name: kept[name] for name in result} == result


@pytest.mark.parametrize("read", READERS)
def test_an_answer_of_a_person_names_them_and_its_question_and_so_does_its_receipt(
    client: httpx2.Client, back: ReadBack, unique: Unique, read: Any
) -> None:
    run = unique("run")
    for question in ("First?", "Second?"):
        tell(client, "human_input_requested", run, {"question": question})
    run_id = back.run(run)["run_id"]
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "yes", "question_id": 2}))
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "hurry", "type": "message"}))
    taken_by = {"response": "yes", "responded_by": "a person"}
    ok(ingest(client, sdk_event("human_input_received", run, taken_by)))
    events = read(client, run_id)
    given, taken = members(events, "run.input", "question_id", "answered_by")
    assert given == {"question_id": 2, "answered_by": "admin"}
    assert taken == {"question_id": 2, "answered_by": "a person"}
    assert members(events, "run.message", "written_by") == [{"written_by": "admin"}]


@pytest.mark.parametrize("read", READERS)
def test_of_checkpoints(client: httpx2.Client, unique: Unique, read: Any) -> None:
    thread = unique("thread")
    figures = {"step_index": 1, "status": "in_progress", "tokens_used": 30, "input_tokens": 20, "output_tokens": 10}
    place = {"thread_id": thread, "trace_id": unique("trace"), "agent_id": "surveyor"}
    save_batch(
        client,
        {"type": "thread_started", "data": place},
        {"type": "checkpoint", "data": {**place, **figures, "run_cost_usd": 0.5, "history": [{"a": 1}]}},
    )
    events = read(client, newest_run_of(client, thread))
    names = ("step_index", "status", "total_input_tokens", "total_output_tokens", "cost_usd")
    assert members(events, "checkpoint", *names)[-1] == {
        "step_index": 1,
        "status": "in_progress",
        "total_input_tokens": 20,
        "total_output_tokens": 10,
        "cost_usd": 0.5,
    }


@pytest.mark.parametrize("read", READERS)
def test_of_lanes(client: httpx2.Client, unique: Unique, read: Any) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker)
    sent = [
        ("tool.call", {"name": "weigh", "input": {"file": "a"}}),
        ("tool.result", {"name": "weigh", "output": 7, "success": True}),
        ("message.delta", {"content": "seven"}),
        ("model.call", {"model": "m", "input_tokens": 86, "cached_input_tokens": 1920, "output_tokens": 300}),
        ("run.completed", {"output": {"grams": 7}}),
    ]
    report(client, run_id, worker, *({"type": kind, "payload": payload} for kind, payload in sent))
    events = read(client, run_id)
    assert members(events, "tool.call", "tool", "arguments") == [{"tool": "weigh", "arguments": {"file": "a"}}]
    assert members(events, "tool.result", "tool", "result") == [{"tool": "weigh", "result": 7}]
    assert members(events, "message.delta", "text") == [{"text": "seven"}]
    names = ("model", "total_input_tokens", "cached_input_tokens", "total_output_tokens")
    assert members(events, "model.call", *names) == [
        {"model": "m", "total_input_tokens": 2006, "cached_input_tokens": 1920, "total_output_tokens": 300}
    ]
    assert members(events, "run.completed", "result") == [{"result": {"grams": 7}}]


@pytest.mark.parametrize("read", READERS)
def test_of_activity(client: httpx2.Client, unique: Unique, read: Any) -> None:
    agent_id = ok(client.post("/api/v1/agents", json={"name": unique("librarian")}), 201)["agent_id"]
    thread = unique("thread")
    push(
        client,
        agent_id,
        container_event(
            type="file_read",
            tool="filesystem",
            input_summary="a.py",
            output_summary="9 bytes",
            metadata={"thread_id": thread},
        ),
    )
    events = read(client, newest_run_of(client, thread))
    expected = [{"tool": "filesystem", "result": "9 bytes", "name": "file_read"}]
    assert members(events, "tool.result", "tool", "result", "name") == expected


MAX_TEXT_BYTES = 4 * 1024 * 1024 - 1024
"""Of text in an event, which may have 4 MiB."""


@pytest.mark.parametrize(
    "outputs",
    [
        ["x" * 500_000] * 9,
        ["x" * MAX_TEXT_BYTES] * 2,
        # They nearly fill a page, each is short enough to be repeated, and the last one is as long as one may be.
        [*["x" * (MAX_REPEATED_BYTES - 2048)] * 32, "x" * MAX_TEXT_BYTES],
        # What is not ASCII is escaped in a frame: the letters with two bytes become the longest.
        ["ж" * (MAX_TEXT_BYTES // 2)],
        ["塔" * (MAX_TEXT_BYTES // 3)],
    ],
    ids=["half a megabyte", "as long as may be", "many and a long one", "two bytes a letter", "three bytes a letter"],
)
def test_the_client_reads_every_page_and_frame_that_the_server_makes(
    server: Server, client: httpx2.Client, back: ReadBack, unique: Unique, outputs: list[str]
) -> None:
    run = unique("run")
    for output in outputs:
        tell(client, "tool_call", run, {"tool_name": "shell", "phase": "end", "output": output})
    tell(client, "run_end", run, {})
    run_id = back.run(run)["run_id"]
    with Client(server.base_url, ADMIN_KEY) as reader:
        for events in (reader.list_events(run_id), reader.follow(run_id)):
            seen = [one for one in events if one.type == "tool.result"]
            assert [one.data["output"] for one in seen] == outputs
            repeated = [one.raw.get("result") for one in seen]
            assert repeated == [text if len(text) < MAX_REPEATED_BYTES else None for text in outputs]


def test_the_client_reads_a_delta_of_any_length(
    server: Server, client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    text = "ж" * (MAX_TEXT_BYTES // 2)
    run_id = held_run(client, unique("thread"), "weigher")
    report(client, run_id, "weigher", {"type": "message.delta", "payload": {"content": text}})
    report(client, run_id, "weigher", {"type": "run.completed", "payload": {"result": 1}})
    with Client(server.base_url, ADMIN_KEY) as reader:
        assert [one.data["content"] for one in reader.follow(run_id) if one.type == "message.delta"] == [text]


def test_a_result_is_the_same_to_every_reader(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "run_end", run, {"result": None, "output": {"n": 1}})
    run_id = back.run(run)["run_id"]
    assert ok(client.get(f"/v1/runs/{run_id}"))["result"] == {"n": 1}
    for read in READERS:
        assert members(read(client, run_id), "run.completed", "result") == [{"result": {"n": 1}}]
