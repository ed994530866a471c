"""How long a tool call took, over HTTP: told through any dialect, the same to every reader."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.conftest import Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, push_activity, tell
from towerlog.model.times import parse_ms

SPAN = 2000


def moments() -> tuple[str, str]:
    """Two times of a sender's clock that are SPAN milliseconds apart, a minute ago."""
    began = datetime.now(UTC) - timedelta(minutes=1)
    return began.isoformat(), (began + timedelta(milliseconds=SPAN)).isoformat()


def by_steps(back: ReadBack, agent: str, thread: str, ids: Json) -> None:
    for phase, at in zip(("start", "end"), moments(), strict=True):
        payload = {"tool_name": "grep", "phase": phase, **ids}
        tell(back.client, "tool_call", thread, payload, agent_name=agent, occurred_at=at)


def by_activity(back: ReadBack, agent: str, thread: str, ids: Json) -> None:
    agent_id = back.client.post("/api/v1/agents", json={"name": agent}).json()["agent_id"]
    for kind, at in zip(("command_start", "command_complete"), moments(), strict=True):
        event = {"type": kind, "tool": "shell", "timestamp": at, "metadata": {"thread_id": thread, **ids}}
        assert push_activity(back.client, agent_id, event).json() == {"accepted": 1, "rejected": []}


def by_events(back: ReadBack, agent: str, thread: str, ids: Json) -> None:
    events = [
        {"event_id": f"{thread}:{kind}", "run_key": thread, "thread": thread, "agent": agent, "type": kind,
         "time": at, "data": {"tool": "grep", **ids}}
        for kind, at in zip(("tool.call", "tool.result"), moments(), strict=True)
    ]  # fmt: skip
    numbered = [{**event, "client_seq": number} for number, event in enumerate(events, start=1)]
    reply = back.client.post("/api/v1/events", json={"client_id": "c", "events": numbered})
    assert [one["status"] for one in reply.json()["results"]] == ["stored", "stored"]


@pytest.mark.parametrize("ids", [{"tool_call_id": "c-1"}, {}])
@pytest.mark.parametrize("send", [by_steps, by_activity, by_events])
def test_a_call_whose_two_ends_are_told_apart_took_the_time_between(
    back: ReadBack, unique: Unique, send: Callable[[ReadBack, str, str, Json], None], ids: Json
) -> None:
    thread, agent = unique("thread"), unique("agent")
    send(back, agent, thread, ids)
    run_id = back.run(thread)["run_id"]
    in_log = back.client.get(f"/api/v1/runs/{run_id}/events").json()["data"]
    readers: dict[str, list[Any]] = {
        "feed": [event["duration_ms"] for event in back.activity(back.agent_id(agent))],
        "log": [event["duration_ms"] for event in in_log],
        "stream": [event.get("duration_ms") for event in back.events_of(run_id)],
    }
    assert all(took == [None, SPAN] for took in readers.values()), readers


def step_by_steps(back: ReadBack, thread: str) -> None:
    for phase, at in zip(("start", "end"), moments(), strict=True):
        tell(back.client, "step", thread, {"node_name": "plan", "phase": phase}, occurred_at=at)


def step_by_events(back: ReadBack, thread: str) -> None:
    for number, at in enumerate(moments(), start=1):
        data = {"name": "plan", "span_id": "s", "phase": ("start", "end")[number - 1]}
        one = {
            "event_id": str(number),
            "run_key": thread,
            "client_seq": number,
            "type": "step",
            "time": at,
            "data": data,
        }
        reply = back.client.post("/api/v1/events", json={"client_id": "c", "events": [one]})
        assert [one["status"] for one in reply.json()["results"]] == ["stored"]


@pytest.mark.parametrize("send", [step_by_steps, step_by_events])
def test_a_step_whose_two_ends_are_told_apart_took_the_time_between(
    back: ReadBack, unique: Unique, send: Callable[[ReadBack, str], None]
) -> None:
    thread = unique("thread")
    send(back, thread)
    assert [event.get("duration_ms") for event in back.events(thread)] == [None, SPAN]


def test_a_worker_whose_events_have_no_times_is_measured_by_arrival(back: ReadBack, unique: Unique) -> None:
    thread, agent, worker = unique("thread"), unique("agent"), unique("worker")
    run_id = back.client.post(f"/v1/threads/{thread}/runs", json={"agent": agent, "input": "go"}).json()["run_id"]
    claimed = back.client.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": worker})
    assert claimed.status_code == 200, claimed.text
    for kind in ("tool.call", "tool.result"):
        event = {"type": kind, "payload": {"name": "grep"}}
        reply = back.client.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": worker, "events": [event]})
        assert reply.status_code == 200, reply.text
    call, result = [event for event in back.events_of(run_id) if event["type"].startswith("tool.")]
    arrived = [parse_ms(event["created_at"]) for event in (call, result)]
    assert result.get("duration_ms", 0) == arrived[1] - arrived[0]
    assert back.activity(back.agent_id(agent))[-1]["duration_ms"] == result.get("duration_ms")


def test_the_times_of_a_run_that_was_told_late_stand_in_their_order(back: ReadBack, unique: Unique) -> None:
    """By its sender's clock it had ended before it was created here: clients measure between any two of a row."""
    thread = unique("thread")
    began, ended = moments()
    tell(back.client, "run_start", thread, {"task": "count"}, agent_name=unique("agent"), occurred_at=began)
    tell(back.client, "run_end", thread, {"success": True}, occurred_at=ended)
    run_id = back.run(thread)["run_id"]
    [row] = back.client.get("/v1/runs", params={"thread_id": thread}).json()
    [of_thread] = back.client.get(f"/v1/threads/{row['thread_id']}/runs").json()
    whole = back.client.get(f"/v1/runs/{run_id}").json()
    assert parse_ms(row["completed_at"]) - parse_ms(row["created_at"]) == row["duration_ms"] == SPAN
    assert whole["created_at"] == whole["started_at"] == row["created_at"] == of_thread["created_at"]
