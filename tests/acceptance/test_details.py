"""A detail that cannot be used, or a body that has to be repaired, costs nothing: stored, named, counted, read back."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Unique
from tests.acceptance.feeds import create_run, detail, held_run, log_of, ok

HALF = "cut in an emoji \ud83d"
WHOLE = "cut in an emoji \ufffd"
LONG_ID = "call_" + "x+/" * 1500


def post(client: httpx2.Client, path: str, body: Any) -> Any:
    """The reply to a body as Python writes it, with half a character and NaN as they are."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ok(client.post(path, content=text, headers={"content-type": "application/json"}))


def named(reply: Any) -> list[tuple[int | None, str]]:
    """Index and field of each warning."""
    assert all(warning["message"].startswith(warning["field"]) for warning in reply["warnings"])
    return [(warning.get("index"), warning["field"]) for warning in reply["warnings"]]


def stored(client: httpx2.Client, thread_id: str) -> list[Any]:
    """The events of the thread's newest run, read by a strict reader as a list and as a stream."""
    run_id = ok(client.get("/v1/runs", params={"thread_id": thread_id}))[0]["run_id"]
    reply = client.get(f"/api/v1/runs/{run_id}/events")
    reply.content.decode("utf-8").encode("utf-8")
    events = json.loads(reply.content, parse_constant=pytest.fail)["data"]
    assert "\\ud83d" not in reply.text.lower()
    assert [event["seq"] for event in log_of(client, run_id)] == [event["seq"] for event in events]
    return list(events)


def test_steps(client: httpx2.Client, unique: Unique) -> None:
    run = unique("run")
    payload = {"tool_name": "t", "phase": "error", "output_preview": HALF, "duration_ms": -1, "tool_call_id": LONG_ID}
    reply = post(client, "/api/ingest", {"event_type": "tool_call", "sdk_run_id": run, "payload": payload})
    assert named(reply) == [(None, f"payload.{name}") for name in ("output_preview", "phase", "duration_ms")]
    failed = {"error_type": "X", "traceback": ["l1"], "score": float("nan")}
    body = {"event_type": "error", "sdk_run_id": run, "occurred_at": "0001-01-01T00:00:00Z", "payload": failed}
    assert named(post(client, "/api/ingest", body)) == [
        (None, "payload.score"),
        (None, "payload.traceback"),
        (None, "occurred_at"),
    ]
    tool, error = stored(client, run)
    assert tool["data"] == {**payload, "output_preview": WHOLE}
    assert error["data"] == {
        "towerlog_invalid": {"occurred_at": "0001-01-01T00:00:00Z"},
        **failed,
        "score": None,
    }
    assert ok(client.get("/v1/runs", params={"thread_id": run}))[0]["status"] == "failed"


def test_a_good_body_has_no_warnings_and_a_repeat_is_one(client: httpx2.Client, unique: Unique) -> None:
    run = unique("run")
    body = {"event_type": "step", "sdk_run_id": run, "event_id": "e", "payload": {"node_name": HALF}}
    first, again = post(client, "/api/ingest", body), post(client, "/api/ingest", body)
    assert first == again
    assert "warnings" not in post(client, "/api/ingest", {**body, "payload": {"node_name": WHOLE}})
    assert len(stored(client, run)) == 1


def test_a_refusal_has_the_form_of_one(client: httpx2.Client, unique: Unique) -> None:
    body = {"event_type": "step", "sdk_run_id": unique("run"), "event_id": "e", "payload": {"duration_ms": -1}}
    post(client, "/api/ingest", body)
    reply = client.post("/api/ingest", json={**body, "payload": {"duration_ms": -2}})
    assert (reply.status_code, set(reply.json())) == (409, {"message"})


def test_checkpoints(client: httpx2.Client, unique: Unique) -> None:
    thread = unique("thread")
    ids = {"thread_id": thread, "trace_id": "t"}
    turn = {**ids, "step_index": 1, "history": [{"role": "tool", "content": HALF, "score": float("inf")}], "model": 7}
    events = [
        {"type": "thread_started", "data": ids},
        {"type": "checkpoint", "data": turn},
        {"type": "note", "data": ids},
    ]
    reply = post(client, "/v1/runners/events", {"events": events})
    assert reply["saved"] == 3
    assert named(reply) == [(1, "data.history.0.content"), (1, "data.history.0.score"), (1, "data.model")]
    latest = ok(client.get(f"/v1/runners/threads/{thread}/latest"))
    assert latest["history"] == [{"role": "tool", "content": WHOLE, "score": None}]


