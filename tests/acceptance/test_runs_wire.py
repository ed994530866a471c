"""The `runs` dialect over HTTP: creating runs and threads, one run's detail, and the form of every refusal."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.acceptance.feeds import (
    TIME,
    UUID,
    claim,
    create_run,
    detail,
    held_run,
    log_of,
    newest_run_of,
    ok,
    types_of,
)
from tests.support.server import ADMIN_KEY
from tests.support.tables import table

ABSENT_RUN = "0189d3f0-0000-7000-8000-00000000dead"


def refused(reply: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a refusal in the dialect's error form."""
    assert reply.status_code == status, f"{reply.status_code} {reply.text}"
    body: dict[str, Any] = reply.json()
    assert body["code"] == code, body
    assert set(body) - {"details"} == {"code", "message", "trace_id"}, body
    assert body["message"]
    assert body["trace_id"]
    assert reply.headers["X-Trace-Id"]
    return body


def test_create_without_a_body(client, unique) -> None:
    reply = client.post(f"/v1/threads/{unique('thread')}/runs")
    assert reply.status_code == 201, reply.text
    body = reply.json()
    assert set(body) == {"run_id", "trace_id"}
    assert UUID.fullmatch(body["run_id"])
    assert isinstance(body["trace_id"], str)
    assert body["trace_id"]
    assert reply.headers["X-Trace-Id"]


@pytest.mark.parametrize(
    "body",
    [{}, {"route_id": None, "persona_id": None}, {"route_id": "", "persona_id": ""}],
    ids=["empty", "null", "blank"],
)
def test_create_takes_absent_null_and_blank_as_one(client, unique, body) -> None:
    created = ok(client.post(f"/v1/threads/{unique('thread')}/runs", json=body), 201)
    assert detail(client, created["run_id"])["status"] == "queued"


def test_detail_has_the_fields_of_the_seed(client, unique) -> None:
    thread = unique("thread")
    created = create_run(client, thread)
    run = detail(client, created["run_id"])
    assert run["run_id"] == created["run_id"]
    assert run["trace_id"] == created["trace_id"]
    assert run["thread_id"] == thread
    assert run["status"] == "queued"
    assert UUID.fullmatch(run["org_id"])
    assert UUID.fullmatch(run["created_by_user_id"])
    assert TIME.fullmatch(run["created_at"])


