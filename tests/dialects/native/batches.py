"""A client's batches for tests: events with ids and numbers of their own, and what became of them."""

from __future__ import annotations

from typing import Any

from tests.asgi.conversation import Answer

EVENTS = "/api/v1/events"


def told(number: int, kind: str = "step", data: Any = None, **more: Any) -> dict[str, Any]:
    """One event of run `k`, with its number and an id of its own."""
    payload = {"name": "n"} if data is None and kind == "step" else data or {}
    event = {"event_id": f"e{number}", "client_seq": number, "run_key": "k", "type": kind, "data": payload, **more}
    return {name: value for name, value in event.items() if value is not ...}


def reported(number: int, kind: str = "step", data: Any = None, **more: Any) -> dict[str, Any]:
    """The same for a report, which names no run."""
    return told(number, kind, data, run_key=..., **more)


async def send(say: Any, *events: Any, client: str = "c", **more: Any) -> Any:
    """Sends a batch that must be taken; the reply's body."""
    reply = await say("POST", EVENTS, value={"client_id": client, "events": list(events), **more})
    assert reply.status == 200, reply.body
    return reply.json


async def run_of(say: Any, key: str = "k") -> Any:
    """The run of a key, as the native API shows it."""
    (row,) = (await say("GET", f"/api/v1/runs?q=sdk:{key}")).json["data"]
    return (await say("GET", f"/api/v1/runs/{row['run_id']}")).json


async def events_of(say: Any, key: str = "k") -> Any:
    """The log of a key's run."""
    run_id = (await run_of(say, key))["run_id"]
    return (await say("GET", f"/api/v1/runs/{run_id}/events")).json["data"]


async def held(say: Any, thread: str = "t", worker: str = "w") -> str:
    """A run that a worker holds; its id."""
    run_id = str((await say("POST", f"/v1/threads/{thread}/runs")).json["run_id"])
    claimed = await say("POST", f"/api/agents/runs/{run_id}/claim", value={"worker_id": worker, "lease_seconds": 60})
    assert claimed.status == 200, claimed.body
    return run_id


async def report(say: Any, run_id: str, *events: Any, worker: str = "w", **more: Any) -> Answer:
    """Sends a report."""
    value = {"worker_id": worker, "lease_epoch": 1, "client_id": "c", "events": list(events), **more}
    answer: Answer = await say("POST", f"/api/v1/runs/{run_id}:report", value=value)
    return answer


def fates(body: Any) -> list[Any]:
    """What became of each event: its status, and of a refused one the field too."""
    return [one["status"] if "field" not in one else (one["status"], one["field"]) for one in body["results"]]
