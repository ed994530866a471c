"""Runs of real workers, steered over HTTP: pause, resume, kill, the stages of a cancel, personas, retry and fork."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.sdk.worker_process import Control, WorkerProcess
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until

CANCEL_DEADLINE_S = 5
"""After this a cancel is forced: what obeys must have done so before, on a busy machine too."""
Start = Callable[..., WorkerProcess]


@pytest.fixture(scope="module")
def steered(tmp_path_factory) -> Iterator[Server]:
    """One server for this module's workers."""
    settings = {**NO_LIMITS, "TOWERLOG_CANCEL_DEADLINE_SECONDS": str(CANCEL_DEADLINE_S)}
    with Server(tmp_path_factory.mktemp("steered") / "data", settings) as one:
        yield one


@pytest.fixture
def key(steered) -> str:
    """The key of an organisation of this test's own: what it leaves in the queue is nobody else's work."""
    return steered.make_org(f"org-{uuid4().hex[:8]}")[1]


@pytest.fixture
def control(steered, key) -> Control:
    return Control(steered.client(key))


@pytest.fixture
def start(steered, key, tmp_path) -> Iterator[Start]:
    """Starts workers that end with the test."""
    made: list[WorkerProcess] = []

    def begin(*options: str, key: str | None = key) -> WorkerProcess:
        made.append(WorkerProcess(steered, key, tmp_path / f"worker-{len(made)}", *options))
        return made[-1]

    yield begin
    for one in made:
        one.kill()


def steer(control: Control, run_id: str, verb: str, **members: Any) -> dict[str, Any]:
    """One act of the native API that must go well; the run afterwards."""
    reply = control.client.post(f"/api/v1/runs/{run_id}:{verb}", json=members)
    assert reply.status_code in (200, 201), reply.text
    run: dict[str, Any] = reply.json()
    return run


def speaking(control: Control, start: Start, agent: str) -> str:
    """A run whose agent says `tick` again and again."""
    start("--lease-seconds", "1")
    run_id = control.create("t", agent)
    control.until_says(run_id, "tick ")
    return run_id


STORY = [
    ("run.pause_requested", None),
    ("command.delivered", "pause"),
    ("command.acknowledged", "pause"),
    ("run.paused", None),
    ("run.resume_requested", None),
    ("command.delivered", "resume"),
    ("command.acknowledged", "resume"),
    ("run.resumed", None),
]


@pytest.mark.parametrize("agent", ["pausing", "checking"])
def test_a_run_is_paused_and_goes_on_where_it_was(control, start, agent) -> None:
    run_id = speaking(control, start, agent)
    assert steer(control, run_id, "pause", reason="lunch")["status"] == "running", "it is paused when its agent is"
    lease = control.until(run_id, "paused")["lane"]["lease_expires_at"]
    wait_until(lambda: control.detail(run_id)["lane"]["lease_expires_at"] > lease, "the pause to keep the lease")
    steer(control, run_id, "resume")
    # The acknowledgement alone makes it `running`; the agent's own word comes after it.
    resumed = wait_until(lambda: control.events(run_id, "run.resumed"), "the agent to resume")[0]["seq"]
    assert control.detail(run_id)["status"] == "running"
    wait_until(lambda: control.events(run_id, "message.delta")[-1]["seq"] > resumed, "the agent to go on")
    told = control.events(run_id, *{kind for kind, _ in STORY})
    assert [(event["type"], event["data"].get("type")) for event in told] == STORY
    paused = control.events(run_id, "run.paused")[0]["seq"]
    between = [event["type"] for event in control.events(run_id) if paused < event["seq"] < resumed]
    assert "message.delta" not in between
    assert control.detail(run_id)["attempt"] == 1


@pytest.mark.parametrize("agent", ["pausing", "checking"])
def test_a_paused_run_is_cancelled_without_being_resumed(control, start, agent) -> None:
    run_id = speaking(control, start, agent)
    steer(control, run_id, "pause")
    control.until(run_id, "paused")
    control.cancel(run_id)
    detail = control.until(run_id, "cancelled")
    assert detail["forced"] is False
    assert control.events(run_id, "run.resumed") == []


def test_a_killed_run_ends_at_once_and_its_worker_learns_of_it(control, start) -> None:
    worker = start("--lease-seconds", "2")
    run_id = control.create("t", "deaf")
    control.until_says(run_id, "deaf")
    killed = steer(control, run_id, "kill", reason="on fire")
    assert (killed["status"], killed["forced"], killed["lane"]["state"]) == ("cancelled", True, "done")
    assert control.detail(run_id)["cancel"]["reason"] == "on fire"
    wait_until(lambda: "lease lost" in worker.log, "the worker to learn of it")
    assert control.events(run_id)[-1]["type"] == "run.cancelled", "a late word is kept beside the run, not in it"
    # Its slot is free for others.
    control.until(control.create("t2", "telling"), "completed")


def stages(detail: dict[str, Any]) -> list[str]:
    """The stages that a cancel has come through, by their times."""
    times = {name.removesuffix("_at"): at for name, at in detail["cancel"].items() if name.endswith("_at") and at}
    assert sorted(times.values()) == list(times.values()), times
    return list(times)


