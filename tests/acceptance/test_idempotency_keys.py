"""The `Idempotency-Key` header on every POST of every dialect: one act, one reply, and a refusal for another body."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import cancel, claim, create_run, held_run, log_of, ok, snapshot, started, step
from tests.acceptance.routes import POSTS, ROUTES, shape_of
from tests.support.readback import ReadBack
from tests.support.senders import save_batch

KEPT_WITH_BODY = [path for path in POSTS if ROUTES["POST", path].body is not None]
DELIVERY = re.compile(r"/api/v1/deliveries/[^/]+:redeliver")


def target(client: httpx2.Client, unique: Any, path: str) -> str:
    """The path with something fresh in it, which the request may act on once."""
    if path.startswith("/approvals"):
        trace = unique("trace")
        save_batch(client, started(trace, trace), snapshot(trace, trace, 1, [], status="waiting_for_approval"))
        return path.replace("{}", trace, 1).replace("{}", "1")
    if path.startswith("/api/v1/approvals"):
        trace = unique("trace")
        save_batch(client, started(trace, trace), snapshot(trace, trace, 1, [], status="waiting_for_approval"))
        query = {"run_id": ReadBack(client).run(trace)["run_id"]}
        [waiting] = client.get("/api/v1/approvals", params=query).raise_for_status().json()["data"]
        return path.replace("{}", waiting["approval_id"])
    if path.startswith("/api/v1/members/"):
        made = ok(client.post("/api/v1/members", json={"name": unique("member"), "role": "viewer"}), 201)
        return path.replace("{}", made["user_id"])
    if path == "/api/v1/budgets/reserve":
        return budgeted_run(client, unique, path)
    if path.startswith(("/api/v1/alerts/", "/api/v1/deliveries/")):
        return told_failure(client, unique, path)
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


def budgeted_run(client: httpx2.Client, unique: Any, path: str) -> str:
    """The path as it is: the run that the body names is there, and a budget with room for what is reserved."""
    run_key = ROUTES["POST", path].body["run_id"]
    event = {"type": "step", "event_id": unique("event"), "client_seq": 1, "run_key": run_key, "data": {"name": "n"}}
    batch = {"client_id": unique("client"), "events": [event]}
    [stored] = ok(client.post("/api/v1/events", json=batch))["results"]
    budget = {"name": unique("budget"), "scope": {"run_id": stored["run_id"]}, "amount_usd": 10}
    ok(client.post("/api/v1/budgets", json=budget), 201)
    return path


def told_failure(client: httpx2.Client, unique: Any, path: str) -> str:
    """The path with an alert about a run that has failed, or with its delivery to a host that nobody finds."""
    agent = unique("agent")
    channels = [{"type": "webhook", "target": f"https://hooks.invalid/{agent}"}]
    rule = {"name": agent, "trigger": "error", "scope": {"agent": agent}, "channels": channels}
    query = {"rule_id": ok(client.post("/api/v1/alert-rules", json=rule), 201)["rule_id"]}
    step(client, unique("sdk"), "error", {"error_message": "no paper"}, agent_name=agent)
    noun, name = ("alerts", "alert_id") if path.startswith("/api/v1/alerts/") else ("deliveries", "delivery_id")
    [found] = ok(client.get(f"/api/v1/{noun}", params=query))["data"]
    return path.replace("{}", found[name])


def same(first: httpx2.Response, again: httpx2.Response) -> bool:
    """Whether two replies say the same.

    But the text of a new key, or of a sign-in link, is shown once, a ticket grows old, and a message is tried while it
    is asked about.
    """
    if first.url.path in ("/api/v1/keys", "/api/v1/sign-in-links"):
        shown_once = dict.fromkeys({"key", "token", "url"} & set(first.json()))
        return bool(first.json() | shown_once == again.json() | shown_once == again.json())
    if first.url.path == "/api/v1/stream-tickets":
        left, fewer = (reply.json()["expires_in_seconds"] for reply in (first, again))
        return bool(first.json()["ticket"] == again.json()["ticket"] and 0 < fewer <= left)
    if DELIVERY.fullmatch(first.url.path):
        left_out = dict.fromkeys(("state", "attempts", "next_attempt_at", "ended_at"))
        return bool(first.json() | left_out == again.json() | left_out)
    return (first.status_code, first.text) == (again.status_code, again.text)


@pytest.mark.parametrize("path", POSTS)
def test_the_same_key_and_body_get_the_same_reply(client, unique, path) -> None:
    where, key = target(client, unique, path), unique("key")
    body = ROUTES["POST", path].body
    first, *again = (client.post(where, json=body, headers={"Idempotency-Key": key}) for _ in range(3))
    assert first.status_code < 300, first.text
    assert all(same(first, each) for each in again), [each.text for each in again]


@pytest.mark.parametrize("path", KEPT_WITH_BODY)
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
    if isinstance(code := reply.json().get("code"), str):  # of OpenTelemetry's it is a number
        assert code.lower() == "idempotency_mismatch"


def test_the_document_offers_the_header_where_all_of_this_holds(client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    posts = {shape_of(path): said["post"].get("parameters", []) for path, said in paths.items() if "post" in said}
    offered = {path for path, given in posts.items() if any(one["name"] == "Idempotency-Key" for one in given)}
    # Who makes an organisation manages all of them (`test_organisations.py`).
    assert offered == set(POSTS) | {"/api/v1/organisations"} | ({"/v1/runs/{}:{}"} & set(posts))


def test_a_question_is_answered_under_its_key_as_it_was_at_first(server, unique) -> None:
    # An organisation of its own: a trial looks at as much of a log as its time lets it.
    client = server.client(server.make_org(unique("org"))[1])
    agent, key = unique("agent"), {"Idempotency-Key": unique("key")}
    rule = {"trigger": "error", "scope": {"agent": agent}}

    def ask(**headers: str) -> httpx2.Response:
        return client.post("/api/v1/alert-rules:preview", json=rule, headers=headers)

    step(client, unique("sdk"), "error", {"error_message": "no paper"}, agent_name=agent)
    first = ask(**key)
    step(client, unique("sdk"), "error", {"error_message": "no ink"}, agent_name=agent)
    assert len(ok(ask())["fired"]) == len(ok(first)["fired"]) + 1 == 2
    assert ask(**key).content == first.content


def test_a_question_that_is_refused_may_be_mended_under_its_key(client, unique) -> None:
    rule, key = {"trigger": "error", "scope": {"agent": unique("agent")}}, {"Idempotency-Key": unique("key")}
    reversed_times = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    refused = client.post("/api/v1/alert-rules:preview", json=rule | reversed_times, headers=key)
    assert refused.status_code == 422
    assert client.post("/api/v1/alert-rules:preview", json=rule, headers=key).status_code == 200


def test_costs_are_computed_anew_once_under_a_key(client, unique) -> None:
    model, key = unique("model"), {"Idempotency-Key": unique("key")}
    call = {"model": model, "input_tokens": 1_000_000, "output_tokens": 0}
    event = {"type": "model.call", "event_id": "e", "client_seq": 1, "run_key": unique("run"), "data": call}
    ok(client.post("/api/v1/events", json={"client_id": unique("client"), "events": [event]}))
    price = {"model": model, "valid_from": "2020-01-01T00:00:00Z", "usd_per_million": {"input": 2}}
    ok(client.post("/api/v1/prices", json=price), 201)
    asked = {"since": "2020-01-01T00:00:00Z", "model": model, "dry_run": False}
    first, again = (client.post("/api/v1/prices/reprice", json=asked, headers=key) for _ in range(2))
    assert [change["new_usd"] for change in ok(first)["data"]] == [2]
    assert again.content == first.content
    assert ok(client.post("/api/v1/prices/reprice", json=asked))["data"] == []


def test_a_key_does_not_reach_from_one_route_to_another(client, unique) -> None:
    key, thread = {"Idempotency-Key": unique("key")}, unique("thread")
    made = ok(client.post("/v1/threads", json={"thread_id": thread}, headers=key), 201)
    reply = client.post(f"/v1/threads/{thread}/runs", json={"thread_id": thread}, headers=key)
    assert reply.status_code in {201, 422}, reply.text
    assert reply.json() != made


@pytest.mark.parametrize("path", ["/v1/threads/{}/runs", "/api/v1/keys", "/api/ingest"])
def test_what_another_api_key_asks_is_a_request_of_its_own(server, unique, path) -> None:
    """Two programs of one organisation may choose the same Idempotency-Key, and may send the same body."""
    both = [server.client(server.make_key("control", "ingest", "admin")) for _ in range(2)]
    where, key = path.replace("{}", unique("thread")), {"Idempotency-Key": unique("key")}
    first, other, again = (one.post(where, json=ROUTES["POST", path].body, headers=key) for one in (*both, both[0]))
    assert first.status_code < 300, first.text
    assert other.status_code < 300, other.text
    assert same(first, again)
    assert not same(first, other)


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
