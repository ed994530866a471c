"""The `Idempotency-Key` header on every POST of every dialect: one act, one reply, and a refusal for another body."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import cancel, claim, create_run, held_run, log_of, ok, snapshot, started, step
from tests.acceptance.routes import ROUTES
from tests.support.readback import ReadBack
from tests.support.senders import save_batch

POSTS = sorted({path for method, path in ROUTES if method == "POST"} - {"/v1/runs/{}:{}"})


def target(client: httpx2.Client, unique: Any, path: str) -> str:
    """The path with something fresh in it, which the request may act on once."""
    if path.startswith("/approvals"):
        trace = unique("trace")
        save_batch(client, started(trace, trace), snapshot(trace, trace, 1, [], status="waiting_for_approval"))
        return path.replace("{}", trace, 1).replace("{}", "1")
    if path.startswith("/agents"):
        step(client, unique("sdk"), "run_start", agent_name="idempotent")
        return path.replace("{}", ReadBack(client).agent_id("idempotent"))
    if path.endswith((":retry", ":fork")):
        thread = unique("thread")
        save_batch(client, started(thread, thread), snapshot(thread, thread, 1, []))
        if path.endswith(":fork"):
            return path.replace("{}", ReadBack(client).run(thread)["run_id"])
        run_id = create_run(client, thread)["run_id"]
        cancel(client, run_id)
        return path.replace("{}", run_id)
    if path.startswith("/v1/threads"):
        return path.replace("{}", unique("thread"))
    if path == "/api/agents/runs/{}/claim":
        return path.replace("{}", create_run(client, unique("thread"))["run_id"])
    return path.replace("{}", held_run(client, unique("thread"), "shared-worker"))


def same(first: httpx2.Response, again: httpx2.Response) -> bool:
    """Whether two replies say the same; but the text of a new key is shown once, and a ticket grows old."""
    if first.url.path == "/api/v1/keys":
        return bool(first.json() | {"key": None} == again.json() | {"key": None})
    if first.url.path == "/api/v1/stream-tickets":
        left, fewer = (reply.json()["expires_in_seconds"] for reply in (first, again))
        return bool(first.json()["ticket"] == again.json()["ticket"] and 0 < fewer <= left)
    return (first.status_code, first.text) == (again.status_code, again.text)


@pytest.mark.parametrize("path", POSTS)
def test_the_same_key_and_body_get_the_same_reply(client, unique, path) -> None:
    where, key = target(client, unique, path), unique("key")
    body = ROUTES["POST", path].body
    first, *again = (client.post(where, json=body, headers={"Idempotency-Key": key}) for _ in range(3))
    assert first.status_code < 300, first.text
    assert all(same(first, each) for each in again), [each.text for each in again]


@pytest.mark.parametrize("path", [path for path in POSTS if ROUTES["POST", path].body is not None])
def test_the_same_key_and_another_body_is_422(client, unique, path) -> None:
    where, key = target(client, unique, path), unique("key")
    body = ROUTES["POST", path].body
    assert client.post(where, json=body, headers={"Idempotency-Key": key}).status_code < 300
    # The same request in other bytes: a body that the route would take, if the key were new.
    other = json.dumps(body).replace("{", "{ ", 1).encode()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    reply = client.post(where, content=other, headers=headers)
    assert reply.status_code == 422, reply.text
    words = reply.text.lower()
    assert "idempotency" in words, "the refusal says what is wrong"
    if "code" in reply.json():
        assert reply.json()["code"].lower() == "idempotency_mismatch"


def test_a_key_does_not_reach_from_one_route_to_another(client, unique) -> None:
    key, thread = {"Idempotency-Key": unique("key")}, unique("thread")
    made = ok(client.post("/v1/threads", json={"thread_id": thread}, headers=key), 201)
    reply = client.post(f"/v1/threads/{thread}/runs", json={"thread_id": thread}, headers=key)
    assert reply.status_code in {201, 422}, reply.text
    assert reply.json() != made


def test_a_refused_request_may_be_mended_under_the_same_key(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    key = {"Idempotency-Key": unique("key")}
    early = client.post(f"/v1/runs/{run_id}/input", json={"content": "hello"}, headers=key)
    assert early.status_code == 409
    claim(client, run_id, "w")
    later = client.post(f"/v1/runs/{run_id}/input", json={"content": "hello"}, headers=key)
    assert later.status_code in {200, 409}, later.text
    inputs = [event for event in log_of(client, run_id) if event["type"] == "run.message"]
    assert len(inputs) == (1 if later.status_code == 200 else 0)


def test_without_a_key_nothing_is_guessed(client, unique) -> None:
    sdk_run = unique("sdk")
    for _ in range(3):
        step(client, sdk_run, "step", {"node_name": "the same"})
    assert ReadBack(client).types(sdk_run).count("step") == 3
