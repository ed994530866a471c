"""Steering over the native API, and what the steered agents are told in each of their own dialects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.conversation import HandClock
from tests.dialects.native.feeds import newest_run, tell
from towerlog.asgi.app import App

ABSENT = "0189d3f0-0000-7000-8000-00000000dead"
MEMBERS = ["requested_at", "delivered_at", "acknowledged_at", "stopped_at", "forced_at", "reason"]


async def do(say: Any, run_id: str, act: str, value: Any = None) -> Any:
    """One act of control, which must go well; the run."""
    reply = await say("POST", f"/api/v1/runs/{run_id}:{act}", value=value)
    assert reply.status == 200, reply.body
    return reply.json


async def cancel(say: Any, run_id: str) -> None:
    reply = await say("POST", f"/v1/runs/{run_id}:cancel")
    assert reply.status == 200, reply.body


async def shown(say: Any, run_id: str) -> Any:
    """The run, which both ways of asking show the same."""
    native = (await say("GET", f"/api/v1/runs/{run_id}")).json
    foreign = (await say("GET", f"/v1/runs/{run_id}")).json
    for member in ("status", "cancel", "liveness"):
        assert native[member] == foreign[member]
    return native


async def types_of(say: Any, run_id: str) -> list[str]:
    events = (await say("GET", f"/api/v1/runs/{run_id}/events?limit=100")).json["data"]
    return [event["type"] for event in events]


# One agent a dialect: it begins, it speaks, it takes the cancel, it stops.


class Steps:
    """An SDK."""

    acknowledges = False

    async def begin(self, say: Any) -> str:
        await tell(say, "sdk", "run_start")
        return await newest_run(say, "sdk")

    async def speak(self, say: Any, kind: str = "step", payload: Any = None) -> list[Any]:
        event = {"event_type": kind, "sdk_run_id": "sdk", "payload": payload or {}}
        commands: list[Any] = (await say("POST", "/api/ingest", value=event)).json.get("commands", [])
        return commands

    async def stop(self, say: Any) -> None:
        await self.speak(say, "run_end")


class Runner:
    """A runner of snapshots."""

    acknowledges = True

    async def begin(self, say: Any) -> str:
        await self.speak(say, "thread_started")
        return await newest_run(say, "th")

    async def speak(self, say: Any, kind: str = "budget_warning", **data: Any) -> list[Any]:
        event = {"type": kind, "data": {"thread_id": "th", "trace_id": "tr", **data}}
        commands: list[Any] = (await say("POST", "/v1/runners/events", value={"events": [event]})).json.get(
            "commands", []
        )
        return commands

    async def acknowledge(self, say: Any, command_id: int) -> None:
        await self.speak(say, "command_acknowledged", command_id=command_id)

    async def stop(self, say: Any) -> None:
        await self.speak(say, "thread_completed")


class Worker:
    """A worker with a lease."""

    acknowledges = True
    run_id = ""

    async def begin(self, say: Any) -> str:
        self.run_id = (await say("POST", "/v1/threads/lane/runs", value={})).json["run_id"]
        await say("POST", "/api/agents/runs/claim", value={"worker_id": "w", "lease_seconds": 3600})
        return self.run_id

    async def speak(self, say: Any, *events: Any) -> list[Any]:
        body = {"worker_id": "w", "events": list(events)}
        reply = await say("POST", f"/api/agents/runs/{self.run_id}/events", value=body)
        commands: list[Any] = reply.json["run"]["commands"]
        return commands

    async def acknowledge(self, say: Any, command_id: int) -> None:
        await self.speak(say, {"type": "command.acknowledged", "payload": {"command_id": command_id}})

    async def stop(self, say: Any) -> None:
        await self.speak(say, {"type": "run.cancelled", "payload": {}})


@pytest.mark.parametrize("agent", [Steps(), Runner(), Worker()], ids=lambda agent: type(agent).__name__)
async def test_every_dialect_shows_the_stages_of_a_cancel(say: Any, clock: HandClock, agent: Any) -> None:
    run_id = await agent.begin(say)
    assert (await shown(say, run_id))["cancel"] is None
    expected: dict[str, str | None] = dict.fromkeys(MEMBERS)

    async def stage(name: str) -> None:
        run = await shown(say, run_id)
        new = {member for member in MEMBERS if expected[member] is None and run["cancel"][member] is not None}
        assert new == {name}, run["cancel"]
        expected[name] = run["cancel"][name]
        assert run["cancel"] == expected, "an earlier stage keeps its time"
        clock.move(1)

    await cancel(say, run_id)
    await stage("requested_at")
    [command] = await agent.speak(say)
    assert command["type"] == "cancel"
    await stage("delivered_at")
    assert [one["command_id"] for one in await agent.speak(say)] == [command["command_id"]], "told until it is taken"
    if agent.acknowledges:
        await agent.acknowledge(say, command["command_id"])
        await stage("acknowledged_at")
        assert await agent.speak(say) == []
    await agent.stop(say)
    await stage("stopped_at")
    times = [expected[member] for member in MEMBERS if expected[member] is not None]
    assert times == sorted(times)
    assert (await types_of(say, run_id)).count("command.delivered") == 1


async def test_the_stages_of_a_cancel_are_by_the_servers_clock(say: Any, clock: HandClock) -> None:
    """The agent's own is a minute behind."""
    began_ms = clock.ms - 60_000

    async def send(number: int, kind: str) -> str:
        event = {
            "event_id": f"e{number}",
            "client_seq": number,
            "run_key": "late",
            "type": kind,
            "time": began_ms + number,
        }
        reply = await say("POST", "/api/v1/events", value={"client_id": "c", "events": [event | {"data": {}}]})
        assert reply.json["results"][0]["status"] == "stored", reply.body
        return str(reply.json["results"][0]["run_id"])

    run_id = await send(1, "run.started")
    await cancel(say, run_id)
    await send(2, "run.cancelled")
    stages = (await shown(say, run_id))["cancel"]
    assert stages["stopped_at"] >= stages["requested_at"]


