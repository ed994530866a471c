"""What senders say in the three telling dialects: a runner's batch, an SDK's event, a container's activity.

Each function sends one request and returns the reply as it is; what must be in it is said by the tests.
"""

from __future__ import annotations

from typing import Any

import httpx2

RUNNER_PATH = "/v1/runners/events"
LOCAL_RUNNER_PATH = "/internal/v1/runners/events"
INGEST_PATH = "/api/ingest"

Json = dict[str, Any]


def runner_event(kind: str, thread: str | None, trace: str | None = None, /, **data: Any) -> Json:
    """One event of a runner's batch; thread and trace are left out when None, `data` is kept as it is."""
    ids = {"thread_id": thread, "trace_id": trace}
    return {"type": kind, "data": {**{name: value for name, value in ids.items() if value is not None}, **data}}


def checkpoint(thread: str, trace: str | None, step: int, /, **data: Any) -> Json:
    """A checkpoint after a turn, with an empty history unless told otherwise."""
    turn = {"agent_id": "researcher", "step_index": step, "status": "in_progress", "history": [], "history_meta": []}
    return runner_event("checkpoint", thread, trace, **{**turn, **data})


def send_batch(client: httpx2.Client, *events: Json, path: str = RUNNER_PATH, **options: Any) -> httpx2.Response:
    """Post a runner's batch."""
    return client.post(path, json={"events": list(events)}, **options)


def save_batch(client: httpx2.Client, *events: Json, path: str = RUNNER_PATH) -> None:
    """Post a runner's batch that must be saved whole."""
    reply = send_batch(client, *events, path=path)
    assert reply.status_code == 200, reply.text
    assert reply.json() == {"saved": len(events)}


def sdk_event(event_type: str, sdk_run_id: str, payload: Json | None = None, /, **fields: Any) -> Json:
    """One SDK event."""
    return {"event_type": event_type, "sdk_run_id": sdk_run_id, "payload": payload or {}, **fields}


def ingest(client: httpx2.Client, event: Any, **options: Any) -> httpx2.Response:
    """Post one SDK event."""
    return client.post(INGEST_PATH, json=event, **options)


def tell(client: httpx2.Client, event_type: str, sdk_run_id: str, payload: Json | None = None, /, **fields: Any) -> int:
    """Post one SDK event that must be stored; its `event_id`."""
    reply = ingest(client, sdk_event(event_type, sdk_run_id, payload, **fields))
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert set(body) == {"status", "event_id"}
    assert body["status"] == "ok"
    assert type(body["event_id"]) is int
    return int(body["event_id"])


def container_event(**fields: Any) -> Json:
    """A finished shell command as a container reports it."""
    whole = {
        "timestamp": "2026-01-02T03:04:05.678Z",
        "type": "command_complete",
        "tool": "shell",
        "input_summary": "ls -la",
        "output_summary": "exit 0, 512 bytes",
        "duration_ms": 12,
        "success": True,
        "metadata": {},
    }
    return {**whole, **fields}


def push_activity(client: httpx2.Client, agent_id: str, body: Any, **options: Any) -> httpx2.Response:
    """Push one event or an array of them for an agent."""
    return client.post(f"/agents/{agent_id}/events", json=body, **options)
