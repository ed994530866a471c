"""Rights inside an organisation over HTTP: every way to speak about a run, under a key that does not hold it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import (
    Json,
    activity_of,
    claim,
    create_run,
    detail,
    ended,
    log_of,
    ok,
    push,
    report,
    run_stream,
    snapshot,
    started,
    step,
)
from tests.acceptance.test_lanes_wire import refused
from tests.support.senders import runner_event, sdk_event

SECRET = "the launch code is 0000"


class Held:
    """A run that one key holds, and a stranger's key of the same organisation."""

    def __init__(self, client: httpx2.Client, server: Any, thread: str) -> None:
        created = create_run(client, thread, agent="researcher")
        self.run_id, self.trace_id, self.thread = created["run_id"], created["trace_id"], thread
        self.client = client
        self.holder = server.client(server.make_key("worker", "ingest"))
        self.stranger = server.client(server.make_key("worker", "ingest"))
        claim(self.holder, self.run_id, "w")

    def events(self) -> list[Json]:
        """The run's log as the native API shows it."""
        page: list[Json] = ok(self.client.get(f"/api/v1/runs/{self.run_id}/events", params={"limit": 1000}))["data"]
        return page


@pytest.fixture
def held(client, server, unique) -> Held:
    return Held(client, server, unique("thread"))


def by_steps(event_type: str, **payload: Any) -> Callable[[Held], tuple[str, Json]]:
    return lambda held: ("/api/ingest", sdk_event(event_type, held.run_id, payload))


def by_checkpoints(event: Callable[[Held], Json]) -> Callable[[Held], tuple[str, Json]]:
    return lambda held: ("/v1/runners/events", {"events": [event(held)]})


def native(type_: str, **data: Any) -> Callable[[Held], tuple[str, Json]]:
    event = {"event_id": f"x-{type_}", "client_seq": 1, "type": type_, "data": data}
    return lambda held: (
        "/api/v1/events",
        {"client_id": "stranger", "events": [{**event, "run_key": held.run_id}], "runs": [held.run_id]},
    )


def forged(held: Held) -> Json:
    """A state for the next attempt to go on from."""
    message = {"role": "user", "content": "forged"}
    return snapshot(held.thread, held.trace_id, 9, [message], status="waiting_for_approval")


WORDS: dict[str, Callable[[Held], tuple[str, Json]]] = {
    "steps run_start": by_steps("run_start"),
    "steps run_end": by_steps("run_end"),
    "steps error": by_steps("error", error_message="no"),
    "steps human_input_requested": by_steps("human_input_requested", question="which?"),
    "steps human_input_received": by_steps("human_input_received", response="that"),
    "checkpoints thread_started": by_checkpoints(lambda held: started(held.thread, held.trace_id)),
    "checkpoints checkpoint": by_checkpoints(forged),
    "checkpoints thread_completed": by_checkpoints(lambda held: ended(held.thread)),
    "checkpoints thread_error": by_checkpoints(lambda held: ended(held.thread, "thread_error", error="no")),
    "checkpoints thread_budget_exceeded": by_checkpoints(lambda held: ended(held.thread, "thread_budget_exceeded")),
    "checkpoints thread_idle": by_checkpoints(lambda held: runner_event("thread_idle", held.thread, held.trace_id)),
    **{
        f"native {type_}": native(type_)
        for type_ in (
            "run.started", "run.completed", "run.failed", "run.cancelled", "run.paused", "run.resumed",
            "run.waiting_for_input", "run.question_withdrawn", "budget.exceeded", "command.acknowledged",
        )
    },
    "native command.acknowledged, named": native("command.acknowledged", command_id=4),
}  # fmt: skip
"""Every way to say that something is to change in a run, by dialect and type."""


@pytest.mark.parametrize("path", ["/api/agents/runs/{}/events", "/api/v1/runs/{}:report"])
def test_a_report_is_told_what_of_it_was_foreign_when_it_came_first(client, server, unique, path) -> None:
    """It was told before its sender held the run, and is a repeat now: nothing came of it."""
    run_id = create_run(client, unique("thread"))["run_id"]
    worker = server.client(server.make_key("worker", "ingest"))
    item = {"event_id": "e1", "client_seq": 1, "type": "run.paused", "data": {}}
    batch = {"client_id": "c", "events": [item | {"run_key": run_id}]}
    [warning] = ok(worker.post("/api/v1/events", json=batch))["warnings"]
    claim(worker, run_id, "w")
    events = [{"type": "run.paused", "id": "e1", "payload": {}}] if "agents" in path else [item]
    reply = ok(worker.post(path.format(run_id), json={"worker_id": "w", "lease_epoch": 1, "events": events}))
    assert reply["warnings"] == [warning]
    assert detail(client, run_id)["status"] == "running"


