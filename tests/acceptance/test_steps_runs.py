"""What each SDK event does to its run and its agent, as the other dialects see it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.support.readback import ReadBack
from tests.support.senders import ingest, sdk_event, tell

USAGE = {"prompt_tokens": 150, "completion_tokens": 45, "total_tokens": 195, "cost_usd": 0.0023, "model": "gpt-4"}
ANSWER = {"answer": "It is 12°C and cloudy."}


def figures(row: dict[str, Any]) -> tuple[Any, ...]:
    """Input tokens, output tokens, dollars and model of a row."""
    return row["total_input_tokens"], row["total_output_tokens"], row["total_cost_usd"], row["model"]


def test_run_start_creates_the_run_and_registers_the_agent(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    run, agent = unique("run"), unique("agent")
    tell(client, "run_start", run, {"framework": "langgraph", "input": {"query": "weather?"}}, agent_name=agent)
    row = back.run(run)
    assert (row["thread_id"], row["status"]) == (run, "running")
    assert figures(row) == (None, None, None, None)
    assert back.types(run) == ["run.started"]
    assert back.agent_id(agent)
    assert back.runs(agent=agent) == [row]


@pytest.mark.parametrize(
    ("event_type", "shown_as", "status"),
    [
        ("run_start", "run.started", "running"),
        ("step", "step", "running"),
        ("error", "run.failed", "failed"),
        ("run_end", "run.completed", "completed"),
        ("human_input_requested", "run.waiting_for_input", "waiting_for_input"),
    ],
)
def test_an_event_makes_its_run_when_nothing_came_before(
    client: httpx2.Client, back: ReadBack, unique: Unique, event_type: str, shown_as: str, status: str
) -> None:
    run = unique("run")
    tell(client, event_type, run, {"note": "x"})
    assert (back.types(run), back.status(run)) == ([shown_as], status)


def test_a_step_is_shown_as_it_was_sent(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    step = {"node_name": "search_web", "phase": "end", "duration_ms": 890, "output": {"results": ["…", {"b": 1}]}}
    tell(client, "run_start", run)
    tell(client, "step", run, {**step, "unknown": {"kept": True}})
    event = back.events(run)[-1]
    assert (event["type"], event["data"]) == ("step", {**step, "unknown": {"kept": True}})
    assert back.status(run) == "running"


def test_a_tool_call_is_shown_as_call_and_result(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "tool_call", run, {"tool_name": "web_search", "phase": "start", "input_preview": "Zurich weather"})
    finished = {"output_preview": "12°C and cloudy", "duration_ms": 740}
    tell(client, "tool_call", run, {"tool_name": "web_search", "phase": "end", **finished})
    call, result = back.events(run)
    assert (call["type"], result["type"]) == ("tool.call", "tool.result")
    for text in ("web_search", "Zurich weather"):
        assert text in str(call["data"])
    for text in ("web_search", "12°C and cloudy", "740"):
        assert text in str(result["data"])
    assert back.status(run) == "running"


@pytest.mark.parametrize("field", ["input_preview", "output_preview"])
def test_previews_are_cut_to_500_characters(client: httpx2.Client, back: ReadBack, unique: Unique, field: str) -> None:
    run = unique("run")
    tell(client, "tool_call", run, {"tool_name": "t", "phase": "end", field: "é" * 500})
    tell(client, "tool_call", run, {"tool_name": "t", "phase": "end", field: "ü" * 501})
    tell(client, "tool_call", run, {"tool_name": "t", "phase": "end", field: "ö" * 40_000})
    shown = str(back.events(run))
    assert "é" * 500 in shown
    for letter in "üö":
        assert letter * 490 in shown
        assert letter * 501 not in shown


def test_an_error_fails_the_run_and_is_shown(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    error = {
        "error_type": "ValueError",
        "error_message": "API rate limit exceeded",
        "traceback": "Traceback (most recent call last):\n ...",
    }
    tell(client, "run_start", run)
    tell(client, "error", run, error)
    row = back.run(run)
    assert row["status"] == "failed"
    assert row["failed_at"] is not None
    assert row["completed_at"] is None
    event = back.events(run)[-1]
    assert event["type"] == "run.failed"
    for text in ("ValueError", "API rate limit exceeded", "Traceback"):
        assert text in str(event["data"])


def test_run_end_completes_the_run_with_its_figures(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "run_start", run)
    tell(client, "run_end", run, {"output": ANSWER, **USAGE})
    row = back.run(run)
    assert row["status"] == "completed"
    assert figures(row) == (150, 45, 0.0023, "gpt-4")
    assert row["completed_at"] is not None
    assert row["failed_at"] is None
    event = back.events(run)[-1]
    assert event["type"] == "run.completed"
    assert "It is 12°C and cloudy." in str(event["data"])
    assert back.runs(thread_id=run, status="completed", model="gpt-4") == [row]


def test_cost_is_exact_to_the_nano_dollar(client: httpx2.Client, unique: Unique) -> None:
    run = unique("run")
    tell(client, "run_end", run, {"cost_usd": 12345.678901234})
    reply = client.get("/v1/runs", params={"thread_id": run})
    assert '"total_cost_usd":12345.678901234' in reply.text.replace(" ", "")


def test_a_figure_that_was_not_told_is_unknown(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "run_end", run, {"prompt_tokens": 0, "cost_usd": None})
    assert figures(back.run(run)) == (0, None, None, None)


def test_a_question_waits_and_its_answer_goes_on(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "run_start", run)
    tell(client, "human_input_requested", run, {"question": "Publish?", "context": {"draft": 3}, "channel": "slack"})
    assert back.status(run) == "waiting_for_input"
    assert back.runs(thread_id=run, status="waiting_for_input") != []
    tell(client, "human_input_received", run, {"response": "yes, do", "responded_by": "alice"})
    assert back.status(run) == "running"
    _, question, answer = back.events(run)
    assert (question["type"], answer["type"]) == ("run.waiting_for_input", "run.input")
    assert "Publish?" in str(question["data"])
    assert "yes, do" in str(answer["data"])


def test_a_sender_that_was_restarted_asks_the_same_question(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    """One question, whichever of the two is answered; after that the same words are a new one."""
    run, asks = unique("run"), {"question": "Publish?", "context": {"draft": 3}}

    def open_questions() -> list[int]:
        found = client.get(f"/api/v1/runs/{back.run(run)['run_id']}").json()
        return [one["question_id"] for one in found["questions"]]

    tell(client, "run_start", run)
    tell(client, "human_input_requested", run, asks)
    tell(client, "run_start", run)
    tell(client, "human_input_requested", run, asks)
    assert open_questions() == [2]
    tell(client, "human_input_requested", run, {**asks, "context": {"draft": 4}})
    assert open_questions() == [2, 4], "other words are another question"
    for response in ("yes", "no"):
        tell(client, "human_input_received", run, {"response": response})
    assert (open_questions(), back.status(run)) == ([], "running")
    tell(client, "human_input_requested", run, asks)
    assert open_questions() == [7]


def test_an_answer_waits_for_a_sender_that_was_restarted(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "human_input_requested", run, {"question": "Publish?"})
    client.post(f"/v1/runs/{back.run(run)['run_id']}/input", json={"content": "yes"})
    reply = ingest(client, sdk_event("human_input_requested", run, {"question": "Publish?"})).json()
    assert ([one["content"] for one in reply["commands"]], back.status(run)) == (["yes"], "running")


def test_an_answer_by_http_reaches_the_run(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "human_input_requested", run, {"question": "Publish?"})
    reply = client.post(f"/v1/runs/{back.run(run)['run_id']}/input", json={"content": "yes"})
    assert (reply.status_code, reply.json()) == (200, {"ok": True})
    assert (back.status(run), back.types(run)) == ("running", ["run.waiting_for_input", "run.input"])


def test_a_run_end_after_an_error_is_late(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "error", run, {"error_type": "E", "error_message": "m"})
    before = back.run(run)
    tell(client, "run_end", run, {"output": ANSWER, **USAGE})
    late = back.run(run)
    assert [late[name] for name in ("status", "failed_at", "completed_at", "duration_ms")] == [
        before[name] for name in ("status", "failed_at", "completed_at", "duration_ms")
    ]
    assert figures(late) == (150, 45, 0.0023, "gpt-4"), "what a failed run has spent still counts"
    assert back.types(run) == ["run.failed", "run.completed"]


def test_a_recovered_run_end_after_an_error_counts(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "error", run, {"error_type": "E", "error_message": "m"})
    tell(client, "run_end", run, {"output": ANSWER, **USAGE, "recovered": True})
    assert back.status(run) == "completed"
    assert figures(back.run(run)) == (150, 45, 0.0023, "gpt-4")


@pytest.mark.parametrize("value", [False, "true", 1, None], ids=repr)
def test_only_true_recovers(client: httpx2.Client, back: ReadBack, unique: Unique, value: Any) -> None:
    run = unique("run")
    tell(client, "error", run, {"error_type": "E", "error_message": "m"})
    reply = client.post("/api/ingest", json=sdk_event("run_end", run, {"recovered": value}))
    assert reply.status_code in (200, 422)
    assert back.status(run) == "failed"


@pytest.mark.parametrize("late", ["step", "error", "human_input_requested", "human_input_received", "run_start"])
def test_what_comes_after_the_end_is_kept_and_changes_nothing(
    client: httpx2.Client, back: ReadBack, unique: Unique, late: str
) -> None:
    run = unique("run")
    tell(client, "run_end", run, USAGE)
    before = back.run(run)
    reply = client.post("/api/ingest", json=sdk_event(late, run, {"note": "late"}))
    assert reply.status_code == 200
    # Who asks what nobody can answer any more is told that.
    asks = late == "human_input_requested"
    assert [one["type"] for one in reply.json().get("commands", [])] == (["cancel"] if asks else [])
    assert back.run(run) == before
    assert len(back.events(run)) == 2


def test_a_late_start_fills_in_the_agent(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    tell(client, "step", run, {"node_name": "early"})
    tell(client, "run_start", run, {"framework": "langgraph", "input": {"q": 1}}, agent_name=agent)
    assert back.types(run) == ["step", "run.started"]
    assert [row["thread_id"] for row in back.runs(agent=agent)] == [run]


def test_an_event_without_an_agent_has_that_of_its_run(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run, agent = unique("run"), unique("agent")
    tell(client, "run_start", run, agent_name=agent)
    tell(client, "tool_call", run, {"tool_name": "web_search", "phase": "start"})
    assert [row["thread_id"] for row in back.runs(agent=agent)] == [run]
    assert [event["type"] for event in back.activity(back.agent_id(agent))] == ["command_start"]


def test_without_any_agent_it_is_the_default_one(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    run = unique("run")
    tell(client, "step", run)
    assert [row["thread_id"] for row in back.runs(agent="default", thread_id=run)] == [run]
    assert back.agent_id("default")


def test_an_agent_is_registered_once(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    agent = unique("agent")
    for _ in range(3):
        tell(client, "run_start", unique("run"), agent_name=agent)
    assert back.agent_id(agent)
    assert len(back.runs(agent=agent)) == 3


@pytest.mark.parametrize("field", ["thread_id", "session_id"])
def test_the_payload_may_name_the_thread(client: httpx2.Client, back: ReadBack, unique: Unique, field: str) -> None:
    run, thread = unique("run"), unique("thread")
    tell(client, "run_start", run, {field: thread})
    tell(client, "step", run)
    assert back.types(thread) == ["run.started", "step"]
    assert back.runs(thread_id=run) == []


def test_runs_are_kept_apart(client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    one, two = unique("run"), unique("run")
    for run in (one, two):
        tell(client, "run_start", run)
    tell(client, "error", one, {"error_message": "x"})
    tell(client, "step", two)
    assert (back.status(one), back.status(two)) == ("failed", "running")
    assert (back.types(one), back.types(two)) == (["run.started", "run.failed"], ["run.started", "step"])