def test_lanes(client: httpx2.Client, unique: Unique) -> None:
    thread = unique("thread")
    run_id = held_run(client, thread, "w")
    path = f"/api/agents/runs/{run_id}"
    held = detail(client, run_id)["lane"]
    events = [
        {"type": "message.delta", "payload": {"content": "good"}},
        {"type": "step", "id": "a/b"},
        {"type": "model.call", "payload": {"duration_ms": 740.5, "input_tokens": "10", "cost_usd": -1}},
        {"type": "tool.call", "payload": {"name": "t", "tool_call_id": LONG_ID}},
        {"type": "message.delta", "payload": {"content": HALF}},
    ]
    reply = post(client, f"{path}/events", {"worker_id": "w", "phase": "p" * 201, "log_line": HALF, "events": events})
    assert [(one["index"], one["code"]) for one in reply["rejected"]] == [(1, "validation_failed")]
    assert named(reply) == [
        (None, "log_line"),
        (4, "payload.content"),
        (None, "phase"),
        (2, "payload.cost_usd"),
    ]
    renewed = detail(client, run_id)
    assert renewed["lane"]["lease_expires_at"] > held["lease_expires_at"]
    assert renewed["total_input_tokens"] == 10
    ended = post(client, f"{path}/fail", {"worker_id": "w", "error": [HALF], "traceback": ["l"]})
    assert named(ended) == [(None, "error.0"), (None, "error")]
    told = {event["type"]: event["data"] for event in stored(client, thread)}
    assert told["run.failed"] == {"traceback": ["l"], "error": [WHOLE]}
    assert {"towerlog_invalid": {"phase": "p" * 201}} in [event["data"] for event in stored(client, thread)]


def test_native(client: httpx2.Client, unique: Unique) -> None:
    key = unique("key")

    def event(number: int, kind: str, data: Any, **more: Any) -> dict[str, Any]:
        own = {"event_id": f"e{number}", "client_seq": number, "run_key": key}
        return {**own, "type": kind, "data": data, **more}

    events = [
        event(1, "run.started", {"labels": ["a"]}, time=[1]),
        event(2, "tool.call", {"tool": "t", "tool_call_id": LONG_ID}),
        event(3, "tool.result", {"tool": "t", "tool_call_id": LONG_ID, "result": HALF, "success": "yes"}),
    ]
    reply = post(client, "/api/v1/events", {"client_id": "c", "events": events})
    assert [one["status"] for one in reply["results"]] == ["stored"] * 3
    assert named(reply) == [(2, "data.result"), (0, "data.labels"), (0, "time"), (2, "data.success")]
    assert [one["type"] for one in stored(client, key)] == ["run.started", "tool.call", "tool.result"]


def test_activity(client: httpx2.Client, unique: Unique) -> None:
    agent = ok(client.post("/api/v1/agents", json={"name": unique("agent")}), 201)["agent_id"]
    lines = [
        b'\xef\xbb\xbf{"type":"file_read","id":"a"}',
        b'{"type":"health_check","duration_ms":NaN,"success":"yes"}',
        b'{"type":"command_start","metadata":{"tool_call_id":"%s"}}' % LONG_ID.encode(),
    ]
    headers = {"content-type": "application/x-ndjson"}
    reply = ok(client.post(f"/agents/{agent}/events", content=b"\n".join(lines), headers=headers))
    assert (reply["accepted"], reply["rejected"]) == (3, [])
    assert named(reply) == [(0, "body"), (1, "duration_ms"), (1, "success")]
    shown = ok(client.get(f"/agents/{agent}/events"))
    assert [one["type"] for one in shown] == ["file_read", "health_check", "command_start"]


def test_control(client: httpx2.Client, unique: Unique) -> None:
    thread = unique("thread")
    text = json.dumps({"input": HALF, "metadata": {"n": float("nan")}}).encode()
    made = client.post(f"/v1/threads/{thread}/runs", content=text, headers={"content-type": "application/json"})
    assert made.status_code == 201
    assert named(made.json()) == [(None, "input"), (None, "metadata.n")]
    claim = ok(client.post("/api/agents/runs/claim", json={"worker_id": "w", "wait_seconds": 1, "lease_seconds": 60}))
    while claim["run"]["thread_id"] != thread:
        claim = ok(client.post("/api/agents/runs/claim", json={"worker_id": "w", "lease_seconds": 60}))
    assert claim["input"] == WHOLE