async def test_the_claim_that_finds_a_wish_delivers_it(say: Any) -> None:
    worker = Worker()
    run_id = (await say("POST", "/v1/threads/lane/runs", value={})).json["run_id"]
    await do(say, run_id, "pause")
    assert "command.delivered" not in await types_of(say, run_id)
    claimed = await say("POST", "/api/agents/runs/claim", value={"worker_id": "w"})
    assert [one["type"] for one in claimed.json["run"]["commands"]] == ["pause"]
    worker.run_id = run_id
    assert [one["type"] for one in await worker.speak(say)] == ["pause"]
    assert (await types_of(say, run_id)).count("command.delivered") == 1


async def test_a_reply_that_carries_no_commands_delivers_none(say: Any) -> None:
    agent_id = (await say("POST", "/api/v1/agents", value={"name": "a"})).json["agent_id"]
    event = {
        "timestamp": "2026-01-02T03:04:05.678Z", "type": "command_start", "tool": "shell", "input_summary": "ls",
        "output_summary": "", "duration_ms": 1, "success": True, "metadata": {},
    }  # fmt: skip
    assert (await say("POST", f"/agents/{agent_id}/events", value=event)).status < 300
    run_id = await newest_run(say, agent_id)
    await cancel(say, run_id)
    await say("POST", f"/agents/{agent_id}/events", value={**event, "type": "command_complete"})
    assert "command.delivered" not in await types_of(say, run_id)
    assert (await shown(say, run_id))["cancel"]["delivered_at"] is None


async def test_a_cancel_is_shown_as_other_acts_are(say: Any) -> None:
    worker = Worker()
    run_id = await worker.begin(say)
    run = await do(say, run_id, "cancel", {"reason": "lunch"})
    assert (run["run_id"], run["status"], run["cancel"]["reason"]) == (run_id, "cancelling", "lunch")
    assert run.keys() >= (await shown(say, run_id)).keys() - {"unserved", "busy_worker", "children"}
    assert [(one["type"], one["content"]) for one in await worker.speak(say)] == [("cancel", "lunch")]


