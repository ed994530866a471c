"""What is too much for a decoder costs its own event, never a neighbour, never a lease: a string too long, too many
parts, too deep, too broken."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.support.readback import ReadBack
from tests.support.samples import first, pairs
from tests.support.senders import Json, checkpoint, runner_event
from towerlog.dialects.repair import MAX_SUSPECTS
from towerlog.dialects.structure import MAX_ESCAPES, MAX_PARTS, MAX_STRING_BYTES

JSON = {"Content-Type": "application/json"}

LONG = {"bytes": "x" * (MAX_STRING_BYTES + 1), "escapes": "\n" * (MAX_ESCAPES + 1)}
SAYS = "has a string of more than"
PARTS = MAX_PARTS // 4
DEEP = 5000
TOO_MUCH: dict[str, tuple[str, str]] = {
    "bytes": (json.dumps(LONG["bytes"]), SAYS),
    "escapes": (json.dumps(LONG["escapes"]), SAYS),
    "numbers": ("[" + "0," * (MAX_PARTS + 1) + "0]", "is made of more than"),
    "members": ("{" + ",".join(['"":0'] * (MAX_PARTS + 1)) + "}", "is made of more than"),
    "arrays": ("[" + "[]," * MAX_PARTS + "0]", "is made of more than"),
    "depth": ("[" * DEEP + "]" * DEEP, "is nested deeper than 128 levels"),
    "halves of surrogates": ('"' + "\\ud800x" * (MAX_SUSPECTS + 1000) + '"', "has too much in it that is no JSON"),
    "no numbers": ("[" + "NaN," * (MAX_SUSPECTS + 1000) + "NaN]", "has too much in it that is no JSON"),
}
"""JSON texts that no decoder may be given, and what is said of them."""
WITHIN: dict[str, str] = {
    "parts": "[" + "0," * (2 * PARTS) + "0]",
    "words": "[" + "NaN," * (MAX_SUSPECTS // 2 + 1000) + "0]",
}
"""Texts of which a body has several that together are more than what one may have."""


def body_with(events: list[Any], text: str, **around: Any) -> bytes:
    """A batch of events, with the text in the place of each `HERE`."""
    return json.dumps({**around, "events": events}).replace('"HERE"', text).encode()


def refused_alone(rejected: list[Json], index: int, says: str = SAYS) -> None:
    """Exactly this one is refused, and is told why without anything of the server's own."""
    [one] = [entry for entry in rejected if entry.get("status", "refused") == "refused"]
    assert (one.get("index", index), one["code"]) == (index, "too_large")
    assert says in one["message"]


def runner_batch(client: httpx2.Client, back: ReadBack, unique: Unique, text: str, says: str) -> None:
    thread = unique("thread")
    events = [
        checkpoint(thread, "x", 1, history=[{"role": "user", "content": "fits"}]),
        checkpoint(thread, "x", 2, history=[{"role": "user", "content": [{"text": "HERE"}]}]),
        runner_event("budget_warning", thread, "x", note="fits"),
    ]
    reply = client.post("/v1/runners/events", content=body_with(events, text), headers=JSON)
    assert (reply.status_code, reply.json().get("saved")) == (200, 2), reply.text
    refused_alone(reply.json()["rejected"], 1, says)
    assert back.state(thread)["step_index"] == 1


def native_batch(client: httpx2.Client, back: ReadBack, unique: Unique, text: str, says: str) -> None:
    run = unique("run")
    told = [
        {"event_id": f"{run}-{n}", "client_seq": n, "run_key": run, "type": "step", "data": {"x": one}}
        for n, one in enumerate(("fits", "HERE", "fits"), 1)
    ]
    reply = client.post("/api/v1/events", content=body_with(told, text, client_id="c"), headers=JSON)
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [one["status"] for one in results] == ["stored", "refused", "stored"]
    assert [one["event_id"] for one in results] == [one["event_id"] for one in told]
    refused_alone(results, 1, says)


PUSHED = [{"type": "health_check", "output_summary": "fits"}, {"type": "health_check", "metadata": {"x": "HERE"}}]


def pushed(client: httpx2.Client, back: ReadBack, unique: Unique, text: str, kind: str) -> Json:
    """The reply to both events, as a list or as lines."""
    agent = unique("agent")
    client.post("/api/v1/agents", json={"name": agent}).raise_for_status()
    lines = [json.dumps(one).replace('"HERE"', text) for one in PUSHED]
    body = "\n".join(lines) if kind == "application/x-ndjson" else f"[{','.join(lines)}]"
    path = f"/agents/{back.agent_id(agent)}/events"
    reply = client.post(path, content=body.encode(), headers={"Content-Type": kind})
    assert (reply.status_code, reply.json().get("accepted")) == (200, 1), reply.text
    answered: Json = reply.json()
    return answered


def pushed_list(client: httpx2.Client, back: ReadBack, unique: Unique, text: str, says: str) -> None:
    refused_alone(pushed(client, back, unique, text, "application/json")["rejected"], 1, says)


def pushed_lines(client: httpx2.Client, back: ReadBack, unique: Unique, text: str, says: str) -> None:
    rejected = pushed(client, back, unique, text, "application/x-ndjson")["rejected"]
    assert [one["index"] for one in rejected] == [1], "a line that is no JSON costs itself anyway"


BATCHES = {
    "of a runner": runner_batch,
    "of the native API": native_batch,
    "in a list": pushed_list,
    "in lines": pushed_lines,
}


@pytest.mark.parametrize(("batch", "kind"), pairs(BATCHES, TOO_MUCH))
def test_of_every_batch_the_others_are_stored(
    client: httpx2.Client, back: ReadBack, unique: Unique, batch: str, kind: str
) -> None:
    BATCHES[batch](client, back, unique, *TOO_MUCH[kind])


