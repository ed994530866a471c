"""Real workers and their questions: an answer finds its question over kills, drains, pauses, and lost replies."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.feeds import claim, create_run, ok, report
from tests.sdk.support.failing_proxy import failing_proxy
from tests.sdk.worker_process import SERVED, Control, WorkerProcess
from tests.support.samples import first, slow
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.wait import wait_until

Start = Callable[..., WorkerProcess]


@pytest.fixture
def key(server) -> str:
    """The key of an organisation of this test's own: what it leaves in the queue is nobody else's work."""
    return str(server.make_org(f"org-{uuid4().hex[:8]}")[1])


@pytest.fixture
def control(server, key) -> Control:
    return Control(server.client(key))


@pytest.fixture
def start(server, key, tmp_path) -> Iterator[Start]:
    """Starts workers that end with the test."""
    made: list[WorkerProcess] = []

    def begin(*options: str, beside: Any = server, key: str = key, app: str = SERVED) -> WorkerProcess:
        made.append(WorkerProcess(beside, key, tmp_path / f"worker-{len(made)}", *options, app=app))
        return made[-1]

    yield begin
    for one in made:
        one.kill()


def asked(control: Control, run_id: str, question: str) -> int:
    """Waits until the run's oldest open question is this one; its id."""

    def question_id() -> int | None:
        run = control.detail(run_id)
        return run["question_id"] if run["question"] == question else None

    return wait_until(question_id, f"the question {question!r}") or 0


def answered(control: Control, run_id: str, content: str, question_id: int) -> int:
    """The status of an answer."""
    body = {"content": content, "question_id": question_id}
    return control.client.post(f"/v1/runs/{run_id}/input", json=body).status_code


@pytest.mark.parametrize("how", ["killed", "drained"])
def test_an_answer_that_is_given_while_nobody_holds_the_run_reaches_the_next_attempt(control, start, how) -> None:
    worker = start("--lease-seconds", "1", "--drain-seconds", "0")
    run_id = control.create("t", "researcher")
    question_id = asked(control, run_id, "Publish?")
    if how == "killed":
        worker.kill()
    else:
        worker.stop()
    control.until(run_id, "queued")
    assert answered(control, run_id, "yes", question_id) == 200
    start("--lease-seconds", "60")
    assert control.until(run_id, "completed")["result"] == {"published": "yes"}
    assert control.detail(run_id)["questions"] == []


@pytest.mark.parametrize("agent", first(["saving", "resuming", "paying"]))
def test_a_checkpoint_without_an_index_of_its_own_does_not_make_another_question(control, start, agent) -> None:
    app = "tests.sdk.served_approvals:app" if agent == "paying" else SERVED
    run_id = control.create("t", agent)
    for attempt in (1, 2):
        worker = start("--lease-seconds", "1", app=app)
        wait_until(lambda n=attempt: len(control.events(run_id, "run.waiting_for_input")) == n, "the question")
        worker.kill()
        control.until(run_id, "queued")
        assert len(control.detail(run_id)["questions"]) == 1, "it is the same one"
    [question] = control.detail(run_id)["questions"]
    assert answered(control, run_id, "never", question["question_id"]) == 200
    start("--lease-seconds", "60", app=app)
    assert control.until(run_id, "completed")["result"] == "never"
    [closed] = control.detail(run_id)["closed_questions"]
    assert (closed["state"], closed["taken_at"] is not None) == ("answered", True)


@pytest.mark.parametrize("restarts", [1, slow(2)])
def test_an_answer_is_taken_by_whoever_asks_again_whatever_is_asked_before(control, start, restarts) -> None:
    """The earlier question is asked once more each time, since its answer was taken."""
    worker = start("--lease-seconds", "1")
    run_id = control.create("t", "asking-sync")
    assert answered(control, run_id, "1", asked(control, run_id, "one?")) == 200
    second = asked(control, run_id, "two?")
    worker.kill()
    control.until(run_id, "queued")
    assert answered(control, run_id, "2", second) == 200
    for restart in range(restarts):
        if restart:
            worker.kill()
            control.until(run_id, "queued")
        worker = start("--lease-seconds", "1")
        first = asked(control, run_id, "one?")
    assert answered(control, run_id, "1 again", first) == 200
    assert control.until(run_id, "completed")["result"] == ["1 again", "2"]
    closed = control.detail(run_id)["closed_questions"]
    assert [(one["question_id"], one["state"]) for one in closed][-1] == (first, "answered")
    states = {one["question_id"]: (one["state"], one["taken_at"] is not None) for one in closed}
    assert states[second] == ("answered", True)
    assert all(event["data"].get("taken") is not False for event in control.events(run_id, "command.acknowledged"))