@pytest.mark.parametrize("word", WORDS)
def test_a_strangers_word_is_stored_and_changes_nothing(held, word) -> None:
    client, run_id = held.client, held.run_id
    report(held.holder, run_id, "w", {"type": "run.waiting_for_input", "payload": {"question": "who?"}})
    ok(client.post(f"/v1/runs/{run_id}/input", json={"content": SECRET}))
    ok(client.post(f"/api/v1/runs/{run_id}:pause"))
    before, logged = detail(client, run_id), held.events()
    path, body = WORDS[word](held)
    reply = held.stranger.post(path, json=body)
    told = ok(reply)
    assert SECRET not in reply.text
    [warning] = [one for one in told["warnings"] if "foreign" in one["message"]]
    is_single = path == "/api/ingest"
    assert (warning["field"], warning.get("index")) == (("event_type", None) if is_single else ("type", 0))
    kept = held.events()[len(logged) :]
    assert [(event["type"], event["foreign"]) for event in kept] == [("other", True)]
    assert not any(event["foreign"] for event in logged)
    after = detail(client, run_id)
    moving = ("updated_at", "last_event_at", "last_seq", "liveness", "delivery")
    assert {name: after[name] for name in after if name not in moving} == {
        name: before[name] for name in before if name not in moving
    }
    assert ok(client.get("/approvals")) == [] or run_id not in client.get("/approvals").text
    # The holder is told of all that is wanted still, and its end counts.
    commands = report(held.holder, run_id, "w")["commands"]
    assert [(one["type"], one.get("content")) for one in commands] == [("input", SECRET), ("pause", None)]
    ok(held.holder.post(f"/api/agents/runs/{run_id}/complete", json={"worker_id": "w", "result": 1}))
    assert detail(client, run_id)["status"] == "completed"


def test_a_watcher_does_not_take_a_strangers_end_for_the_end(server, held) -> None:
    with run_stream(server, held.run_id) as stream:
        step(held.stranger, held.run_id, "run_end")
        report(held.holder, held.run_id, "w", {"type": "message.delta", "payload": {"content": "still here"}})
        frames: list[Json] = []
        while not frames or frames[-1]["type"] != "message.delta":
            frame = stream.next_frame(30)
            frames += [frame.json] if frame.data is not None else []
    assert [frame["type"] for frame in frames][-2:] == ["other", "message.delta"]
    assert frames[-2]["data"] == {"name": "run.completed", "payload": {}}


def test_a_strangers_state_is_not_what_the_next_attempt_goes_on_from(held) -> None:
    ok(held.stranger.post("/v1/runners/events", json={"events": [forged(held)]}))
    ok(held.holder.post(f"/api/agents/runs/{held.run_id}/release", json={"worker_id": "w"}))
    assert claim(held.stranger, held.run_id, "w2")["checkpoint"] is None
    assert held.client.get(f"/v1/runners/threads/{held.thread}/latest").status_code == 404


def test_telemetry_of_a_stranger_counts(held) -> None:
    step(held.stranger, held.run_id, "step", {"node_name": "search"})
    call = native("model.call", model="m", input_tokens=3, output_tokens=4, cost_usd=0.5)
    path, body = call(held)
    told = ok(held.stranger.post(path, json=body))
    assert "warnings" not in told
    assert detail(held.client, held.run_id)["total_input_tokens"] == 3
    assert not any(event["foreign"] for event in held.events())


@pytest.mark.parametrize("event_type", ["step", "run_start"])
def test_a_stranger_does_not_name_the_agent_of_a_held_run(client, server, unique, event_type) -> None:
    run_id = create_run(client, unique("thread"))["run_id"]
    holder, stranger = (server.client(server.make_key("worker", "ingest")) for _ in range(2))
    claim(holder, run_id, "w")
    before = detail(client, run_id)["agent_id"]
    told = step(stranger, run_id, event_type, agent_name="not-yours")
    assert ["foreign" in one["message"] for one in told["warnings"]] == [True]
    assert detail(client, run_id)["agent_id"] == before
    step(holder, run_id, event_type, agent_name="mine")
    assert detail(client, run_id)["agent_id"] != before
    assert log_of(client, run_id)[-2]["type"] == ("step" if event_type == "step" else "other")


def test_what_a_strangers_end_has_cost_counts(held) -> None:
    step(held.stranger, held.run_id, "run_end", {"prompt_tokens": 30, "completion_tokens": 12})
    row = detail(held.client, held.run_id)
    assert (row["status"], row["total_input_tokens"], row["total_output_tokens"]) == ("running", 30, 12)


@pytest.mark.parametrize("act", ["events", "release", "complete", "fail", "claim"])
def test_the_holders_name_is_no_key(held, act) -> None:
    before = log_of(held.client, held.run_id)
    body: Json = {"worker_id": "w"} | ({} if act == "claim" else {"lease_epoch": 1})
    reply = held.stranger.post(f"/api/agents/runs/{held.run_id}/{act}", json=body)
    refused(reply, 409, "ALREADY_CLAIMED" if act == "claim" else "LEASE_LOST")
    native_report = {"worker_id": "w", "lease_epoch": 1, "events": []}
    assert held.stranger.post(f"/api/v1/runs/{held.run_id}:report", json=native_report).status_code == 409
    assert log_of(held.client, held.run_id) == before
    report(held.holder, held.run_id, "w", lease_epoch=1)


