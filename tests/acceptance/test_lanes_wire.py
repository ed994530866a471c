"""The `lanes` dialect over HTTP: the report of the holder, field by field, and what it changes."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import (
    TIME,
    UUID,
    cancel,
    claim,
    complete,
    create_run,
    detail,
    held_run,
    log_of,
    ok,
    report,
    types_of,
)
from tests.support.tables import table

ABSENT_RUN = "2489E9AD-2EE2-8E00-8EC9-32D5F69181C0"
"""The id in the seed's own example."""

RUN_FIELDS = {
    "id", "thread_id", "agent_id", "lane_key", "title", "role", "state", "phase", "worker_id", "claimed_at",
    "lease_expires_at", "last_heartbeat", "lease_epoch", "attempt", "commands",
}  # fmt: skip
SEED_REPORT = {
    "worker_id": "example",
    "lease_seconds": 1,
    "phase": "example",
    "log_line": "example",
    "events": [{"type": "heartbeat", "payload": {}}],
}


def refused(reply: httpx2.Response, status: int, *codes: str) -> dict[str, Any]:
    """The body of a refusal in the dialect's error form."""
    assert reply.status_code == status, f"{reply.status_code} {reply.text}"
    body: dict[str, Any] = reply.json()
    assert body["code"] in codes, body
    assert isinstance(body["error"], str)
    assert body["error"]
    return body


def invalid(reply: httpx2.Response, *path: str | int) -> None:
    """A 400 that names the field twice: dotted in `fieldErrors`, as a path in `issues`."""
    body = refused(reply, 400, "VALIDATION_FAILED")
    dotted = ".".join(str(part) for part in path)
    assert dotted in body["fieldErrors"], body
    assert body["fieldErrors"][dotted]
    issues = {tuple(issue["path"]): issue for issue in body["issues"]}
    assert path in issues, body
    assert all(set(issue) >= {"path", "code", "message"} for issue in body["issues"])


@pytest.fixture
def held(client, unique) -> tuple[str, str]:
    """A run and the worker that holds it."""
    worker = unique("worker")
    return held_run(client, unique("thread"), worker), worker


def test_the_seeds_example(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "example")
    reply = client.post(f"/api/agents/runs/{run_id.upper()}/events", json=SEED_REPORT)
    body = ok(reply)
    assert set(body) == {"ok", "run"}
    assert body["ok"] is True
    run = body["run"]
    assert set(run) == RUN_FIELDS
    assert run["id"] == run_id
    assert run["worker_id"] == "example"
    assert run["phase"] == "example"
    assert run["state"] == "running"
    assert run["commands"] == []
    assert all(TIME.fullmatch(run[name]) for name in ["claimed_at", "lease_expires_at", "last_heartbeat"])
    assert type(run["lease_epoch"]) is int
    assert run["attempt"] == 1
    assert run["agent_id"] is None or UUID.fullmatch(run["agent_id"])
    assert reply.headers["X-Trace-Id"]


def test_the_seeds_lease_of_one_second_is_a_clear_400_by_default(fresh_server) -> None:
    server = fresh_server(limits=True)
    client = server.client()
    run_id = create_run(client, "thread")["run_id"]
    claim(client, run_id, "example", lease_seconds=60)
    for lease in [1, 59, 3601]:
        reply = client.post(f"/api/agents/runs/{run_id}/events", json=SEED_REPORT | {"lease_seconds": lease})
        invalid(reply, "lease_seconds")
        assert "60" in reply.json()["fieldErrors"]["lease_seconds"]
        assert "3600" in reply.json()["fieldErrors"]["lease_seconds"]
    for lease in [60, 3600]:
        ok(client.post(f"/api/agents/runs/{run_id}/events", json=SEED_REPORT | {"lease_seconds": lease}))
    other = create_run(client, "other")["run_id"]
    reply = client.post(f"/api/agents/runs/{other}/claim", json={"worker_id": "w", "lease_seconds": 1})
    invalid(reply, "lease_seconds")


WRONG: list[tuple[str, Any]] = [
    *(("worker_id", value) for value in [None, "", 7, 1.5, True, ["w"], {}, "w" * 201, "w\x00", "w\n", "w\x7f"]),
    *(("lease_seconds", value) for value in [0, -1, 3601, 1.5, "x", True, [60], {}, 10**30, -(10**30)]),
    *(("events", value) for value in [7, "heartbeat", True, {}, [{"type": "heartbeat", "payload": {}}] * 101]),
    *(("lease_epoch", value) for value in ["x", 1.5, True, [1], {}, -1, 10**30]),
]
DETAILS: list[tuple[str, Any]] = [
    *(("phase", value) for value in [7, True, ["p"], {}, "p" * 201]),
    *(("log_line", value) for value in [7, True, ["l"], {}, "l" * 2001]),
]


