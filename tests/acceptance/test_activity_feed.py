"""What other dialects' events look like in the `activity` of their agent, and that their content never gets there."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import FreshServer, Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, container_event, push_activity, runner_event, save_batch, tell

METADATA = {"model_name", "request_type", "status", "input_tokens", "output_tokens", "cost_usd"}


def activity_of(back: ReadBack, agent_name: str) -> list[Json]:
    """The activity of the agent of this name."""
    return back.activity(back.agent_id(agent_name))


def test_a_run_end_is_a_finished_inference(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    usage = {"prompt_tokens": 150, "completion_tokens": 45, "total_tokens": 195, "cost_usd": 0.0023, "model": "gpt-4"}
    tell(client, "run_start", run, agent_name=agent)
    tell(client, "run_end", run, usage)
    [event] = activity_of(back, agent)
    assert (event["type"], event["tool"], event["success"]) == ("inference_complete", "inference", True)
    assert event["id"].startswith("inference-")
    assert len(event["id"]) > len("inference-")
    assert re.fullmatch(r"gpt-4 \(.+\)", event["input_summary"])
    assert re.fullmatch(r"150\+45 tokens, \$0\.0023, \S+ ?ms", event["output_summary"])
    assert set(event["metadata"]) == METADATA
    figures = {name: event["metadata"][name] for name in ("model_name", "input_tokens", "output_tokens", "cost_usd")}
    assert figures == {"model_name": "gpt-4", "input_tokens": 150, "output_tokens": 45, "cost_usd": 0.0023}
    assert isinstance(event["metadata"]["request_type"], str)
    assert isinstance(event["metadata"]["status"], str)


def test_a_checkpoint_turn_is_a_finished_inference(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, agent = unique("thread"), unique("agent")
    figures = {"input_tokens": 310, "output_tokens": 110, "run_cost_usd": 0.00231, "model": "claude-sonnet-4-6"}
    save_batch(client, checkpoint(thread, "t", 1, agent_id=agent, **figures))
    [event] = activity_of(back, agent)
    assert (event["type"], event["tool"], event["success"]) == ("inference_complete", "inference", True)
    assert event["id"].startswith("inference-")
    assert re.fullmatch(r"claude-sonnet-4-6 \(.+\)", event["input_summary"])
    assert event["output_summary"].startswith("310+110 tokens, $0.00231")
    assert set(event["metadata"]) == METADATA
    assert (event["metadata"]["input_tokens"], event["metadata"]["output_tokens"]) == (310, 110)


def test_each_inference_has_an_id_of_its_own(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    thread, agent = unique("thread"), unique("agent")
    turns = (checkpoint(thread, "t", n, agent_id=agent, model="m", input_tokens=n * 10) for n in range(1, 6))
    save_batch(client, *turns)
    ids = [event["id"] for event in activity_of(back, agent)]
    assert len(ids) == len(set(ids)) == 5


@pytest.mark.parametrize(
    ("tool_name", "tool"),
    [("shell", "shell"), ("run_shell", "shell"), ("filesystem", "filesystem"), ("web_search", "runtime")],
)
def test_a_tool_call_is_a_command(
    client: httpx2.Client, back: ReadBack, unique: Unique, tool_name: str, tool: str
) -> None:
    run, agent = unique("run"), unique("agent")
    tell(client, "tool_call", run, {"tool_name": tool_name, "phase": "start", "input_preview": "x"}, agent_name=agent)
    tell(client, "tool_call", run, {"tool_name": tool_name, "phase": "end", "duration_ms": 740})
    start, end = activity_of(back, agent)
    assert (start["type"], start["tool"]) == ("command_start", tool)
    assert (start["duration_ms"], start["success"], start["output_summary"]) == (None, None, None)
    assert (end["type"], end["tool"], end["duration_ms"]) == ("command_complete", tool, 740)
    assert tool_name in end["input_summary"]
    assert not start["id"].startswith("inference-")


def test_what_has_no_place_does_not_appear(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    tell(client, "run_start", run, agent_name=agent)
    for event_type in ("step", "human_input_requested", "human_input_received"):
        tell(client, event_type, run, {"note": "x"})
    thread = unique("thread")
    save_batch(client, runner_event("thread_started", thread, "t", agent_id=agent))
    save_batch(client, runner_event("budget_warning", thread, "t", agent_id=agent))
    assert activity_of(back, agent) == []


def test_inference_events_may_be_pushed_and_never_collide(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    run, agent = unique("run"), unique("agent")
    tell(client, "run_start", run, agent_name=agent)
    agent_id = back.agent_id(agent)
    figures = {"input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5, "status": "rate_limited", "request_type": "chat"}
    event = {
        **container_event(type="inference_rate_limited", tool="inference", input_summary="gpt-4 (chat)", success=False),
        "id": "inference-7a",
        "metadata": {"model_name": "gpt-4", **figures},
    }
    reply = push_activity(client, agent_id, event)
    assert (reply.status_code, reply.json()["accepted"]) == (200, 1), reply.text
    [shown] = back.activity(agent_id)
    assert (shown["id"], shown["type"], shown["tool"]) == ("inference-7a", "inference_rate_limited", "inference")
    assert shown["metadata"] == event["metadata"]


def test_a_call_that_a_provider_has_refused_for_its_rate_appears(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    thread, agent = unique("thread"), unique("agent")
    limited = runner_event("thread_rate_limited", thread, "t", agent_id=agent, wait_seconds=2.5)
    save_batch(client, runner_event("thread_started", thread, "t", agent_id=agent), limited)
    save_batch(client, limited)
    found = activity_of(back, agent)
    assert len(found) == 2
    for shown in found:
        assert (shown["type"], shown["tool"], shown["success"]) == ("inference_rate_limited", "inference", False)
        assert shown["metadata"]["status"] == "rate_limited"
    assert back.activity(back.agent_id(agent), tail=1) == found[1:]


SECRET = "swordfish-"


def secrets_through_checkpoints(client: httpx2.Client, agent: str, unique: Unique) -> None:
    """A thread whose every free text is a secret."""
    thread = unique("thread")
    history = [{"role": "user", "content": SECRET + "prompt"}, {"role": "assistant", "content": SECRET + "completion"}]
    content = {
        "history": history,
        "history_meta": [{"ts": SECRET + "meta"}, {}],
        "pending_tool_calls": [{"id": "c1", "name": "shell", "arguments": {"command": SECRET + "command"}}],
        "unknown": SECRET + "unknown",
    }
    save_batch(
        client,
        runner_event("thread_started", thread, "t", agent_id=agent, model="m", input=SECRET + "input"),
        checkpoint(thread, "t", 1, agent_id=agent, model="m", input_tokens=10, output_tokens=5, **content),
        runner_event("thread_error", thread, "t", agent_id=agent, error={"message": SECRET + "error"}),
    )


def secrets_through_steps(client: httpx2.Client, agent: str, unique: Unique) -> None:
    """A run whose every free text is a secret."""
    run, failed = unique("run"), unique("run")
    previews = {"input_preview": SECRET + "in", "output_preview": SECRET + "out", "output": SECRET + "raw"}
    for sdk_run in (run, failed):
        tell(client, "run_start", sdk_run, {"input": {"query": SECRET + "query"}}, agent_name=agent)
    tell(client, "step", run, {"node_name": "n", "output": {"text": SECRET + "step"}})
    for tool_name in ("web_search", "shell", "filesystem"):
        for phase in ("start", "end"):
            tell(client, "tool_call", run, {"tool_name": tool_name, "phase": phase, **previews})
    tell(client, "human_input_requested", run, {"question": SECRET + "question", "context": SECRET + "context"})
    tell(client, "human_input_received", run, {"response": SECRET + "response"})
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost_usd": 0.1, "model": "m"}
    tell(client, "run_end", run, {**usage, "output": {"answer": SECRET + "answer"}, "unknown": SECRET})
    tell(client, "error", failed, {"error_message": SECRET + "message", "traceback": SECRET + "traceback"})


def secrets_through_activity(client: httpx2.Client, agent_id: str) -> None:
    """Pushed events that carry content where none belongs."""
    content = {"prompt": SECRET + "prompt", "completion": SECRET + "completion", "raw_output": SECRET + "raw"}
    inference = container_event(type="inference_complete", tool="inference", input_summary="m (chat)")
    for event in (container_event(**content), {**inference, **content, "metadata": {"model_name": "m", **content}}):
        assert push_activity(client, agent_id, event).json()["accepted"] == 1


def secrets_through_runs_and_lanes(client: httpx2.Client, agent: str, unique: Unique) -> None:
    """A run made by an application and worked on by a worker, with secrets in all that they say."""
    made = client.post(f"/v1/threads/{unique('thread')}/runs", json={"input": SECRET + "input"})
    assert made.status_code == 201, made.text
    run_id, worker = made.json()["run_id"], {"worker_id": unique("worker"), "lease_seconds": 60}
    assert client.post(f"/api/agents/runs/{run_id}/claim", json=worker).status_code == 200
    said: list[Json] = [
        {"type": "message.delta", "payload": {"content": SECRET + "delta"}},
        {"type": "tool.call", "payload": {"tool_call_id": "c", "name": "shell", "arguments": {"a": SECRET + "a"}}},
        {"type": "tool.result", "payload": {"tool_call_id": "c", "name": "shell", "result": SECRET + "result"}},
        {"type": "action", "payload": {"note": SECRET + "note", "agent": agent}},
    ]
    report = {**worker, "phase": SECRET + "phase", "log_line": SECRET + "log", "events": said}
    assert client.post(f"/api/agents/runs/{run_id}/events", json=report).status_code == 200
    assert client.post(f"/v1/runs/{run_id}/input", json={"content": SECRET + "answer"}).status_code == 200


def test_no_content_of_any_dialect_ever_shows(fresh_server: FreshServer, unique: Unique) -> None:
    client = fresh_server().client()
    back, agent = ReadBack(client), unique("agent")
    secrets_through_checkpoints(client, agent, unique)
    secrets_through_steps(client, agent, unique)
    secrets_through_activity(client, back.agent_id(agent))
    secrets_through_runs_and_lanes(client, agent, unique)
    shown = {known["name"]: back.activity(known["agent_id"], tail=5_000) for known in back.agents()}
    leaks = [event for events in shown.values() for event in events if SECRET in str(event)]
    assert leaks == []
    kinds = {event["type"] for event in shown[agent]}
    assert {"command_start", "command_complete", "inference_complete"} <= kinds, "the silence is not for want of events"
    assert_stored_elsewhere(client)


def assert_stored_elsewhere(client: httpx2.Client) -> None:
    """The secrets did arrive: the followers of the runs, who may see content, see them."""
    seen: Any = [ReadBack(client).events_of(row["run_id"]) for row in client.get("/v1/runs").json()]
    for where in ("step", "answer", "message", "delta", "result"):
        assert SECRET + where in str(seen), f"{where} was lost on the way"