def test_the_first_event_of_a_created_run_is_run_queued(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    (event,) = log_of(client, run_id)
    assert event["seq"] == 1
    assert event["type"] == "run.queued"
    assert TIME.fullmatch(event["created_at"])


@pytest.mark.parametrize("field", ["route_id", "persona_id"])
def test_an_unknown_route_or_persona_is_refused_by_name(client, unique, field) -> None:
    reply = client.post(f"/v1/threads/{unique('thread')}/runs", json={field: "nobody-has-this@9"})
    assert field in refused(reply, 422, "validation.failed")["details"]


@table("field", ["route_id", "persona_id", "parent_run_id"])
@table("value", [7, True, [], {}, 1.5])
def test_a_field_of_the_wrong_kind_is_refused_by_name(client, unique, field, value) -> None:
    thread = unique("thread")
    reply = client.post(f"/v1/threads/{thread}/runs", json={field: value})
    assert field in refused(reply, 422, "validation.failed")["details"]
    listed = client.get(f"/v1/threads/{thread}/runs")
    assert listed.status_code == 404 or listed.json() == [], "a refused create has left a run"


@pytest.mark.parametrize("body", ["[]", '"text"', "17", "true"], ids=["list", "string", "number", "bool"])
def test_a_body_that_is_no_object_is_refused(client, unique, body) -> None:
    path = f"/v1/threads/{unique('thread')}/runs"
    reply = client.post(path, content=body, headers={"Content-Type": "application/json"})
    refused(reply, 422, "validation.failed")


def test_a_body_that_is_no_json_is_refused(client, unique) -> None:
    path = f"/v1/threads/{unique('thread')}/runs"
    reply = client.post(path, content='{"route_id": ', headers={"Content-Type": "application/json"})
    assert reply.status_code in {400, 422}, reply.text
    assert set(reply.json()) >= {"code", "message", "trace_id"}


def test_metadata_and_the_first_message_are_taken(client, unique) -> None:
    created = create_run(client, unique("thread"), input="count the stars", metadata={"ticket": "T-1"})
    claimed = claim(client, created["run_id"], unique("worker"))
    assert claimed["input"] == "count the stars"


def test_a_parent_makes_a_child(client, unique) -> None:
    parent = create_run(client, unique("thread"))["run_id"]
    child = create_run(client, unique("thread"), parent_run_id=parent)["run_id"]
    assert detail(client, child)["parent_run_id"] == parent
    listed = ok(client.get("/v1/runs", params={"parent_run_id": parent}))
    assert [row["run_id"] for row in listed] == [child]


@pytest.mark.parametrize("parent", [ABSENT_RUN, "not-a-uuid"])
def test_an_unknown_parent_is_refused_by_name(client, unique, parent) -> None:
    reply = client.post(f"/v1/threads/{unique('thread')}/runs", json={"parent_run_id": parent})
    assert reply.status_code in {404, 422}, reply.text
    if reply.status_code == 422:
        assert "parent_run_id" in refused(reply, 422, "validation.failed")["details"]


def test_a_second_run_in_a_busy_thread_waits_its_turn(client, unique) -> None:
    thread, worker = unique("thread"), unique("worker")
    first = held_run(client, thread, worker)
    second = create_run(client, thread)["run_id"]
    assert detail(client, first)["status"] == "running"
    assert detail(client, second)["status"] == "queued"
    assert newest_run_of(client, thread) == second


def test_the_same_idempotency_key_makes_one_run(client, unique) -> None:
    path, headers = f"/v1/threads/{unique('thread')}/runs", {"Idempotency-Key": unique("key")}
    first = ok(client.post(path, json={"metadata": {"n": 1}}, headers=headers), 201)
    again = ok(client.post(path, json={"metadata": {"n": 1}}, headers=headers), 201)
    assert again == first
    assert len(ok(client.get(path))) == 1
    refused(client.post(path, json={"metadata": {"n": 2}}, headers=headers), 422, "idempotency_mismatch")
    assert len(ok(client.get(path))) == 1
    other = ok(client.post(path, json={"metadata": {"n": 1}}, headers={"Idempotency-Key": unique("key")}), 201)
    assert other["run_id"] != first["run_id"]


def test_the_same_idempotency_key_from_many_at_once_makes_one_run(client, unique) -> None:
    path, headers = f"/v1/threads/{unique('thread')}/runs", {"Idempotency-Key": unique("key")}

    def create(_: int) -> httpx2.Response:
        return client.post(path, json={}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(create, range(16)))
    made = [reply.json()["run_id"] for reply in replies if reply.status_code == 201]
    for reply in replies:
        if reply.status_code != 201:
            refused(reply, 409, "in_progress")
            assert reply.headers["Retry-After"] == "1"
    assert len(set(made)) == 1
    assert len(ok(client.get(path))) == 1


@pytest.mark.parametrize("key", ["k" * 256, "with\ttab", "\u00e9"], ids=["long", "control", "not-ascii"])
def test_an_idempotency_key_that_is_no_key_is_refused(client, unique, key) -> None:
    path = f"/v1/threads/{unique('thread')}/runs"
    reply = client.post(path, json={}, headers=[("Idempotency-Key", key.encode("latin-1"))])
    assert 400 <= reply.status_code < 500, reply.text


def test_threads_are_made_on_first_use(client, unique) -> None:
    thread = unique("thread")
    refused(client.get(f"/v1/threads/{thread}"), 404, "threads.not_found")
    refused(client.get(f"/v1/threads/{thread}/runs"), 404, "threads.not_found")
    create_run(client, thread)
    assert ok(client.get(f"/v1/threads/{thread}"))["thread_id"] == thread


def test_threads_are_made_with_an_id_of_the_callers(client, unique) -> None:
    thread = unique("thread")
    reply = client.post("/v1/threads", json={"thread_id": thread})
    assert reply.status_code == 201, reply.text
    assert reply.json()["thread_id"] == thread
    assert ok(client.get(f"/v1/threads/{thread}"))["thread_id"] == thread
    assert ok(client.get(f"/v1/threads/{thread}/runs")) == []
    assert thread in {row["thread_id"] for row in ok(client.get("/v1/threads", params={"limit": 200}))}


@pytest.mark.parametrize("policy", ["reject", "enqueue", "cancel_previous"])
def test_a_busy_thread_follows_its_policy(client, unique, policy) -> None:
    thread, worker = unique("thread"), unique("worker")
    ok(client.post("/v1/threads", json={"thread_id": thread, "policy": policy}), 201)
    first = held_run(client, thread, worker)
    reply = client.post(f"/v1/threads/{thread}/runs")
    if policy == "reject":
        refused(reply, 409, "runs.thread_busy")
        assert newest_run_of(client, thread) == first
    else:
        second = ok(reply, 201)["run_id"]
        assert detail(client, second)["status"] == "queued"
        cancelled = "run.cancel_requested" in types_of(client, first)
        assert cancelled == (policy == "cancel_previous")


@pytest.mark.parametrize(
    "name",
    ["проект-{}", "研究 {}", "a b+c%25&?#{}", "ünïcödé.{}", "🜲-{}", "x" * 150 + "-{}"],
    ids=["cyrillic", "han", "reserved", "latin", "astral", "long"],
)
def test_thread_ids_may_be_of_any_script(client, unique, name) -> None:
    thread = name.format(unique("t"))
    run_id = create_run(client, thread)["run_id"]
    assert detail(client, run_id)["thread_id"] == thread
    listed = ok(client.get("/v1/runs", params={"thread_id": thread}))
    assert [row["run_id"] for row in listed] == [run_id]


@pytest.mark.parametrize("name", ["y" * 201, "a\x01b", "a\x7fb", "a/b"], ids=["long", "control", "delete", "slash"])
def test_thread_ids_that_are_no_ids_are_refused(client, name) -> None:
    reply = client.post(f"/v1/threads/{quote(name, safe='')}/runs")
    assert reply.status_code in {400, 404, 422}, reply.text
    assert set(reply.json()) >= {"code", "message", "trace_id"}


@table("run_id", [ABSENT_RUN, "not-a-uuid", "1", "0189d3f0-0000-7000-8000-00000000dea", "%00", "%ff"])
@table(
    "method, path",
    [("GET", ""), ("GET", "/events"), ("POST", ":cancel"), ("POST", "/input")],
)
def test_a_run_that_is_not_there(client, method, path, run_id) -> None:
    body = {"content": "yes"} if path == "/input" else None
    reply = client.request(method, f"/v1/runs/{run_id}{path}", json=body)
    refused(reply, 404, "runs.not_found")


@pytest.mark.parametrize("action", ["pause", "Cancel", "cancel2", "", "delete"])
def test_only_cancel_follows_the_colon(client, unique, action) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    reply = client.post(f"/v1/runs/{run_id}:{action}")
    assert reply.status_code == 404, reply.text
    assert set(reply.json()) >= {"code", "message", "trace_id"}
    assert detail(client, run_id)["status"] == "queued"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer nobody"}, {"Authorization": "Basic bm86Ym9keQ=="}],
    ids=["none", "blank", "bad", "basic"],
)
def test_no_key_or_a_bad_one_is_401(anonymous, headers) -> None:
    for method, path in [("GET", "/v1/runs"), ("POST", "/v1/threads/t/runs"), ("GET", f"/v1/runs/{ABSENT_RUN}/events")]:
        refused(anonymous.request(method, path, headers=headers), 401, "auth.invalid")


