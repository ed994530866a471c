"""What the native API has to show: a little of everything, through the dialects that send it."""

from __future__ import annotations

from typing import Any

STEP = "step"


async def tell(say: Any, run: str, kind: str = STEP, payload: Any = None, **more: Any) -> None:
    """One event of an SDK."""
    event = {"event_type": kind, "sdk_run_id": run, "payload": payload or {}, **more}
    reply = await say("POST", "/api/ingest", value=event)
    assert reply.status == 200, reply.body


async def checkpoint(say: Any, thread: str, step: int, history: list[Any], **more: Any) -> None:
    """One checkpoint of a runner."""
    data = {
        "thread_id": thread, "trace_id": "tr", "agent_id": "writer", "step_index": step, "status": "in_progress",
        "history": history, "history_meta": [{"ts": "2026-01-01T00:00:00Z"} for _ in history], **more,
    }  # fmt: skip
    reply = await say("POST", "/v1/runners/events", value={"events": [{"type": "checkpoint", "data": data}]})
    assert reply.json == {"saved": 1}, reply.body


async def newest_run(say: Any, thread: str) -> str:
    """The id of a thread's newest run."""
    return str((await say("GET", f"/v1/threads/{thread}/runs")).json[0]["run_id"])


async def pages_of(say: Any, path: str, **query: Any) -> list[list[Any]]:
    """All pages of a list, each as its rows."""
    found: list[list[Any]] = []
    cursor = ""
    while True:
        asked = "&".join(f"{name}={value}" for name, value in {**query, "cursor": cursor}.items() if value != "")
        reply = await say("GET", f"{path}?{asked}")
        assert reply.status == 200, reply.body
        found.append(reply.json["data"])
        cursor = reply.json["next"]
        if cursor is None:
            return found