@pytest.mark.parametrize("text", first(WITHIN))
def test_events_that_are_too_much_only_together_are_all_stored(
    client: httpx2.Client, unique: Unique, text: str
) -> None:
    run = unique("run")
    events = [
        {"event_id": f"{run}-{n}", "client_seq": n, "run_key": run, "type": "step", "data": {"name": str(n), "x": one}}
        for n, one in enumerate(("HERE", "fits", "HERE", "HERE", "fits"), 1)
    ]
    body = body_with([*events, {"type": "step"}], WITHIN[text], client_id=run, runs=[run])
    reply = client.post("/api/v1/events", content=body, headers=JSON)
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [one["status"] for one in results] == ["stored"] * 5 + ["refused"]
    assert [one["event_id"] for one in results] == [*(one["event_id"] for one in events), None]
    assert [one["seq"] for one in results[:5]] == [1, 2, 3, 4, 5], "in their order"
    warned = {one.get("index") for one in reply.json().get("warnings", [])}
    assert warned <= ({0, 2, 3, None} if text == "words" else set())
    again = client.post("/api/v1/events", content=body, headers=JSON).json()["results"]
    assert [one["status"] for one in again] == ["duplicate"] * 5 + ["refused"]


def test_several_of_a_batch_and_one_that_is_wrong_anyway(client: httpx2.Client, unique: Unique) -> None:
    thread, trace = unique("thread"), unique("trace")
    events = [
        checkpoint(thread, trace, -1, history=[LONG["bytes"]]),
        checkpoint(thread, trace, 1, history=["\ud83d", "fits"]),
    ]
    reply = client.post("/v1/runners/events", content=json.dumps({"events": events}))
    assert reply.status_code == 200, reply.text
    [one] = reply.json()["rejected"]
    assert (reply.json()["saved"], one["index"], one["code"]) == (1, 0, "too_large")
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


@pytest.mark.parametrize(("place", "kind"), pairs(["alone", "with others"], TOO_MUCH))
def test_a_workers_report_renews_its_lease(client: httpx2.Client, unique: Unique, place: str, kind: str) -> None:
    text, says = TOO_MUCH[kind]
    agent, worker = unique("agent"), unique("worker")
    client.post(f"/v1/threads/{agent}/runs", json={"agent": agent})
    claim = {"worker_id": worker, "agents": [agent], "lease_seconds": 60}
    held = client.post("/api/agents/runs/claim", json=claim).json()["run"]
    others: list[Any] = [] if place == "alone" else [{"type": "message.delta", "payload": {"content": "fits"}}]
    events = [*others, {"type": "message.delta", "payload": {"content": "HERE"}}]
    report = body_with(events, text, worker_id=worker, lease_seconds=600)
    reply = client.post(f"/api/agents/runs/{held['id']}/events", content=report, headers=JSON)
    assert reply.status_code == 200, reply.text
    refused_alone(reply.json()["rejected"], len(others), says)
    assert reply.json()["run"]["lease_expires_at"] > held["lease_expires_at"]
    native = body_with(
        [{"event_id": "e", "client_seq": 1, "type": "step", "data": {"x": "HERE"}}],
        text,
        worker_id=worker,
        client_id=worker,
        lease_epoch=held["lease_epoch"],
        lease_seconds=1200,
    )
    again = client.post(f"/api/v1/runs/{held['id']}:report", content=native, headers=JSON)
    assert again.status_code == 200, again.text
    refused_alone(again.json()["results"], 0, says)
    assert again.json()["run"]["lease"]["lease_expires_at"] > reply.json()["run"]["lease_expires_at"]


@pytest.mark.parametrize(("member", "kind"), pairs(["log_line", "phase", "unknown", "worker_id"], TOO_MUCH))
def test_what_is_beside_the_events_is_left_out_and_the_lease_is_kept(
    client: httpx2.Client, unique: Unique, member: str, kind: str
) -> None:
    text, says = TOO_MUCH[kind]
    agent, worker = unique("agent"), unique("worker")
    client.post(f"/v1/threads/{agent}/runs", json={"agent": agent})
    claim = {"worker_id": worker, "agents": [agent], "lease_seconds": 60}
    held = client.post("/api/agents/runs/claim", json=claim).json()["run"]
    report = {"worker_id": worker, "lease_seconds": 600, member: "HERE"}
    content = json.dumps(report).replace('"HERE"', text).encode()
    reply = client.post(f"/api/agents/runs/{held['id']}/events", content=content, headers=JSON)
    if member == "worker_id":  # which says who it is
        assert (reply.status_code, "worker_id" in reply.text) == (400, True), reply.text
        return
    assert reply.status_code == 200, reply.text
    assert reply.json()["run"]["lease_expires_at"] > held["lease_expires_at"]
    [warning] = reply.json()["warnings"]
    assert (warning["field"], says in warning["message"]) == (member, True)


PATHS = ["/api/ingest", "/api/v1/events", "/v1/runners/events", "/api/agents/runs/claim"]


@pytest.mark.parametrize(("path", "kind"), pairs(PATHS, TOO_MUCH))
def test_where_no_events_are_the_body_is_refused(client: httpx2.Client, path: str, kind: str) -> None:
    text, _ = TOO_MUCH[kind]
    for body in (f'{{"x": {text}', text, f'{{"events": {text}}}', f'{{"event_type": "step", "payload": {text}}}'):
        reply = client.post(path, content=body.encode(), headers=JSON)
        assert reply.status_code in (400, 413, 422), reply.text
        assert len(reply.text) < 2000