def test_warnings_are_counted(client: httpx2.Client, unique: Unique) -> None:
    def count() -> float:
        found = re.search(r'towerlog_field_warnings_total\{dialect="steps"\} (\S+)', client.get("/metrics").text)
        return float(found[1]) if found else 0.0

    before = count()
    post(client, "/api/ingest", {"event_type": "step", "sdk_run_id": unique("run"), "payload": {"duration_ms": "x"}})
    assert count() == before + 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/runs?thread=x", 422),
        ("/v1/threads?limt=1", 422),
        ("/v1/threads/t/runs?before=x", 422),
        ("/api/v1/runs?thread=x", 422),
        ("/api/v1/usage?agnet=a", 422),
        ("/api/agents/runs?stat=queued", 400),
        ("/agents/0189d3f0-0000-7000-8000-00000000dead/events?tial=5", 400),
        ("/approvals?agent=a", 422),
    ],
)
def test_an_unknown_query_parameter_is_named(client: httpx2.Client, path: str, status: int) -> None:
    reply = client.get(path)
    assert reply.status_code == status
    assert re.search(r"\?(\w+)=", path)[1] in reply.text  # type: ignore[index]  # each path has one


def test_telemetry_takes_any_query(client: httpx2.Client, unique: Unique) -> None:
    body = {"event_type": "step", "sdk_run_id": unique("run"), "payload": {}}
    assert ok(client.post("/api/ingest?trace=1", json=body))["status"] == "ok"


def test_an_unknown_member_of_a_request_is_named(client: httpx2.Client, unique: Unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    for path, body in (
        (f"/v1/threads/{unique('thread')}/runs", {"agnet": "a"}),
        (f"/v1/runs/{run_id}:cancel", {"resaon": "x"}),
        (f"/v1/runs/{run_id}/input", {"content": "x", "question": 1}),
        (f"/api/v1/runs/{run_id}:retry", {"inptu": "x"}),
        (f"/api/v1/runs/{run_id}:fork", {"step_index": 1, "step": 1}),
        ("/api/v1/agents", {"name": "a", "colour": "red"}),
        ("/approvals/trace/1/approve", {"agent": "a"}),
    ):
        reply = client.post(path, json=body)
        assert reply.status_code == 422
        assert f"{list(body)[-1]}: is not a member of this body; it takes " in reply.text


def test_what_is_no_number_is_no_wish(client: httpx2.Client, unique: Unique) -> None:
    """Telemetry has null there; of a run that is queued again that means the input which it had."""
    run_id = create_run(client, unique("thread"))["run_id"]
    client.post(f"/api/v1/runs/{run_id}:kill", json={})
    for word in (b"NaN", b"-Infinity"):
        reply = client.post(f"/api/v1/runs/{run_id}:retry", content=b'{"input":%s}' % word)
        assert (reply.status_code, "not valid JSON" in reply.text) == (400, True), reply.text
    assert client.post(f"/api/v1/runs/{run_id}:retry", json={"input": "again"}).status_code == 201


@pytest.mark.parametrize("dots", [".", ".."])
def test_an_id_that_no_url_can_reach_is_refused(client: httpx2.Client, dots: str) -> None:
    event = {"event_type": "step", "sdk_run_id": dots, "payload": {}}
    assert client.post("/api/ingest", json=event).status_code == 422
    assert client.post("/v1/threads", json={"thread_id": dots}).status_code == 422
    reply = client.post("/v1/runners/events", json={"events": [{"type": "note", "data": {"thread_id": dots}}]})
    assert (reply.status_code, reply.json()["saved"]) == (422, 0)
    told = {"event_id": "e", "client_seq": 1, "run_key": dots, "type": "run.paused"}
    [result] = ok(client.post("/api/v1/events", json={"client_id": "c", "events": [told]}))["results"]
    assert (result["status"], result["field"]) == ("refused", "events.0.run_key")


def test_an_encoded_colon_is_the_colon(client: httpx2.Client, unique: Unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    assert ok(client.post(f"/v1/runs/{run_id}%3Acancel")) == {"ok": True}
    assert detail(client, run_id)["status"] == "cancelled"


NOBODY = "00000000-0000-7000-8000-000000000000"


def test_what_names_something_that_its_run_never_had_is_stored_and_said(client: httpx2.Client, unique: Unique) -> None:
    """Commands, questions and parents; by every way in that can name them. What is over may be named again."""
    run, worker, thread = unique("run"), unique("worker"), unique("thread")

    numbers = itertools.count(1)

    def by_events(*told: tuple[str, Any]) -> list[tuple[int | None, str]]:
        events = [
            {"event_id": unique("e"), "run_key": run, "client_seq": next(numbers), "type": kind, "data": data}
            for kind, data in told
        ]
        reply = post(client, "/api/v1/events", {"client_id": "c", "events": events})
        assert [one["status"] for one in reply["results"]] == ["stored"] * len(events)
        return named(reply) if "warnings" in reply else []

    assert by_events(("run.started", {"parent_run_id": NOBODY}), ("run.started", {"parent_run_key": "later"})) == [
        (0, "data.parent_run_id")
    ]
    asked = by_events(("run.waiting_for_input", {"question": "Go?", "question_key": "k"}))
    run_id = ok(client.get("/v1/runs", params={"thread_id": run}))[0]["run_id"]
    question_id = ok(client.get(f"/v1/runs/{run_id}"))["question_id"]
    answer = ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "yes"}))
    assert (asked, answer) == ([], {"ok": True})
    command_id = next(event["seq"] for event in log_of(client, run_id) if event["type"] == "run.input")
    assert by_events(
        ("command.acknowledged", {"command_id": 99_999}),
        ("command.acknowledged", {"command_id": command_id}),
        ("command.acknowledged", {"command_id": command_id}),
        ("run.question_withdrawn", {"question_key": "k"}),
        ("run.question_withdrawn", {"question_key": "k2"}),
        ("run.question_withdrawn", {"question_id": question_id}),
        ("run.question_withdrawn", {"question_id": question_id - 1}),
    ) == [(0, "data.command_id"), (4, "data.question_key"), (6, "data.question_id")]

    held = held_run(client, thread, worker)
    told = [("command.acknowledged", {"command_id": 7}), ("run.input", {"question_id": 8}), ("run.input", {})]
    told += [("run.question_withdrawn", {"question_key": "x"}), ("run.waiting_for_input", {"question_key": "k" * 129})]
    events = [{"type": kind, "payload": payload} for kind, payload in told]
    reply = post(client, f"/api/agents/runs/{held}/events", {"worker_id": worker, "events": events})
    names = ("command_id", "question_id", None, "question_key", "question_key")
    assert sorted(named(reply)) == [(index, f"payload.{name}") for index, name in enumerate(names) if name]
    assert [event["data"] for event in log_of(client, held)][-5] == {"command_id": 7}

    body = {"event_type": "human_input_received", "sdk_run_id": unique("run"), "payload": {"question_id": 3}}
    assert named(post(client, "/api/ingest", body)) == [(None, "payload.question_id")]
    assert named(post(client, "/api/ingest", {**body, "payload": {"question_id": "three"}})) == [
        (None, "payload.question_id")
    ]


