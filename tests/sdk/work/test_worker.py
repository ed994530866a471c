"""Workers as processes beside a real server: the end-to-end promises, one by one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.sdk.worker_process import Control, WorkerProcess
from tests.support.samples import slow
from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from tests.support.sse import EventStream
from tests.support.wait import DEADLINE_S, wait_until

CANCEL_DEADLINE_S = 5
"""After this a cancel is forced: what obeys must have done so before, on a busy machine too."""
LEASE_S = 3600
"""A command that has to wait for the next renewal of such a lease comes after twenty minutes: after every deadline."""
Start = Callable[..., WorkerProcess]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    settings = {"TOWERLOG_CANCEL_DEADLINE_SECONDS": str(CANCEL_DEADLINE_S), "TOWERLOG_MAX_EVENT_BYTES": "1000000"}
    with Server(tmp_path_factory.mktemp("server") / "data", {**NO_LIMITS, **settings}) as one:
        yield one


@pytest.fixture
def key(server) -> str:
    """The key of an organisation of this test's own: what it leaves in the queue is nobody else's work."""
    return server.make_org(f"org-{uuid4().hex[:8]}")[1]


@pytest.fixture
def control(server, key) -> Control:
    return Control(server.client(key))


@pytest.fixture
def thread() -> str:
    return f"thread-{uuid4().hex[:8]}"


@pytest.fixture
def start(server, key, tmp_path) -> Iterator[Start]:
    """Starts workers that end with the test."""
    made: list[WorkerProcess] = []

    def begin(*options: str, beside: Server = server, key: str = key) -> WorkerProcess:
        made.append(WorkerProcess(beside, key, tmp_path / f"worker-{len(made)}", *options))
        return made[-1]

    yield begin
    for one in made:
        one.kill()


def test_a_run_streams_asks_is_answered_and_completes(server, key, control, thread, start) -> None:
    start("--lease-seconds", str(LEASE_S))
    run_id = control.create(thread, text="towers")
    with EventStream(f"{server.base_url}/v1/runs/{run_id}/events", {"Authorization": f"Bearer {key}"}) as stream:
        seen = []
        while (event := stream.next_event().json)["type"] != "run.waiting_for_input":
            seen.append(event)
        # All of this was streamed while the run waits: none of it came with its end.
        assert control.detail(run_id)["status"] == "waiting_for_input"
        control.answer(run_id, "yes")
        ends_at, rest = time.monotonic() + DEADLINE_S, []
        while (frame := stream.next_event(ends_at - time.monotonic())).event != "end":
            rest.append(frame.json)
    spoken = [event["data"]["content"] for event in seen if event["type"] == "message.delta"]
    assert spoken == ["looking ", "found "]
    calls = [event["data"] for event in seen if event["type"] in ("tool.call", "tool.result")]
    assert [call["tool"] for call in calls] == ["search", "search"]
    assert calls[0]["arguments"] == {"q": "towers"}
    assert calls[1]["result"] == ["found"]
    assert calls[0]["tool_call_id"] == calls[1]["tool_call_id"]
    taken = ["run.input", "command.delivered", "command.acknowledged", "run.completed"]
    assert [event["type"] for event in rest] == taken
    assert rest[-1]["data"]["result"] == {"published": "yes"}


def taken_over(control: Control, run_id: str, first: WorkerProcess) -> None:
    """What must hold of a run whose first worker went away and that a second one has completed."""
    detail = control.until(run_id, "completed")
    assert detail["attempt"] == 2
    ends = control.events(run_id, "run.completed", "run.failed", "run.cancelled")
    assert [end["data"]["result"]["from"] for end in ends] == [2]
    assert ends[0]["data"]["result"]["history"][-1]["content"] == "two"
    assert ends[0]["data"]["result"]["token"] == 2
    assert control.text(run_id) == "holding"
    late = control.late_report(run_id, first.worker_id, 1, "late words")
    assert late.status_code == 409
    assert late.json()["code"] == "lease_lost"
    assert "late words" in control.quarantined(run_id)
    assert control.text(run_id) == "holding"


def test_a_killed_worker_is_taken_over_from_the_latest_checkpoint(control, thread, start) -> None:
    first = start("--lease-seconds", "2")
    run_id = control.create(thread, "resumable")
    control.until_says(run_id, "holding")
    start("--lease-seconds", "2")
    first.kill()
    taken_over(control, run_id, first)


def test_a_worker_stopped_past_its_lease_gives_up_and_serves_on(control, thread, start) -> None:
    first = start("--lease-seconds", "2")
    run_id = control.create(thread, "resumable")
    control.until_says(run_id, "holding")
    second = start("--lease-seconds", "2")
    first.signal(signal.SIGSTOP)
    control.until(run_id, "completed")
    first.signal(signal.SIGCONT)
    wait_until(lambda: "lease lost" in first.log, "the first worker to notice")
    taken_over(control, run_id, first)
    second.kill()
    control.answer(waiting(control, f"{thread}-2"), "go on")
    assert first.process.poll() is None


def waiting(control: Control, thread: str) -> str:
    """A new run that has come to its question."""
    run_id = control.create(thread, "researcher")
    control.until(run_id, "waiting_for_input")
    return run_id


@pytest.mark.parametrize("agent", ["polite", "checking", "researcher", "asking-sync"])
def test_a_cancel_reaches_the_agent_promptly(control, thread, start, agent) -> None:
    start("--lease-seconds", str(LEASE_S))
    run_id = control.create(thread, agent)
    control.until(run_id, "waiting_for_input" if agent in ("researcher", "asking-sync") else "running")
    if agent in ("polite", "checking"):
        control.until_says(run_id, "ti")
    control.cancel(run_id)
    control.until(run_id, "cancelled")
    assert "forced" not in control.events(run_id, "run.cancelled")[0]["data"]
    assert [event["data"]["type"] for event in control.events(run_id, "command.acknowledged")] == ["cancel"]


@pytest.mark.parametrize("agent", ["deaf", slow("deaf-sync")])
def test_a_cancel_that_is_ignored_is_forced_at_the_deadline(control, thread, start, agent) -> None:
    worker = start("--lease-seconds", "2")
    run_id = control.create(thread, agent)
    control.until_says(run_id, "deaf")
    asked_at = time.monotonic()
    control.cancel(run_id)
    # Until the deadline the run shows what it is: neither ended nor untouched.
    wait_until(lambda: control.events(run_id, "command.delivered"), "the worker to take the cancel")
    assert control.detail(run_id)["status"] == "cancelling"
    detail = control.until(run_id, "cancelled")
    assert time.monotonic() - asked_at >= CANCEL_DEADLINE_S - 0.1
    assert detail["forced"] is True
    # The async agent was interrupted; nothing could tell the sync one, which never looks.
    taken = [event["data"]["type"] for event in control.events(run_id, "command.acknowledged")]
    assert taken == (["cancel"] if agent == "deaf" else [])
    wait_until(lambda: "lease lost" in worker.log, "the worker to learn of it")
    wait_until(lambda: "agent has not stopped" in worker.log, "the worker to say that its agent is still there")
    # Its slot is free for others.
    waiting(control, f"{thread}-2")


def test_sync_agents_get_answers_in_order(control, thread, start) -> None:
    start()
    run_id = control.create(thread, "asking-sync")
    for number, word in enumerate(("first", "second"), 1):
        wait_until(lambda n=number: len(control.events(run_id, "run.waiting_for_input")) == n, "the question")
        control.answer(run_id, word)
    control.until(run_id, "completed")
    assert control.events(run_id, "run.completed")[0]["data"]["result"] == ["first", "second"]


def test_an_exception_is_a_failure_in_one_line(control, thread, start) -> None:
    start()
    run_id = control.create(thread, "failing")
    assert control.until(run_id, "failed")["error"] == "ValueError: first line second line"
    run_id = control.create(f"{thread}-2", "exiting")
    assert "SystemExit" in control.until(run_id, "failed")["error"]
    waiting(control, f"{thread}-3")


def test_a_result_that_the_server_refuses_ends_the_run_all_the_same(control, thread, start) -> None:
    worker = start()
    run_id = control.create(thread, "huge")
    assert "rejected" in control.until(run_id, "failed")["error"]
    assert "run.completed" in worker.dead_letters


def test_an_agent_that_blocks_its_loop_keeps_its_lease(control, thread, start) -> None:
    start("--lease-seconds", "1")
    run_id = control.create(thread, "blocking", "2.5")
    assert control.until(run_id, "completed")["attempt"] == 1
    assert control.events(run_id, "lane.lost") == []


def test_what_is_told_while_the_server_is_away_arrives_once_and_in_order(tmp_path_factory, thread, start) -> None:
    server = Server(tmp_path_factory.mktemp("own") / "data", NO_LIMITS)
    try:
        server.start()
        control = Control(server.client())
        worker = start("--lease-seconds", "60", beside=server, key=ADMIN_KEY)
        run_id = control.create(thread, "counting", "1000")
        control.until_says(run_id, "100 ")
        server.kill()
        wait_until(lambda: "retrying in" in worker.log, "the worker to miss its server")
        server.start()
        control.until(run_id, "completed")
        assert control.text(run_id) == "".join(f"{number} " for number in range(1000))
        assert control.client.get(f"/api/v1/runs/{run_id}").json()["delivery"]["complete"] is True
        waiting(control, f"{thread}-2")
    finally:
        server.close()


@pytest.fixture
def server_of_its_own(tmp_path) -> Iterator[Server]:
    """One that a test may stop."""
    with Server(tmp_path / "data", NO_LIMITS) as one:
        yield one


def test_a_server_that_stands_still_costs_no_attempt(server_of_its_own, thread, start) -> None:
    server = server_of_its_own
    control = Control(server.client())
    worker = start("--lease-seconds", "2", beside=server, key=ADMIN_KEY)
    run_id = control.create(thread, "polite")
    for times in range(1, 4):
        wait_until(lambda n=times: control.text(run_id) == "waiting" * n, "the agent to begin")
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda n=times: worker.log.count("lease lost") == n, "the worker to stop its agent")
        finally:
            server.process.send_signal(signal.SIGCONT)
    wait_until(lambda: control.text(run_id) == "waiting" * 4, "the agent to begin again")
    detail = control.detail(run_id)
    assert (detail["status"], detail["attempt"]) == ("running", 1)
    assert control.events(run_id, "lane.lost") == []
    control.cancel(run_id)
    control.until(run_id, "cancelled")


def test_a_worker_that_is_told_to_go_lets_its_agents_end(control, thread, start) -> None:
    worker = start("--drain-seconds", "20")
    run_id = waiting(control, thread)
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "draining" in worker.log, "the drain")
    unclaimed = control.create(f"{thread}-2")
    control.answer(run_id, "yes")
    control.until(run_id, "completed")
    assert worker.process.wait(60) == 0
    assert control.detail(unclaimed)["status"] == "queued"
    control.cancel(unclaimed)


@pytest.mark.parametrize("agent", ["polite", "deaf", "deaf-sync"])
def test_what_is_not_done_when_a_worker_goes_is_given_back(control, thread, start, agent) -> None:
    worker = start("--drain-seconds", "0.2")
    run_id = control.create(thread, agent)
    control.until_says(run_id, "wait" if agent == "polite" else "deaf")
    assert worker.stop() == 0
    # At once, and not when the lease of a minute has run out.
    assert control.detail(run_id)["status"] == "queued"
    assert len(control.events(run_id, "lane.released")) == 1
    control.cancel(run_id)


def test_a_worker_serves_as_many_runs_as_it_has_slots(control, thread, start) -> None:
    start("--concurrency", "2")
    runs = [control.create(f"{thread}-{number}", "researcher") for number in range(3)]
    for run_id in runs[:2]:
        control.until(run_id, "waiting_for_input")
    assert control.detail(runs[2])["status"] == "queued"
    control.answer(runs[0], "done")
    control.until(runs[2], "waiting_for_input")
    for run_id in runs[1:]:
        control.answer(run_id, "done")
        control.until(run_id, "completed")


def test_a_worker_takes_only_what_it_serves_and_has_the_labels_for(control, thread, start) -> None:
    foreign = control.create(thread, "somebody-else")
    body = {"input": "go", "agent": "researcher", "labels": {"gpu": "a100"}}
    labelled = control.client.post(f"/v1/threads/{thread}-2/runs", json=body).json()["run_id"]
    plain = start()
    waiting(control, f"{thread}-3")
    assert control.detail(labelled)["status"] == "queued"
    plain.kill()
    start("--labels", "gpu=a100", "--labels", "zone=1")
    control.until(labelled, "waiting_for_input")
    assert control.detail(foreign)["status"] == "queued"


def test_a_worker_that_is_refused_says_so_and_ends(tmp_path) -> None:
    strict = Server(tmp_path / "strict" / "data", {**NO_LIMITS, "TOWERLOG_LANES_MIN_LEASE_SECONDS": "60"})
    strict.data_dir.parent.mkdir()
    try:
        strict.start()
        worker = WorkerProcess(strict, ADMIN_KEY, tmp_path / "refused", "--lease-seconds", "5")
        assert worker.process.wait(60) == 1
        assert "lease_seconds" in worker.log
    finally:
        strict.close()


def test_every_event_of_a_worker_is_numbered(control, thread, start) -> None:
    worker = start()
    run_id = waiting(control, thread)
    control.answer(run_id, "yes")
    control.until(run_id, "completed")
    delivery = control.client.get(f"/api/v1/runs/{run_id}").json()["delivery"]
    assert delivery["complete"] is True
    [client] = delivery["clients"]
    assert client["client_id"] == f"{worker.worker_id}:1"
    # Two deltas, a call and its result, a checkpoint, a question, an acknowledgement, the end.
    assert (client["received"], client["highest"]) == (8, 8)


def claimed_unknowingly(control: Control, thread: str, worker: WorkerProcess) -> str:
    """A run that the server has given to a worker which does not know: its claim's reply was lost on the way."""
    body = {"input": "go", "agent": "researcher", "labels": {"nobody": "has"}}
    run_id = str(control.client.post(f"/v1/threads/{thread}/runs", json=body).json()["run_id"])
    claim = {"worker_id": worker.worker_id, "lease_seconds": 60}
    assert control.client.post(f"/api/agents/runs/{run_id}/claim", json=claim).status_code == 200
    return run_id


def test_a_claim_whose_reply_was_lost_is_taken_up(tmp_path_factory, thread, start) -> None:
    server = Server(tmp_path_factory.mktemp("own") / "data", NO_LIMITS)
    try:
        server.start()
        control = Control(server.client())
        worker = start(beside=server, key=ADMIN_KEY)
        run_id = claimed_unknowingly(control, thread, worker)
        server.kill()
        wait_until(lambda: "server unreachable" in worker.log, "the worker to miss its server")
        server.start()
        assert control.until(run_id, "waiting_for_input")["attempt"] == 1
    finally:
        server.close()


def test_a_worker_that_goes_leaves_no_claim_behind(control, thread, start) -> None:
    worker = start()
    run_id = claimed_unknowingly(control, thread, worker)
    assert worker.stop() == 0
    assert control.detail(run_id)["status"] == "queued"