async def test_a_worker_pauses_and_goes_on(say: Any) -> None:
    worker = Worker()
    run_id = await worker.begin(say)
    run = await do(say, run_id, "pause", {"reason": "lunch"})
    assert (run["run_id"], run["status"], run["lane"]["worker_id"]) == (run_id, "running", "w")
    assert run.keys() >= (await shown(say, run_id)).keys() - {"unserved", "busy_worker", "children"}
    await do(say, run_id, "pause")
    assert [one["type"] for one in await worker.speak(say)] == ["pause"], "asked for once"
    await worker.speak(say, {"type": "run.paused", "payload": {}})
    assert (await shown(say, run_id))["status"] == "paused"
    assert await worker.speak(say) == []
    assert (await do(say, run_id, "resume"))["status"] == "paused"
    assert [one["type"] for one in await worker.speak(say)] == ["resume"]
    await worker.speak(say, {"type": "run.resumed", "payload": {}})
    assert (await shown(say, run_id))["status"] == "running"
    assert await worker.speak(say) == []
    assert (await do(say, run_id, "resume"))["status"] == "running", "it goes on already"


async def test_a_kill_is_final(say: Any) -> None:
    worker = Worker()
    run_id = await worker.begin(say)
    run = await do(say, run_id, "kill", {"reason": "on fire"})
    assert (run["status"], run["forced"], run["lane"]["state"]) == ("cancelled", True, "done")
    assert run["cancel"]["reason"] == "on fire"
    assert run["cancel"]["forced_at"] == run["ended_at"]
    assert run["forced"] is True
    assert {**run, "unserved": False, "busy_worker": None, "children": []} == await shown(say, run_id)
    assert (await do(say, run_id, "kill"))["ended_at"] == run["ended_at"]
    reply = await say("POST", f"/api/agents/runs/{run_id}/events", value={"worker_id": "w", "events": []})
    assert (reply.status, reply.json["code"]) == (409, "LEASE_LOST")
    for act in ("pause", "resume"):
        assert (await say("POST", f"/api/v1/runs/{run_id}:{act}")).status == 409


async def test_what_has_ended_otherwise_cannot_be_killed(say: Any) -> None:
    agent = Steps()
    run_id = await agent.begin(say)
    await agent.stop(say)
    assert (await say("POST", f"/api/v1/runs/{run_id}:kill")).status == 409


@pytest.mark.parametrize("act", ["pause", "resume", "kill"])
async def test_who_asks_wrongly_is_told_so(say: Any, act: str) -> None:
    run_id = await Steps().begin(say)
    path = f"/api/v1/runs/{run_id}:{act}"
    assert (await say("POST", f"/api/v1/runs/{ABSENT}:{act}")).status == 404
    assert (await say("POST", f"/api/v1/runs/nonsense:{act}")).status == 404
    for body in ({"reason": 5}, {"reason": "r" * 1000}):
        assert (await say("POST", path, value=body)).status == 422
    assert (await say("POST", path, key=None)).status == 401
    made = await say("POST", "/api/v1/keys", value={"name": "reader", "scopes": ["read", "ingest", "worker"]})
    assert (await say("POST", path, key=made.json["key"])).status == 403
    assert (await say("POST", f"/api/v1/runs/{run_id}:explode")).status == 404


async def test_a_repeated_request_acts_once(say: Any) -> None:
    run_id = await Worker().begin(say)
    headers = {"Idempotency-Key": "k"}
    first = await say("POST", f"/api/v1/runs/{run_id}:pause", headers=headers)
    again = await say("POST", f"/api/v1/runs/{run_id}:pause", headers=headers)
    assert (first.status, again.body) == (200, first.body)
    assert (await types_of(say, run_id)).count("run.pause_requested") == 1


async def test_liveness_is_shown_as_it_is_at_that_moment(say: Any, clock: HandClock, app: App) -> None:
    run_id = await Steps().begin(say)
    began = (await shown(say, run_id))["liveness"]
    assert (began["verdict"], began["process_at"], began["output_at"]) == ("alive", began["progress_at"], None)
    clock.move(900)
    assert (await shown(say, run_id))["liveness"] == {**began, "verdict": "silent"}
    listed = (await say("GET", "/api/v1/runs")).json["data"]
    assert [row["liveness"]["verdict"] for row in listed] == ["silent"]
    await Steps().stop(say)
    assert (await shown(say, run_id))["liveness"]["verdict"] is None


async def test_a_workers_heartbeat_shows_that_its_process_is_there(say: Any, clock: HandClock) -> None:
    worker = Worker()
    run_id = await worker.begin(say)
    began = (await shown(say, run_id))["liveness"]
    clock.move(900)
    await worker.speak(say)
    found = (await shown(say, run_id))["liveness"]
    assert (found["verdict"], found["progress_at"]) == ("stalled", began["progress_at"])
    assert found["process_at"] > began["process_at"]
