"""The `runs` dialect over HTTP: cancel and input on runs in every state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.feeds import (
    cancel,
    complete,
    create_run,
    detail,
    fail,
    held_run,
    log_of,
    newest_run_of,
    ok,
    report,
    step,
    types_of,
)
from tests.acceptance.test_runs_wire import refused
from tests.support.wait import wait_until

WAITING = {"type": "run.waiting_for_input", "payload": {"question": "deploy?"}}


def test_a_queued_run_is_cancelled_at_once(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    cancel(client, run_id)
    assert detail(client, run_id)["status"] == "cancelled"
    assert types_of(client, run_id)[-1] == "run.cancelled"
    reply = client.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": unique("worker")})
    assert reply.status_code == 409
    assert reply.json()["code"] == "RUN_ENDED"


def test_cancel_may_be_asked_again(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    for _ in range(3):
        cancel(client, run_id)
    assert types_of(client, run_id).count("run.cancelled") == 1
    held = held_run(client, unique("thread"), "w")
    for _ in range(3):
        cancel(client, held)
    assert types_of(client, held).count("run.cancel_requested") == 1


def test_a_running_run_is_cancelled_by_its_worker(client, unique) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker)
    report(client, run_id, worker)
    cancel(client, run_id)
    assert detail(client, run_id)["status"] == "cancelling"
    assert types_of(client, run_id)[-1] == "run.cancel_requested"
    told = report(client, run_id, worker)
    assert [command["type"] for command in told["commands"]] == ["cancel"]
    told = report(client, run_id, worker, {"type": "run.cancelled", "payload": {}})
    assert told["state"] == "released"
    assert detail(client, run_id)["status"] == "cancelled"
    ends = [event for event in log_of(client, run_id) if event["type"] == "run.cancelled"]
    assert len(ends) == 1
    assert ends[0]["data"].get("forced") is not True


def test_a_worker_that_does_not_answer_is_cancelled_by_force(client, unique) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker, lease_seconds=1)
    cancel(client, run_id)
    wait_until(lambda: detail(client, run_id)["status"] == "cancelled", "the lost lease to end the run")
    last = log_of(client, run_id)[-1]
    assert last["type"] == "run.cancelled"
    assert last["data"]["forced"] is True


def test_a_steps_agent_that_finishes_while_cancelling_decides_its_end(client, unique) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name=unique("agent"))
    run_id = newest_run_of(client, sdk_run)
    cancel(client, run_id)
    assert detail(client, run_id)["status"] == "cancelling"
    told = step(client, sdk_run, "step", {"node_name": "n"})
    assert [command["type"] for command in told["commands"]] == ["cancel"]
    step(client, sdk_run, "run_end", {})
    assert detail(client, run_id)["status"] in {"completed", "cancelled"}


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_run_that_ended_otherwise_cannot_be_cancelled(client, unique, end) -> None:
    run_id = held_run(client, unique("thread"), "w")
    if end == "completed":
        complete(client, run_id, "w")
    else:
        fail(client, run_id, "w", "it broke")
    before = log_of(client, run_id)
    refused(client.post(f"/v1/runs/{run_id}:cancel"), 409, "runs.not_active")
    assert log_of(client, run_id) == before
    assert detail(client, run_id)["status"] == end


def test_children_are_cancelled_with_their_parent(client, unique) -> None:
    parent = create_run(client, unique("thread"))["run_id"]
    child = create_run(client, unique("thread"), parent_run_id=parent)["run_id"]
    grandchild = create_run(client, unique("thread"), parent_run_id=child)["run_id"]
    held = held_run(client, unique("thread"), "w", parent_run_id=parent)
    cancel(client, parent)
    wait_until(lambda: detail(client, child)["status"] == "cancelled", "the child to end")
    wait_until(lambda: detail(client, grandchild)["status"] == "cancelled", "the grandchild to end")
    wait_until(lambda: detail(client, held)["status"] == "cancelling", "the held child to be told")


def test_many_cancels_at_once_end_a_run_once(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: client.post(f"/v1/runs/{run_id}:cancel"), range(16)))
    assert [reply.status_code for reply in replies] == [200] * 16
    assert types_of(client, run_id).count("run.cancelled") == 1


def test_input_reaches_the_worker_that_waits_for_it(client, unique) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker)
    report(client, run_id, worker, WAITING)
    assert detail(client, run_id)["status"] == "waiting_for_input"
    assert ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "yes, deploy"})) == {"ok": True}
    assert detail(client, run_id)["status"] == "running"
    last = log_of(client, run_id)[-1]
    assert last["type"] == "run.input"
    assert last["data"]["content"] == "yes, deploy"
    (command,) = report(client, run_id, worker)["commands"]
    assert command["type"] == "input"
    assert command["content"] == "yes, deploy"


def test_input_to_a_running_run_is_kept_and_handed_on(client, unique) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker)
    for content in ["first", "second"]:
        ok(client.post(f"/v1/runs/{run_id}/input", json={"content": content}))
    commands = report(client, run_id, worker)["commands"]
    found = [(command["type"], command["content"]) for command in commands]
    assert found == [("message", "first"), ("message", "second")]


def test_input_reaches_an_agent_that_only_reports(client, unique) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name=unique("agent"))
    step(client, sdk_run, "human_input_requested", {"question": "go?"})
    run_id = newest_run_of(client, sdk_run)
    assert detail(client, run_id)["status"] == "waiting_for_input"
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "go"}))
    told = step(client, sdk_run, "step", {"node_name": "n"})
    assert [(command["type"], command["content"]) for command in told["commands"]] == [("input", "go")]


def test_input_may_be_as_long_as_the_seed_says_and_no_longer(client, unique) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker)
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "x" * 32_768}))
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "ä" * 16_384}))
    for content in ["x" * 32_769, "ä" * 16_385]:
        reply = client.post(f"/v1/runs/{run_id}/input", json={"content": content})
        assert "content" in refused(reply, 422, "validation.failed")["details"]
    assert types_of(client, run_id).count("run.message") == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content": None},
        {"content": ""},
        {"content": " \n\t "},
        {"content": 7},
        {"content": ["yes"]},
        {"content": {}},
    ],
    ids=["missing", "null", "empty", "blank", "int", "list", "object"],
)
def test_input_without_content_is_refused_by_name(client, unique, body) -> None:
    run_id = held_run(client, unique("thread"), "w")
    reply = client.post(f"/v1/runs/{run_id}/input", json=body)
    assert "content" in refused(reply, 422, "validation.failed")["details"]
    assert "run.input" not in types_of(client, run_id)


def test_input_needs_a_run_that_is_under_way(client, unique) -> None:
    queued = create_run(client, unique("thread"))["run_id"]
    cancelled = create_run(client, unique("thread"))["run_id"]
    cancel(client, cancelled)
    completed = held_run(client, unique("thread"), "w")
    complete(client, completed, "w")
    for run_id in [queued, cancelled, completed]:
        before = log_of(client, run_id)
        refused(client.post(f"/v1/runs/{run_id}/input", json={"content": "hello"}), 409, "runs.not_active")
        assert log_of(client, run_id) == before


def test_the_same_input_with_the_same_key_is_one_input(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    headers = {"Idempotency-Key": unique("key")}
    for _ in range(3):
        ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "once"}, headers=headers))
    assert types_of(client, run_id).count("run.message") == 1
    refused(
        client.post(f"/v1/runs/{run_id}/input", json={"content": "twice"}, headers=headers), 422, "idempotency_mismatch"
    )