def test_an_answer_that_is_withdrawn_when_its_question_is_asked_otherwise_reaches_nobody(control, start) -> None:
    """Also where it came with the claim: the question is open anew, and what is answered now counts."""
    worker = start("--lease-seconds", "1")
    run_id = control.create("t", "asking-otherwise")
    first = asked(control, run_id, "Delete?")
    worker.kill()
    control.until(run_id, "queued")
    assert answered(control, run_id, "never", first) == 200
    start("--lease-seconds", "60")
    second = asked(control, run_id, "Delete?")
    assert second != first
    assert answered(control, run_id, "yes", second) == 200
    assert control.until(run_id, "completed")["result"] == "yes"
    closed = control.detail(run_id)["closed_questions"]
    assert [(one["state"], one["taken_at"] is not None) for one in closed] == [("withdrawn", False), ("answered", True)]


def test_the_answer_to_a_later_question_is_not_given_to_the_first(control, start) -> None:
    worker = start("--lease-seconds", "1")
    run_id = control.create("t", "asking-sync")
    assert answered(control, run_id, "1", asked(control, run_id, "one?")) == 200
    second = asked(control, run_id, "two?")
    worker.kill()
    control.until(run_id, "queued")
    assert answered(control, run_id, "2", second) == 200
    start("--lease-seconds", "60")
    first = asked(control, run_id, "one?")
    assert answered(control, run_id, "too late", second) == 409
    assert answered(control, run_id, "1 again", first) == 200
    assert control.until(run_id, "completed")["result"] == ["1 again", "2"]


def test_what_is_asked_of_a_queued_run_reaches_its_worker(control, start) -> None:
    run_id = control.create("t", "pausing")
    assert control.client.post(f"/api/v1/runs/{run_id}:pause").status_code == 200
    start("--lease-seconds", "60")
    control.until(run_id, "paused")


@pytest.mark.parametrize("how", ["killed", "drained"])
def test_a_paused_run_is_paused_in_the_hands_of_the_next_worker(control, start, how) -> None:
    run_id = control.create("t", "pausing")
    assert control.client.post(f"/api/v1/runs/{run_id}:pause").status_code == 200
    worker = start("--lease-seconds", "1", "--drain-seconds", "0")
    control.until(run_id, "paused")
    if how == "killed":
        worker.kill()
    else:
        worker.stop()
    control.until(run_id, "queued")
    start("--lease-seconds", "60")
    control.until(run_id, "paused")
    assert len(control.events(run_id, "lane.claimed")) == 2
    assert control.events(run_id, "message.delta") == []
    assert control.client.post(f"/api/v1/runs/{run_id}:resume").status_code == 200
    wait_until(lambda: control.events(run_id, "message.delta"), "the agent to go on")


@pytest.mark.parametrize("status", [502, 504])
def test_a_claim_that_a_proxy_fails_to_answer_is_looked_up_and_not_waited_out(control, server, start, status) -> None:
    run_id = control.create("t", "asking-sync")
    with failing_proxy(server.port, status) as port:
        beside = type("Proxied", (), {"base_url": f"http://127.0.0.1:{port}"})
        start("--lease-seconds", "60", beside=beside)
        asked(control, run_id, "one?")
        assert control.events(run_id, "lane.lost") == []
        assert control.detail(run_id)["attempt"] == 1
        assert [event["data"]["lease_epoch"] for event in control.events(run_id, "lane.claimed")] == [1, 2]


def test_of_two_workers_of_one_name_the_newer_goes_on(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    first = claim(client, run_id, "twin")["run"]["lease_epoch"]
    second = claim(client, run_id, "twin")["run"]["lease_epoch"]
    path = f"/api/agents/runs/{run_id}/events"
    assert client.post(path, json={"worker_id": "twin", "lease_epoch": first}).json()["code"] == "LEASE_LOST"
    assert client.post(path, json={"worker_id": "twin", "lease_epoch": second}).status_code == 200


def test_a_long_poll_waits_although_a_command_is_unread(client, unique) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    claim(client, run_id, "w")
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": "by the way"}))
    assert [one["type"] for one in report(client, run_id, "w", wait_seconds=30)["commands"]] == ["message"]
    began_at = time.monotonic()
    again = report(client, run_id, "w", wait_seconds=1)
    assert time.monotonic() - began_at >= 1
    assert [one["content"] for one in again["commands"]] == ["by the way"], "it is repeated all the same"


def test_a_server_that_stood_still_ends_no_lease(tmp_path_factory) -> None:
    """The heartbeat lay in its socket all the time."""
    server = Server(tmp_path_factory.mktemp("still") / "data", NO_LIMITS)
    try:
        server.start()
        control = Control(server.client(ADMIN_KEY))
        run_id = control.create("t")
        claim(control.client, run_id, "w", lease_seconds=3)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 6
        wait_until(lambda: time.monotonic() > until, "twice the lease to pass")
        server.process.send_signal(signal.SIGCONT)
        report(control.client, run_id, "w")
        assert control.events(run_id, "lane.lost") == []
    finally:
        server.close()