@pytest.mark.parametrize(("field", "value"), DETAILS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(DETAILS)])
def test_a_detail_of_a_report_that_cannot_be_used_is_kept_and_named(client, held, field, value) -> None:
    run_id, worker = held
    reply = ok(client.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": worker, field: value}))
    assert [(one.get("index"), one["field"]) for one in reply["warnings"]] == [(None, field)]
    assert log_of(client, run_id)[-1]["data"] == {"towerlog_invalid": {field: value}}


@pytest.mark.parametrize(("field", "value"), WRONG, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WRONG)])
def test_a_wrong_field_is_named_twice(client, held, field, value) -> None:
    run_id, worker = held
    before = log_of(client, run_id)
    reply = client.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": worker, "phase": "p", field: value})
    invalid(reply, field)
    assert log_of(client, run_id) == before, "a refused report has left something"


def test_the_worker_id_is_required(client, held) -> None:
    run_id, _ = held
    invalid(client.post(f"/api/agents/runs/{run_id}/events", json={"phase": "p"}), "worker_id")


WRONG_EVENTS: list[tuple[Any, list[str]]] = [
    (7, []),
    ("heartbeat", []),
    (None, []),
    ([], []),
    ({}, ["type"]),
    ({"payload": {}}, ["type"]),
    ({"type": None, "payload": {}}, ["type"]),
    ({"type": 7, "payload": {}}, ["type"]),
]
WRONG_ALONE: list[tuple[Any, str]] = [
    ({"type": "", "payload": {}}, "type"),
    ({"type": "t" * 201, "payload": {}}, "type"),
    ({"type": "checkpoint", "payload": 7}, "payload"),
    ({"type": "heartbeat", "payload": {}, "id": 7}, "id"),
    ({"type": "heartbeat", "payload": {}, "id": "i" * 201}, "id"),
    ({"type": "heartbeat", "payload": {}, "id": "i\x01"}, "id"),
    ({"type": "heartbeat", "payload": {}, "id": ".."}, "id"),
]


@pytest.mark.parametrize(
    ("event", "field"), WRONG_ALONE, ids=[f"{field}-{n}" for n, (_, field) in enumerate(WRONG_ALONE)]
)
def test_a_wrong_event_is_refused_alone_and_the_lease_renewed(client, held, event, field) -> None:
    run_id, worker = held
    before = detail(client, run_id)["lane"]["last_heartbeat"]
    body = {"worker_id": worker, "events": [{"type": "step", "payload": {"n": 1}}, event, {"type": "step"}]}
    reply = ok(client.post(f"/api/agents/runs/{run_id}/events", json=body))
    [rejected] = reply["rejected"]
    assert (rejected["index"], rejected["code"]) == (1, "validation_failed")
    assert rejected["message"].startswith(f"events.1.{field}: ")
    assert [one["type"] for one in log_of(client, run_id)[-2:]] == ["step", "step"]
    assert detail(client, run_id)["lane"]["last_heartbeat"] >= before


@pytest.mark.parametrize("payload", [7, "text", [], True])
def test_a_payload_that_is_no_object_is_kept(client, held, payload) -> None:
    run_id, worker = held
    body = {"worker_id": worker, "events": [{"type": "action", "payload": payload}]}
    reply = ok(client.post(f"/api/agents/runs/{run_id}/events", json=body))
    assert [(one["index"], one["field"]) for one in reply["warnings"]] == [(0, "payload")]
    assert log_of(client, run_id)[-1]["data"]["payload"] == {"towerlog_invalid": {"payload": payload}}


@pytest.mark.parametrize(
    ("event", "where"),
    WRONG_EVENTS,
    ids=[f"{'-'.join(where) or 'whole'}-{n}" for n, (_, where) in enumerate(WRONG_EVENTS)],
)
def test_a_wrong_event_is_named_by_its_index(client, held, event, where) -> None:
    run_id, worker = held
    body = {"worker_id": worker, "events": [{"type": "heartbeat", "payload": {}}, event]}
    invalid(client.post(f"/api/agents/runs/{run_id}/events", json=body), "events", 1, *where)


