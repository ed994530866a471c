"""What the tests of the clients tell a real server before they ask: runs that somebody has reported or queued."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.support.server import Server


def unique(prefix: str) -> str:
    """An id of this test's own."""
    return f"{prefix}-{uuid4().hex[:10]}"


def told(server: Server, kind: str, run: str, **payload: Any) -> None:
    """One event of a reporting agent, in dialect `steps`."""
    with_key = server.client()
    body = {"event_type": kind, "sdk_run_id": run, "payload": payload}
    done = with_key.post("/api/ingest", json=body)
    assert done.status_code == 200, done.text


def reported(server: Server, steps: int = 1) -> str:
    """A run that was reported from its start to its end; its thread is its name."""
    name = unique("told")
    told(server, "run_start", name)
    for number in range(steps):
        told(server, "step", name, number=number)
    told(server, "run_end", name)
    return name


def run_id_of(server: Server, thread_id: str) -> str:
    """The newest run of a thread."""
    return str(server.client().get(f"/v1/threads/{thread_id}/runs").json()[0]["run_id"])


def checkpoint(server: Server, thread: str, trace: str, status: str = "in_progress", step: int = 0) -> None:
    """A snapshot of a thread, in dialect `checkpoints`."""
    data = {
        "thread_id": thread,
        "trace_id": trace,
        "step_index": step,
        "status": status,
        "history": [{"role": "user", "content": "hello"}],
    }
    if status == "waiting_for_approval":
        data["pending_tool_calls"] = [{"id": "c1", "name": "rm", "arguments": {}}]
    done = server.client().post("/v1/runners/events", json={"events": [{"type": "checkpoint", "data": data}]})
    assert done.status_code == 200, done.text
    assert done.json().get("rejected", []) == [], done.text