def test_the_stages_of_a_cancel_are_seen_one_after_the_other(control, start) -> None:
    start()
    run_id = control.create("t", "deaf")
    control.until_says(run_id, "deaf")
    assert control.detail(run_id)["cancel"] is None
    control.cancel(run_id)
    assert stages(control.detail(run_id))[0] == "requested"
    wait_until(lambda: stages(control.detail(run_id))[:3] == ["requested", "delivered", "acknowledged"], "the stages")
    detail = control.until(run_id, "cancelled")
    assert stages(detail) == ["requested", "delivered", "acknowledged", "forced"]
    told = ["run.cancel_requested", "command.delivered", "command.acknowledged", "run.cancelled"]
    assert [event["type"] for event in control.events(run_id, *told)] == told


def test_a_cancel_that_is_obeyed_ends_as_stopped(control, start) -> None:
    start()
    run_id = control.create("t", "polite")
    control.until_says(run_id, "waiting")
    control.cancel(run_id)
    detail = control.until(run_id, "cancelled")
    assert stages(detail) == ["requested", "delivered", "acknowledged", "stopped"]
    assert control.client.get(f"/api/v1/runs/{run_id}").json()["cancel"] == detail["cancel"]


def test_an_agent_gets_its_persona_and_its_route(control, start) -> None:
    persona = {
        "persona_key": "teller",
        "version": "1",
        "agent": "telling",
        "instructions": "Brief.",
        "tools": ["ls"],
    }
    route = {"route_id": "fast", "provider": "p", "model": "m", "base_url": "https://m.example", "key_env": "M_KEY"}
    for path, members in (("personas", persona), ("personas", persona | {"version": "2"}), ("routes", route)):
        assert control.client.post(f"/api/v1/{path}", json=members).status_code == 201
    start()
    body = {"input": "go", "persona_id": "teller", "route_id": "fast"}
    run_id = control.client.post("/v1/threads/t/runs", json=body).json()["run_id"]
    assert control.until(run_id, "completed")["persona_id"] == "teller@2"
    [end] = control.events(run_id, "run.completed")
    result = end["data"]["result"]
    assert {name: result["persona"][name] for name in persona} == persona | {"version": "2"}
    assert result["persona"]["persona_id"] == "teller@2"
    assert result["route"] == route
    assert (result["agent"], result["input"]) == ("telling", "go")


def test_a_run_without_a_persona_or_a_route_has_none(control, start) -> None:
    start()
    run_id = control.create("t", "telling")
    control.until(run_id, "completed")
    result = control.events(run_id, "run.completed")[0]["data"]["result"]
    assert (result["persona"], result["route"]) == (None, None)


def test_a_fork_goes_on_from_its_checkpoint_and_a_retry_from_nothing(control, start) -> None:
    start()
    run_id = control.create("t", "stepping", "the question")
    assert "after two steps" in control.until(run_id, "failed")["error"]
    forked = steer(control, run_id, "fork", step_index=1)["run_id"]
    detail = control.until(forked, "completed")
    assert detail["forked_from"]["run_id"] == run_id
    assert control.events(forked, "run.completed")[0]["data"]["result"] == {
        "input": "the question",
        "resume": {"step_index": 1, "history": ["one"], "state": {"done": 1}},
    }
    again = steer(control, run_id, "retry")["run_id"]
    assert control.until(again, "failed")["retry_of"] == run_id
    steps = [event["data"]["step_index"] for event in control.events(again, "checkpoint")]
    assert steps == [1, 2], "a retry begins anew"


def test_a_worker_beside_its_server_needs_no_key_and_neither_do_the_runs_in_it(steered, start) -> None:
    control = Control(steered.client())
    start(key=None)
    run_id = control.create(f"thread-{uuid4().hex[:8]}", "nesting")
    control.until(run_id, "completed")
    assert control.events(run_id, "run.completed")[0]["data"] == {"result": True}
    [child] = control.client.get(f"/api/v1/runs/{run_id}").json()["children"]
    assert (child["agent"], child["status"]) == ("nested", "completed")
    keys = control.client.get("/api/v1/keys").json()["data"]
    assert [one["scopes"] for one in keys if one["name"] == "towerlog worker"] == [["ingest", "worker"]]


def test_a_thread_is_a_conversation_of_its_runs_but_not_of_their_children(control, start) -> None:
    # A worker's key may read no thread: what it needs comes with its claim.
    minted = control.client.post("/api/v1/keys", json={"name": "w", "scopes": ["ingest", "worker"]})
    start(key=minted.json()["key"])

    def told(text: str, **members: Any) -> Any:
        body = {"agent": "historian", "input": text, **members}
        run_id = control.client.post("/v1/threads/talk/runs", json=body).json()["run_id"]
        control.until(run_id, "failed" if text == "fail" else "completed")
        return run_id, control.detail(run_id)["result"]

    first, before = told("one")
    assert before == []
    assert told("child", parent_run_id=first)[1] == []
    assert told("two")[1] in ([{"said": "one"}], [{"said": "child"}])
    latest = control.client.get("/v1/runners/threads/talk/latest").json()
    assert (latest["status"], latest["history"][-1]) == ("completed", {"said": "two"})
    told("fail")
    assert control.client.get("/v1/runners/threads/talk/latest").json()["status"] == "error"