def test_several_wrong_fields_are_all_named(client, held) -> None:
    run_id, worker = held
    body = {"worker_id": worker, "wait_seconds": 99, "lease_epoch": -1, "lease_seconds": "x"}
    reply = client.post(f"/api/agents/runs/{run_id}/events", json=body)
    assert set(refused(reply, 400, "VALIDATION_FAILED")["fieldErrors"]) == {
        "wait_seconds",
        "lease_epoch",
        "lease_seconds",
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "7", "nul", "{'a': 1}"])
def test_a_body_that_is_no_object_is_refused(client, held, text) -> None:
    run_id, _ = held
    headers = {"Content-Type": "application/json"}
    reply = client.post(f"/api/agents/runs/{run_id}/events", content=text, headers=headers)
    refused(reply, 400, "VALIDATION_FAILED")


def test_every_field_may_be_as_long_as_the_page_says(client, unique) -> None:
    worker = "w" * 200
    run_id = held_run(client, unique("thread"), worker)
    run = report(
        client,
        run_id,
        worker,
        *({"type": "heartbeat", "payload": {}} for _ in range(100)),
        phase="ü" * 200,
        log_line="ß" * 2000,
        lease_seconds=3600,
    )
    assert run["phase"] == "ü" * 200


@pytest.mark.parametrize("blank", [None, ""], ids=["null", "empty"])
def test_absent_null_and_empty_mean_the_same(client, held, blank) -> None:
    run_id, worker = held
    report(client, run_id, worker, phase="building")
    run = report(client, run_id, worker, phase=blank, log_line=blank)
    assert run["phase"] == "building"
    null_fields = {"lease_seconds": None, "events": None, "lease_epoch": None}
    assert report(client, run_id, worker, **null_fields)["phase"] == "building"


def test_a_report_of_nothing_but_the_worker_is_a_heartbeat(client, held) -> None:
    run_id, worker = held
    first, second = report(client, run_id, worker), report(client, run_id, worker)
    assert first["last_heartbeat"] <= second["last_heartbeat"]
    assert second["lease_expires_at"] >= first["lease_expires_at"]


def test_a_report_renews_and_does_not_shorten_unless_asked(client, held) -> None:
    run_id, worker = held
    long = report(client, run_id, worker, lease_seconds=3600)["lease_expires_at"]
    assert report(client, run_id, worker)["lease_expires_at"] >= long
    assert report(client, run_id, worker, lease_seconds=60)["lease_expires_at"] < long


def test_a_change_of_phase_is_an_event_and_a_repeat_is_none(client, held) -> None:
    run_id, worker = held
    report(client, run_id, worker, phase="planning")
    before = len(log_of(client, run_id))
    report(client, run_id, worker, phase="planning")
    assert len(log_of(client, run_id)) == before
    report(client, run_id, worker, phase="building")
    added = log_of(client, run_id, before)
    assert any("building" in str(event["data"]) for event in added)


def test_a_log_line_is_in_the_log(client, held) -> None:
    run_id, worker = held
    report(client, run_id, worker, log_line="compiled 12 files")
    assert any("compiled 12 files" in str(event["data"]) for event in log_of(client, run_id))


def test_the_events_of_a_report_keep_their_order(client, held) -> None:
    run_id, worker = held
    before = len(log_of(client, run_id))
    texts = [f"piece {n}" for n in range(100)]
    report(client, run_id, worker, *({"type": "message.delta", "payload": {"content": text}} for text in texts))
    added = log_of(client, run_id, before)
    assert [event["data"]["content"] for event in added if event["type"] == "message.delta"] == texts
    seqs = [event["seq"] for event in log_of(client, run_id)]
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize("kind", ["message.delta", "tool.call", "tool.result", "step", "budget.warning"])
def test_types_of_the_runs_dialect_keep_their_name_and_payload(client, held, kind) -> None:
    run_id, worker = held
    payload = {"content": "c", "tool_call_id": "t1", "name": "ls", "n": 1}
    report(client, run_id, worker, {"type": kind, "payload": payload})
    last = log_of(client, run_id)[-1]
    assert last["type"] == kind
    assert last["data"].items() >= payload.items() or kind == "message.delta"
    assert last["data"]["content"] == "c"


def test_unknown_types_are_kept_under_their_own_name(client, held) -> None:
    run_id, worker = held
    report(client, run_id, worker, {"type": "coffee_break", "payload": {"cups": 2}})
    last = log_of(client, run_id)[-1]
    assert last["type"] == "other"
    assert last["data"] == {"name": "coffee_break", "payload": {"cups": 2}}


@pytest.mark.parametrize("kind", ["heartbeat", "log_line", "phase_change", "action", "error"])
def test_the_known_types_do_not_end_a_run(client, held, kind) -> None:
    run_id, worker = held
    run = report(client, run_id, worker, {"type": kind, "payload": {"message": "m"}})
    assert run["state"] == "running"
    assert detail(client, run_id)["status"] == "running"


