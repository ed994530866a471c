"""What applications and workers do in the `runs` and `lanes` dialects, each call asserting its success.

Also the few ways to feed a run through the other dialects that several tests here share. A test that is about a
refusal sends its request itself.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Any
from urllib.parse import quote

import httpx2

from tests.support.senders import container_event as plain_container_event
from tests.support.senders import ingest, push_activity, runner_event, sdk_event
from tests.support.server import ADMIN_KEY, Server
from tests.support.sse import EventStream, Frame, parse_frames

FULL_ROW = {
    "run_id", "org_id", "thread_id", "status", "model", "persona_id", "total_input_tokens", "total_output_tokens",
    "total_cost_usd", "duration_ms", "cache_hit_rate", "credits_used", "created_at", "completed_at", "failed_at",
    "created_by_user_id", "created_by_user_name", "created_by_email", "unpriced_calls",
}  # fmt: skip
TERMINAL_TYPES = {"run.completed", "run.failed", "run.cancelled"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Json = dict[str, Any]

WHOLE_LOG_S = 60.0
"""How long the reading of a whole log may take."""


def ok(reply: httpx2.Response, status: int = 200) -> Any:
    """The reply's JSON, after its status was looked at."""
    assert reply.status_code == status, f"{reply.request.method} {reply.request.url}: {reply.status_code} {reply.text}"
    return reply.json()


def create_run(client: httpx2.Client, thread_id: str, **body: Any) -> Json:
    """`runs`: a queued run; the reply, `run_id` and `trace_id`."""
    path = f"/v1/threads/{quote(thread_id, safe='')}/runs"
    created: Json = ok(client.post(path, json=body) if body else client.post(path), 201)
    return created


def detail(client: httpx2.Client, run_id: str) -> Json:
    """`runs`: one run."""
    found: Json = ok(client.get(f"/v1/runs/{run_id}"))
    return found


def log_of(client: httpx2.Client, run_id: str, after_seq: int = 0) -> list[Json]:
    """`runs`: the events there are after a seq, read from the stream that does not follow."""
    query = {"follow": "false", "after_seq": after_seq}
    ends_at, body = time.monotonic() + WHOLE_LOG_S, bytearray()
    with client.stream("GET", f"/v1/runs/{run_id}/events", params=query) as reply:
        for piece in reply.iter_bytes():
            assert time.monotonic() < ends_at, "a stream that does not follow has no end"
            body += piece
    if reply.status_code == 204:
        return []
    assert reply.status_code == 200, body
    return [frame.json for frame in parse_frames(bytes(body)) if frame.data is not None and frame.event != "end"]


def rest_of(stream: EventStream) -> list[Frame]:
    """All further events up to the end of the stream, which has to come; the control frame of the end is none."""
    ends_at, frames = time.monotonic() + WHOLE_LOG_S, []
    for frame in stream.rest():
        assert time.monotonic() < ends_at, "the stream does not end"
        if frame.data is not None and frame.event != "end":
            frames.append(frame)
    return frames


def types_of(client: httpx2.Client, run_id: str) -> list[str]:
    """`runs`: the types of a run's events in order."""
    return [event["type"] for event in log_of(client, run_id)]


def cancel(client: httpx2.Client, run_id: str) -> None:
    """`runs`: asks for the run's end."""
    assert ok(client.post(f"/v1/runs/{run_id}:cancel")) == {"ok": True}


def claim(client: httpx2.Client, run_id: str, worker_id: str, lease_seconds: int = 300) -> Json:
    """`lanes`: one worker takes one run; the reply."""
    body = {"worker_id": worker_id, "lease_seconds": lease_seconds}
    claimed: Json = ok(client.post(f"/api/agents/runs/{run_id}/claim", json=body))
    return claimed


def report(client: httpx2.Client, run_id: str, worker_id: str, *events: Json, **fields: Any) -> Json:
    """`lanes`: the holder's report; the run in the reply."""
    body: Json = {"worker_id": worker_id, **fields}
    if events:
        body["events"] = list(events)
    reply = ok(client.post(f"/api/agents/runs/{run_id}/events", json=body))
    assert reply["ok"] is True
    run: Json = reply["run"]
    return run


