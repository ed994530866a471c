"""A string that is longer than a decoder may read at once costs its own event, never a neighbour, never a lease."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, push_activity, runner_event
from towerlog.dialects.structure import MAX_ESCAPES, MAX_STRING_BYTES

LONG = {"bytes": "x" * (MAX_STRING_BYTES + 1), "escapes": "\n" * (MAX_ESCAPES + 1)}
SAYS = "has a string of more than"


def refused_alone(rejected: list[Json], index: int, field: str = "message") -> None:
    """Exactly this one is refused, and is told why without anything of the server's own."""
    [one] = [entry for entry in rejected if entry.get("status", "refused") == "refused"]
    assert (one.get("index", index), one["code"]) == (index, "too_large")
    assert SAYS in one[field]
    assert "---" not in json.dumps(rejected)


@pytest.mark.parametrize("kind", LONG)
def test_of_a_runners_batch_the_others_are_stored(
    client: httpx2.Client, back: ReadBack, unique: Unique, kind: str
) -> None:
    thread, trace = unique("thread"), unique("trace")
    events = [
        checkpoint(thread, trace, 1, history=[{"role": "user", "content": "fits"}]),
        checkpoint(thread, trace, 2, history=[{"role": "user", "content": [{"text": LONG[kind]}]}]),
        runner_event("budget_warning", thread, trace, note=LONG[kind][:100]),
    ]
    reply = client.post("/v1/runners/events", json={"events": events})
    assert reply.status_code == 200, reply.text
    assert reply.json()["saved"] == 2
    refused_alone(reply.json()["rejected"], 1)
    assert back.state(thread)["step_index"] == 1


def test_several_of_a_batch_and_one_that_is_wrong_anyway(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    events = [
        checkpoint(thread, trace, -1, history=[LONG["bytes"]]),
        checkpoint(thread, trace, 1, history=["\ud83d", "fits"]),
    ]
    reply = client.post("/v1/runners/events", content=json.dumps({"events": events}))
    assert reply.status_code == 200, reply.text
    [one] = reply.json()["rejected"]
    assert (reply.json()["saved"], one["index"], one["code"]) == (1, 0, "validation_failed")
    [warning] = reply.json()["warnings"]
    assert "U+FFFD" in warning["message"], "what is left is repaired as it would be without"


def test_a_single_event_is_refused_by_name(client: httpx2.Client, unique: Unique) -> None:
    thread = unique("thread")
    reply = client.post("/v1/runners/events", json={"events": [checkpoint(thread, "t", 1, history=[LONG["bytes"]])]})
    assert (reply.status_code, reply.json()["saved"]) == (422, 0)
    refused_alone(reply.json()["rejected"], 0)
    step = {"event_type": "step", "sdk_run_id": thread, "payload": {"output": LONG["bytes"]}}
    reply = client.post("/api/ingest", json=step)
    assert (reply.status_code, SAYS in reply.json()["message"]) == (413, True)
    reply = client.post("/v1/threads/t/runs", json={"input": LONG["bytes"]})
    assert (reply.status_code, SAYS in reply.json()["message"]) == (413, True)


def test_of_a_native_batch_and_of_a_push_the_others_are_stored(
    client: httpx2.Client, back: ReadBack, unique: Unique
) -> None:
    run, agent = unique("run"), unique("agent")
    events = [
        {"event_id": f"{run}-{n}", "client_seq": n, "run_key": run, "agent": agent, "type": "step", "data": {"x": text}}
        for n, text in enumerate(("fits", LONG["bytes"], "fits"), 1)
    ]
    reply = client.post("/api/v1/events", json={"client_id": "c", "events": events})
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [one["status"] for one in results] == ["stored", "refused", "stored"]
    refused_alone(results, 1)
    pushed = [{"type": "health_check", "output_summary": text} for text in ("fits", LONG["bytes"])]
    reply = push_activity(client, back.agent_id(agent), pushed)
    assert (reply.status_code, reply.json()["accepted"]) == (200, 1), reply.text
    refused_alone(reply.json()["rejected"], 1)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with others"])
def test_a_workers_report_renews_its_lease(client: httpx2.Client, unique: Unique, alone: bool) -> None:
    agent, worker = unique("agent"), unique("worker")
    client.post(f"/v1/threads/{agent}/runs", json={"agent": agent})
    claim = {"worker_id": worker, "agents": [agent], "lease_seconds": 60}
    held = client.post("/api/agents/runs/claim", json=claim).json()["run"]
    long_one = {"type": "message.delta", "payload": {"content": LONG["bytes"]}}
    others: list[Any] = [] if alone else [{"type": "message.delta", "payload": {"content": "fits"}}]
    report = {"worker_id": worker, "lease_seconds": 600, "events": [*others, long_one]}
    reply = client.post(f"/api/agents/runs/{held['id']}/events", json=report)
    assert reply.status_code == 200, reply.text
    refused_alone(reply.json()["rejected"], len(others))
    assert reply.json()["run"]["lease_expires_at"] > held["lease_expires_at"]
    native = {
        "worker_id": worker,
        "client_id": worker,
        "lease_epoch": held["lease_epoch"],
        "lease_seconds": 1200,
        "events": [{"event_id": "e", "client_seq": 1, "type": "step", "data": {"x": LONG["bytes"]}}],
    }
    again = client.post(f"/api/v1/runs/{held['id']}:report", json=native)
    assert again.status_code == 200, again.text
    refused_alone(again.json()["results"], 0)
    assert again.json()["run"]["lease"]["lease_expires_at"] > reply.json()["run"]["lease_expires_at"]


@pytest.mark.parametrize("member", ["log_line", "phase", "worker_id"])
def test_what_is_in_no_event_costs_the_report(client: httpx2.Client, unique: Unique, member: str) -> None:
    agent, worker = unique("agent"), unique("worker")
    client.post(f"/v1/threads/{agent}/runs", json={"agent": agent})
    held = client.post("/api/agents/runs/claim", json={"worker_id": worker, "agents": [agent]}).json()["run"]
    report = {"worker_id": worker, "events": [], member: LONG["bytes"]}
    reply = client.post(f"/api/agents/runs/{held['id']}/events", json=report)
    assert reply.status_code == (400 if member == "worker_id" else 413), reply.text
    assert "---" not in reply.text