def test_ship_complete_ends_it_well(client, held) -> None:
    run_id, worker = held
    run = report(client, run_id, worker, {"type": "ship_complete", "payload": {"url": "https://example.com"}})
    assert run["state"] == "shipped"
    assert detail(client, run_id)["status"] == "completed"
    assert types_of(client, run_id)[-1] == "run.completed"


def test_a_fatal_error_ends_it_badly(client, held) -> None:
    run_id, worker = held
    run = report(client, run_id, worker, {"type": "error", "payload": {"message": "boom", "fatal": True}})
    assert run["state"] == "failed"
    assert detail(client, run_id)["status"] == "failed"
    assert types_of(client, run_id)[-1] == "run.failed"


def test_waiting_and_going_on(client, held) -> None:
    run_id, worker = held
    report(client, run_id, worker, {"type": "run.waiting_for_input", "payload": {"question": "go?"}})
    assert detail(client, run_id)["status"] == "waiting_for_input"


def test_an_event_id_is_stored_once(client, held, unique) -> None:
    run_id, worker = held
    event = {"type": "message.delta", "payload": {"content": "once"}, "id": unique("event")}
    for _ in range(3):
        report(client, run_id, worker, event)
    assert types_of(client, run_id).count("message.delta") == 1


def test_an_event_id_with_another_body_is_refused_and_its_neighbours_are_kept(client, held, unique) -> None:
    run_id, worker = held
    event_id = unique("event")
    report(client, run_id, worker, {"type": "message.delta", "payload": {"content": "first"}, "id": event_id})
    body = {
        "worker_id": worker,
        "events": [
            {"type": "message.delta", "payload": {"content": "other"}, "id": event_id},
            {"type": "message.delta", "payload": {"content": "neighbour"}},
        ],
    }
    reply = client.post(f"/api/agents/runs/{run_id}/events", json=body)
    assert "id_reused" in reply.text.lower(), reply.text
    contents = [event["data"]["content"] for event in log_of(client, run_id) if event["type"] == "message.delta"]
    assert contents == ["first", "neighbour"]


def test_the_same_idempotency_key_is_one_report(client, held, unique) -> None:
    run_id, worker = held
    headers = {"Idempotency-Key": unique("key")}
    body = {"worker_id": worker, "events": [{"type": "message.delta", "payload": {"content": "once"}}]}
    for _ in range(3):
        ok(client.post(f"/api/agents/runs/{run_id}/events", json=body, headers=headers))
    assert types_of(client, run_id).count("message.delta") == 1
    reply = client.post(f"/api/agents/runs/{run_id}/events", json=body | {"phase": "x"}, headers=headers)
    assert reply.status_code == 422, reply.text
    assert reply.json()["code"].lower() == "idempotency_mismatch"


@table("run_id", [ABSENT_RUN, "not-a-uuid", "%00"])
@table("act", ["events", "claim", "release", "complete", "fail"])
def test_a_run_that_is_not_there(client, act, run_id) -> None:
    refused(client.post(f"/api/agents/runs/{run_id}/{act}", json={"worker_id": "w"}), 404, "RUN_NOT_FOUND")


def test_no_key_a_bad_key_and_a_key_without_the_scope(server, scoped, held) -> None:
    run_id, worker = held
    for act in [f"{run_id}/{name}" for name in ["events", "claim", "release", "complete", "fail"]] + ["claim"]:
        path, body = f"/api/agents/runs/{act}", {"worker_id": worker}
        for key in [None, "nobody"]:
            told = refused(server.client(key).post(path, json=body), 401, "UNAUTHENTICATED")
            assert told["relinkGithub"] is False
        refused(scoped("ingest", "read", "control").post(path, json=body), 403, "FORBIDDEN")
    refused(scoped("worker").post(f"/api/agents/runs/{run_id}/events", json={"worker_id": worker}), 409, "LEASE_LOST")


def test_a_report_on_an_ended_run_does_not_change_its_end(client, held) -> None:
    run_id, worker = held
    complete(client, run_id, worker)
    body = {"worker_id": worker, "events": [{"type": "error", "payload": {"message": "late", "fatal": True}}]}
    reply = client.post(f"/api/agents/runs/{run_id}/events", json=body)
    if reply.status_code != 200:
        refused(reply, 409, "RUN_ENDED", "LEASE_LOST")
    assert detail(client, run_id)["status"] == "completed"


def test_a_cancelled_run_is_released(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    cancel(client, run_id)
    reply = client.get("/api/agents/runs", params={"state": "released"})
    assert reply.status_code == 200, reply.text
    assert run_id in reply.text
