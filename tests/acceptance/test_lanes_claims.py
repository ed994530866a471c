"""The `lanes` dialect over HTTP: claiming, giving back, ending, and what reaches a worker from the control side."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import (
    TIME,
    cancel,
    claim,
    complete,
    create_run,
    detail,
    fail,
    held_run,
    log_of,
    newest_run_of,
    ok,
    report,
    snapshot,
    step,
    types_of,
)
from tests.acceptance.test_lanes_wire import RUN_FIELDS, invalid, refused
from tests.support.senders import save_batch
from tests.support.wait import wait_until


@pytest.fixture
def org(server, unique) -> httpx2.Client:
    """A client of an organisation whose queue is empty."""
    _, key = server.make_org(unique("org"))
    return server.client(key)


def take(client: httpx2.Client, worker: str, **fields: Any) -> httpx2.Response:
    """Asks for the oldest queued run."""
    return client.post("/api/agents/runs/claim", json={"worker_id": worker, **fields})


def test_an_empty_queue_is_204(org) -> None:
    reply = take(org, "w")
    assert reply.status_code == 204, reply.text
    assert reply.content == b""


def test_the_oldest_queued_run_is_handed_out_first(org, unique) -> None:
    made = [create_run(org, unique("thread"), input=f"task {n}")["run_id"] for n in range(3)]
    taken = [ok(take(org, f"w{n}")) for n in range(3)]
    assert [body["run"]["id"] for body in taken] == made
    assert [body["input"] for body in taken] == ["task 0", "task 1", "task 2"]
    assert take(org, "w").status_code == 204


def test_the_reply_of_a_claim(org, unique) -> None:
    thread = unique("thread")
    run_id = create_run(org, thread)["run_id"]
    body = ok(take(org, "w", lease_seconds=120))
    assert set(body) == {"ok", "run", "input", "persona", "route", "checkpoint"}
    assert body["ok"] is True
    assert [body[name] for name in ["input", "persona", "route", "checkpoint"]] == [None] * 4
    run = body["run"]
    assert set(run) == RUN_FIELDS
    assert run["id"] == run_id
    assert run["thread_id"] == thread
    assert run["worker_id"] == "w"
    assert run["state"] == "claimed"
    assert run["lease_epoch"] == 1
    assert run["attempt"] == 1
    assert TIME.fullmatch(run["claimed_at"])
    assert run["claimed_at"] < run["lease_expires_at"]


def test_a_claim_makes_the_run_running_and_says_so_in_its_log(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    claim(client, run_id, unique("worker"))
    assert detail(client, run_id)["status"] == "running"
    types = types_of(client, run_id)
    assert types[0] == "run.queued"
    assert set(types[1:]) == {"lane.claimed", "run.started"}


def test_many_workers_at_once_get_different_runs(org, unique) -> None:
    made = {create_run(org, unique("thread"))["run_id"] for _ in range(10)}
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: take(org, f"w{n}"), range(16)))
    taken = [reply.json()["run"]["id"] for reply in replies if reply.status_code == 200]
    assert sorted(taken) == sorted(made)
    assert [reply.status_code for reply in replies].count(204) == 6


def test_many_workers_at_one_run_get_one_holder(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]

    def ask(n: int) -> httpx2.Response:
        return client.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": f"w{n}", "lease_seconds": 60})

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(16)))
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 15
    assert types_of(client, run_id).count("lane.claimed") == 1


def test_a_claim_waits_for_a_run_to_come(org, unique) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take, org, "w", wait_seconds=60)
        wait_until(lambda: waiting.running() or waiting.done(), "the claim to be on its way")
        run_id = create_run(org, unique("thread"))["run_id"]
        # Half of what it would take if it were only looked for when the wait is over.
        body = ok(waiting.result(30))
    assert body["run"]["id"] == run_id


def test_a_claim_that_waits_in_vain_is_204(org) -> None:
    asked_at = time.monotonic()
    assert take(org, "w", wait_seconds=1).status_code == 204
    assert time.monotonic() - asked_at >= 0.9


WRONG_CLAIMS: list[tuple[str, Any]] = [
    *(("worker_id", value) for value in [None, "", 7, "w" * 201, "w\x00"]),
    *(("lease_seconds", value) for value in [0, -1, 3601, 1.5, "1.5", True]),
    *(("wait_seconds", value) for value in [-1, 61, "1m", True, [1]]),
    *(("agents", value) for value in ["a", 7, {}, True]),
    *(("labels", value) for value in ["a", 7, [], True]),
]


@pytest.mark.parametrize(
    ("field", "value"), WRONG_CLAIMS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WRONG_CLAIMS)]
)
def test_a_wrong_field_of_a_claim_is_named(client, unique, field, value) -> None:
    invalid(client.post("/api/agents/runs/claim", json={"worker_id": unique("w"), field: value}), field)


def test_a_run_that_telemetry_brought_is_never_handed_out(org, unique) -> None:
    step(org, unique("sdk"), "run_start", agent_name="reporter")
    assert take(org, "w").status_code == 204
    assert take(org, "w", agents=["reporter"]).status_code == 204


def test_a_claim_for_other_agents_leaves_the_queue_alone(org, unique) -> None:
    run_id = create_run(org, unique("thread"))["run_id"]
    assert take(org, "w", agents=[unique("nobody")]).status_code == 204
    assert ok(take(org, "w"))["run"]["id"] == run_id


def test_labels_choose_among_the_queued(org, unique) -> None:
    run_id = create_run(org, unique("thread"), labels={"gpu": "yes"})["run_id"]
    assert take(org, "w", labels={"gpu": "no"}).status_code == 204
    assert ok(take(org, "w", labels={"gpu": "yes"}))["run"]["id"] == run_id


def test_a_held_run_is_409_and_says_until_when_but_not_by_whom(client, unique) -> None:
    holder = unique("holder")
    run_id = held_run(client, unique("thread"), holder)
    reply = client.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": unique("other")})
    refused(reply, 409, "ALREADY_CLAIMED")
    assert "lease_expires_at" in reply.text
    assert holder not in reply.text


def test_the_holder_claiming_again_renews(client, unique) -> None:
    worker = unique("worker")
    run_id = create_run(client, unique("thread"))["run_id"]
    first = claim(client, run_id, worker, lease_seconds=60)["run"]
    again = claim(client, run_id, worker, lease_seconds=600)["run"]
    assert again["lease_expires_at"] > first["lease_expires_at"]
    assert again["attempt"] == first["attempt"] == 1
    report(client, run_id, worker, lease_epoch=again["lease_epoch"])


def test_an_ended_run_cannot_be_claimed(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    complete(client, run_id, "w")
    for worker in ["w", "other"]:
        reply = client.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": worker})
        refused(reply, 409, "RUN_ENDED")


@pytest.mark.parametrize("act", ["events", "release", "complete", "fail"])
def test_only_the_holder_may_act_and_the_other_learns_no_name(client, unique, act) -> None:
    holder = unique("holder")
    run_id = held_run(client, unique("thread"), holder)
    before = log_of(client, run_id)
    reply = client.post(f"/api/agents/runs/{run_id}/{act}", json={"worker_id": unique("other")})
    refused(reply, 409, "LEASE_LOST")
    assert holder not in reply.text
    assert log_of(client, run_id) == before
    assert report(client, run_id, holder)["worker_id"] == holder


def test_nobody_may_report_on_a_queued_run(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    refused(client.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": "w"}), 409, "LEASE_LOST")
    assert detail(client, run_id)["status"] == "queued"


def test_release_puts_it_back_at_once_and_may_be_repeated(org, unique) -> None:
    run_id = create_run(org, unique("thread"))["run_id"]
    first = ok(take(org, "w"))["run"]
    for _ in range(2):
        run = ok(org.post(f"/api/agents/runs/{run_id}/release", json={"worker_id": "w"}))["run"]
        assert run["state"] == "queued"
        assert run["worker_id"] is None
    assert detail(org, run_id)["status"] == "queued"
    again = ok(take(org, "other"))["run"]
    assert again["id"] == run_id
    assert again["lease_epoch"] == first["lease_epoch"] + 1
    refused(org.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": "w"}), 409, "LEASE_LOST")


def test_an_older_epoch_is_refused_even_from_the_same_worker(client, unique) -> None:
    worker = unique("worker")
    run_id = create_run(client, unique("thread"))["run_id"]
    old = claim(client, run_id, worker)["run"]["lease_epoch"]
    ok(client.post(f"/api/agents/runs/{run_id}/release", json={"worker_id": worker}))
    new = claim(client, run_id, worker)["run"]["lease_epoch"]
    assert new == old + 1
    body = {"worker_id": worker, "lease_epoch": old}
    refused(client.post(f"/api/agents/runs/{run_id}/events", json=body), 409, "LEASE_LOST")
    assert report(client, run_id, worker, lease_epoch=new)["lease_epoch"] == new
    assert report(client, run_id, worker)["lease_epoch"] == new


def test_complete_and_fail_end_the_run_with_what_they_bring(client, unique) -> None:
    good = held_run(client, unique("thread"), "w")
    complete(client, good, "w", {"answer": "forty-two"})
    assert detail(client, good)["status"] == "completed"
    last = log_of(client, good)[-1]
    assert last["type"] == "run.completed"
    assert "forty-two" in str(last["data"])
    bad = held_run(client, unique("thread"), "w")
    fail(client, bad, "w", "the disk is full")
    assert detail(client, bad)["status"] == "failed"
    last = log_of(client, bad)[-1]
    assert last["type"] == "run.failed"
    assert "the disk is full" in str(last["data"])


def test_an_end_that_comes_twice_is_one_end(client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    complete(client, run_id, "w")
    for act in ["complete", "fail"]:
        reply = client.post(f"/api/agents/runs/{run_id}/{act}", json={"worker_id": "w"})
        assert reply.status_code in {200, 409}, reply.text
    types = types_of(client, run_id)
    assert types.count("run.completed") == 1
    assert "run.failed" not in types
    assert detail(client, run_id)["status"] == "completed"


def test_a_cancel_is_told_until_it_is_answered(client, unique) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker)
    cancel(client, run_id)
    for _ in range(2):
        assert [command["type"] for command in report(client, run_id, worker)["commands"]] == ["cancel"]
    complete(client, run_id, worker)
    assert detail(client, run_id)["status"] in {"completed", "cancelled"}


def test_a_report_may_wait_for_a_command(client, unique) -> None:
    worker = unique("worker")
    run_id = held_run(client, unique("thread"), worker)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(report, client, run_id, worker, wait_seconds=60)
        wait_until(lambda: waiting.running() or waiting.done(), "the report to be on its way")
        cancel(client, run_id)
        run = waiting.result(30)
    assert [command["type"] for command in run["commands"]] == ["cancel"]


def test_the_next_attempt_gets_the_latest_checkpoint(client, unique) -> None:
    thread, worker = unique("thread"), unique("worker")
    created = create_run(client, thread)
    claim(client, created["run_id"], worker)
    history = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "one"}]
    for n in (1, 2):
        save_batch(client, snapshot(thread, created["trace_id"], n, history[:n]))
    assert newest_run_of(client, thread) == created["run_id"]
    ok(client.post(f"/api/agents/runs/{created['run_id']}/release", json={"worker_id": worker}))
    taken = claim(client, created["run_id"], unique("other"))
    assert taken["checkpoint"]["step_index"] == 2
    assert taken["checkpoint"]["history"] == history


def test_the_queue_and_the_holders_are_listed(org, unique) -> None:
    queued, worker = create_run(org, unique("thread"))["run_id"], unique("worker")
    held = held_run(org, unique("thread"), worker)
    by_state = {
        state: org.get("/api/agents/runs", params={"state": state}) for state in ["queued", "claimed", "running"]
    }
    assert all(reply.status_code == 200 for reply in by_state.values())
    assert queued in by_state["queued"].text
    assert held not in by_state["queued"].text
    assert held in by_state["claimed"].text
    assert queued not in by_state["claimed"].text
    report(org, held, worker)
    assert held in org.get("/api/agents/runs", params={"state": "running"}).text
    workers = org.get("/api/agents/workers")
    assert workers.status_code == 200
    assert worker in workers.text
    assert held in workers.text
    [mine] = ok(org.get("/api/agents/workers", params={"worker_id": worker}))["data"]
    assert mine["runs"] == [held]
    assert ok(org.get("/api/agents/workers", params={"worker_id": "nobody"}))["data"] == []
    assert org.get("/api/agents/workers", params={"worker_id": "a/b"}).json() == {"data": []}
    invalid(org.get("/api/agents/workers", params={"worker_id": "a\nb"}), "worker_id")


def test_an_unknown_state_is_refused(client) -> None:
    invalid(client.get("/api/agents/runs", params={"state": "sleeping"}), "state")