def held_run(client: httpx2.Client, thread_id: str, worker_id: str, lease_seconds: int = 300, **body: Any) -> str:
    """`runs` and `lanes`: the id of a new run that the worker holds."""
    run_id: str = create_run(client, thread_id, **body)["run_id"]
    claim(client, run_id, worker_id, lease_seconds)
    return run_id


def complete(client: httpx2.Client, run_id: str, worker_id: str, result: Any = None) -> None:
    """`lanes`: the holder ends the run well."""
    ok(client.post(f"/api/agents/runs/{run_id}/complete", json={"worker_id": worker_id, "result": result}))


def fail(client: httpx2.Client, run_id: str, worker_id: str, error: str) -> None:
    """`lanes`: the holder ends the run with an error."""
    ok(client.post(f"/api/agents/runs/{run_id}/fail", json={"worker_id": worker_id, "error": error}))


def step(client: httpx2.Client, sdk_run_id: str, event_type: str, payload: Json | None = None, **fields: Any) -> Json:
    """`steps`: one event; the reply, with whatever commands it brought."""
    answered: Json = ok(ingest(client, sdk_event(event_type, sdk_run_id, payload, **fields)))
    assert answered["status"] == "ok"
    return answered


def started(thread_id: str, trace_id: str, **data: Any) -> Json:
    """`checkpoints`: a `thread_started` event."""
    return runner_event("thread_started", thread_id, trace_id, **{"agent_id": "researcher", **data})


def snapshot(thread_id: str, trace_id: str | None, step_index: int, history: list[Json], **data: Any) -> Json:
    """`checkpoints`: a `checkpoint` event as the seed writes it, with one meta entry for each message."""
    assistant = {"tokens_in": 310, "tokens_out": 110}
    meta = [{"ts": "2025-03-14T09:00:01.123Z", **(assistant if m["role"] == "assistant" else {})} for m in history]
    whole: Json = {
        "parent_trace_id": None,
        "agent_id": "researcher",
        "step_index": step_index,
        "status": "in_progress",
        "history": history,
        "history_meta": meta,
        "turn_start_history_len": 0,
        "pending_tool_calls": [],
    }
    return runner_event("checkpoint", thread_id, trace_id, **{**whole, **data})


def ended(thread_id: str, event_type: str = "thread_completed", **data: Any) -> Json:
    """`checkpoints`: a terminal event, which names no trace in the seed."""
    return runner_event(event_type, thread_id, **data)


def activity_of(client: httpx2.Client, agent_id: str, **params: Any) -> list[Json]:
    """`activity`: the newest events of an agent, oldest first."""
    listed: list[Json] = ok(client.get(f"/agents/{agent_id}/events", params=params))
    return listed


def container_event(**fields: Any) -> Json:
    """`activity`: a finished shell command with an id of its own."""
    return plain_container_event(**{"id": str(uuid.uuid4()), **fields})


def push(client: httpx2.Client, agent_id: str, *events: Json) -> None:
    """`activity`: container events pushed for an agent, all of them good."""
    reply = ok(push_activity(client, agent_id, list(events)))
    assert reply["accepted"] == len(events), reply
    assert not reply.get("rejected"), reply


def watch(server: Server, path: str, key: str = ADMIN_KEY, **headers: str) -> EventStream:
    """Opens an event stream; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return EventStream(server.base_url + path, {"Authorization": f"Bearer {key}", **named})


def run_stream(server: Server, run_id: str, key: str = ADMIN_KEY, **query: object) -> EventStream:
    """`runs`: a live stream of a run's events."""
    pairs = "&".join(f"{name}={value}" for name, value in query.items())
    return watch(server, f"/v1/runs/{run_id}/events" + (f"?{pairs}" if pairs else ""), key)


def newest_run_of(client: httpx2.Client, thread_id: str) -> str:
    """The newest run of a thread."""
    rows = ok(client.get(f"/v1/threads/{quote(thread_id, safe='')}/runs", params={"limit": 1}))
    assert rows, f"thread {thread_id} has no run"
    return str(rows[0]["run_id"])


def checkpoint_ids(client: httpx2.Client, run_id: str) -> list[str]:
    """The native API's ids of a run's checkpoints."""
    return [str(row["checkpoint_id"]) for row in ok(client.get(f"/api/v1/runs/{run_id}/checkpoints"))["data"]]