@pytest.mark.parametrize("name", ["key", "api_key", "token", "access_token", "authorization"])
def test_a_key_in_the_url_is_no_key(anonymous, name) -> None:
    refused(anonymous.get("/v1/runs", params={name: ADMIN_KEY}), 401, "auth.invalid")


def test_scopes(scoped, unique) -> None:
    thread = unique("thread")
    reader, controller, other = scoped("read"), scoped("control"), scoped("ingest", "worker")
    refused(reader.post(f"/v1/threads/{thread}/runs"), 403, "auth.scope")
    refused(reader.post("/v1/threads", json={"thread_id": thread}), 403, "auth.scope")
    ok(reader.get("/v1/runs"))
    run_id = create_run(controller, thread)["run_id"]
    for path in ["/v1/runs", f"/v1/runs/{run_id}", f"/v1/runs/{run_id}/events", f"/v1/threads/{thread}/runs"]:
        refused(controller.get(path), 403, "auth.scope")
    refused(other.post(f"/v1/runs/{run_id}:cancel"), 403, "auth.scope")
    refused(other.post(f"/v1/runs/{run_id}/input", json={"content": "x"}), 403, "auth.scope")
    ok(controller.post(f"/v1/runs/{run_id}:cancel"))


def test_a_callers_trace_is_honoured(client) -> None:
    trace_id = uuid.uuid4().hex
    reply = client.get("/v1/runs", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    assert reply.headers["X-Trace-Id"] == trace_id
    bad = client.get("/v1/runs", headers={"traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01"})
    assert re.fullmatch(r"[0-9a-f]{32}", bad.headers["X-Trace-Id"])
    assert set(bad.headers["X-Trace-Id"]) != {"0"}