CUT, MENDED = "caf\udcc3", "caf\ufffd"
"""A character of two bytes of which the second is missing, as bytes and as it is stored."""


def cut(body: Any) -> bytes:
    """The body in UTF-8 but for CUT."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogateescape")


def test_a_character_that_is_cut_costs_nothing(client: httpx2.Client, unique: Unique) -> None:
    run, key, thread = unique("run"), unique("key"), unique("thread")
    step = {"event_type": "step", "sdk_run_id": run, "payload": {"node_name": CUT}}
    assert named(post(client, "/api/ingest", cut(step))) == [(None, "payload.node_name")]
    said = {"thread_id": thread, "step_index": 1, "history": [{"content": CUT}]}
    saved = post(client, "/v1/runners/events", cut({"events": [{"type": "checkpoint", "data": said}]}))
    assert (saved["saved"], [one["index"] for one in saved["warnings"]]) == (1, [0])
    assert ok(client.get(f"/v1/runners/threads/{thread}/latest"))["history"] == [{"content": MENDED}]
    told = {"event_id": "a", "client_seq": 1, "run_key": key, "type": "step", "data": {"name": "s", "payload": CUT}}
    assert named(post(client, "/api/v1/events", cut({"client_id": "c", "events": [told]}))) == [(0, "data.payload")]
    [event] = stored(client, run)
    assert event["data"] == {"node_name": MENDED}


def test_a_character_that_is_cut_in_a_line_leaves_the_others_alone(client: httpx2.Client, unique: Unique) -> None:
    agent = ok(client.post("/api/v1/agents", json={"name": unique("agent")}), 201)["agent_id"]
    lines = [{"type": "file_read", "input_summary": text} for text in ("one", CUT, "three")]
    body = b"\n".join(map(cut, lines))
    headers = {"content-type": "application/x-ndjson"}
    reply = ok(client.post(f"/agents/{agent}/events", content=body, headers=headers))
    assert reply["accepted"] == 3, reply
    assert reply["warnings"]
    told = [event["input_summary"] for event in ok(client.get(f"/agents/{agent}/events"))]
    assert told == ["one", MENDED, "three"]


def test_control_takes_no_text_that_is_no_utf8(client: httpx2.Client, unique: Unique) -> None:
    path, headers = f"/v1/threads/{unique('thread')}/runs", {"content-type": "application/json"}
    reply = client.post(path, content=cut({"agent": "a", "input": CUT}), headers=headers)
    assert reply.status_code in (400, 422)
    assert "not valid UTF-8" in reply.text