def test_worker_ids_and_answers_are_for_readers_and_their_own_key(held, server) -> None:
    ok(held.client.post(f"/v1/runs/{held.run_id}/input", json={"content": SECRET}))

    def seen(client: httpx2.Client) -> tuple[bool, bool, bool]:
        workers = client.get("/api/agents/workers", params={"worker_id": "w", "limit": 200})
        lanes = ok(client.get("/api/agents/runs", params={"state": "claimed", "limit": 200}))["data"]
        [mine] = [lane for lane in lanes if lane["id"] == held.run_id]
        names = [run_id for worker in ok(workers)["data"] for run_id in worker["runs"]]
        return held.run_id in names, mine["worker_id"] == "w", [one["content"] for one in mine["commands"]] == [SECRET]

    assert seen(held.holder) == seen(server.client(server.make_key("read"))) == seen(held.client) == (True,) * 3
    assert seen(held.stranger) == (False,) * 3
    assert held.stranger.get("/api/v1/workers").status_code == 403


TELLING: dict[str, Callable[[str], tuple[str, Json]]] = {
    "steps": lambda name: ("/api/ingest", sdk_event("step", name)),
    "checkpoints": lambda name: ("/v1/runners/events", {"events": [runner_event("heartbeat", name, name)]}),
    "native": lambda name: ("/api/v1/events", {"client_id": "c", "events": [], "runs": [name]}),
}


@pytest.mark.parametrize("dialect", TELLING)
def test_an_answer_reaches_the_key_that_reports_the_run_and_no_other(client, server, unique, dialect) -> None:
    name = unique("run")
    reporter, stranger = (server.client(server.make_key("ingest")) for _ in range(2))
    first = {
        "steps": ("/api/ingest", sdk_event("run_start", name)),
        "checkpoints": ("/v1/runners/events", {"events": [started(name, name)]}),
        "native": (
            "/api/v1/events",
            {
                "client_id": "c",
                "events": [{"event_id": "1", "client_seq": 1, "run_key": name, "type": "run.started", "data": {}}],
            },
        ),
    }
    path, body = first[dialect]
    ok(reporter.post(path, json=body))
    [run] = ok(client.get("/v1/runs", params={"thread_id": name}))
    ok(client.post(f"/v1/runs/{run['run_id']}/input", json={"content": SECRET}))
    path, body = TELLING[dialect](name)
    for who in (stranger, reporter, stranger):
        reply = who.post(path, json=body)
        ok(reply)
        assert (SECRET in reply.text) == (who is reporter)


def test_a_container_event_of_another_key_is_telemetry(held) -> None:
    agent_id = str(held.client.get(f"/api/v1/runs/{held.run_id}").json()["agent_id"])
    push(held.stranger, agent_id, {"id": "5f7e1a34-0000-4000-8000-000000000001", "timestamp": "2026-01-02T03:04:05Z",
                                   "type": "command_start", "tool": "shell", "input_summary": "ls"})  # fmt: skip
    assert detail(held.client, held.run_id)["status"] == "running"
    assert "ls" in [event["input_summary"] for event in activity_of(held.client, agent_id)]


def test_a_result_that_comes_too_late_is_refused_and_kept(held) -> None:
    path = f"/api/agents/runs/{held.run_id}/complete"
    body = {"worker_id": "w", "result": {"stars": 9096}}
    for _ in range(2):
        ok(held.holder.post(path, json=body))
    refused(held.holder.post(path, json=body | {"result": {"stars": 1}}), 409, "RUN_ENDED")
    refused(held.holder.post(path.replace("complete", "fail"), json={"worker_id": "w"}), 409, "RUN_ENDED")
    kept = ok(held.client.get(f"/api/v1/runs/{held.run_id}/quarantine"))["data"]
    assert [event["data"] for event in kept] == [{"result": {"stars": 1}}, {"error": None}]


def test_a_result_after_a_kill_is_refused_and_kept(held) -> None:
    ok(held.client.post(f"/api/v1/runs/{held.run_id}:kill"))
    body = {"worker_id": "w", "result": "all that work"}
    refused(held.holder.post(f"/api/agents/runs/{held.run_id}/complete", json=body), 409, "RUN_ENDED")
    kept = ok(held.client.get(f"/api/v1/runs/{held.run_id}/quarantine"))["data"]
    assert [event["data"] for event in kept] == [{"result": "all that work"}]


def test_a_worker_goes_on_under_the_key_that_replaces_its_revoked_one(client, server, unique) -> None:
    old, new = server.create_key("worker"), server.client(server.make_key("worker"))
    run_id = create_run(client, unique("thread"))["run_id"]
    claim(server.client(old["key"]), run_id, "w")
    path = f"/api/agents/runs/{run_id}/claim"
    refused(new.post(path, json={"worker_id": "w"}), 409, "ALREADY_CLAIMED")
    ok(client.delete(f"/api/v1/keys/{old['key_id']}"))
    again = claim(new, run_id, "w")["run"]
    assert (again["lease_epoch"], again["attempt"]) == (2, 1)
    report(new, run_id, "w", lease_epoch=2)
