"""A real server is killed at random moments under load from all five dialects; nothing acknowledged may be lost."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import (
    activity_of,
    claim,
    container_event,
    create_run,
    log_of,
    ok,
    snapshot,
    started,
    step,
)
from tests.support.readback import ReadBack
from tests.support.senders import checkpoint, ingest, push_activity, sdk_event, send_batch
from tests.support.server import Server
from tests.support.wait import wait_until

Json = dict[str, Any]

UNACKNOWLEDGED = "unacknowledged"
"""The label of a created run whose id nobody was told: a retry with the same key tells it."""


@dataclass
class Writer:
    """One sender: what it sent last, what was acknowledged, and what is uncertain because no answer came."""

    name: str
    send: Callable[[httpx2.Client, str], httpx2.Response]
    seen: Callable[[httpx2.Client], list[str]]
    acked: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)

    def run(self, client: httpx2.Client, stop: threading.Event) -> None:
        """Sends one labelled event after the other until the server is gone."""
        number = 0
        while not stop.is_set():
            label = f"{self.name}-{number}-{uuid.uuid4()}"
            number += 1
            try:
                reply = self.send(client, label)
            except httpx2.TransportError:
                self.uncertain.append(label)
                return
            assert reply.status_code in {200, 201}, f"{self.name}: {reply.status_code} {reply.text}"
            self.acked.append(label)

    def check(self, client: httpx2.Client) -> None:
        """Everything acknowledged is there once and in its order; a retry of the rest adds each exactly once."""
        before, known = self.seen(client), set(self.acked)
        assert [label for label in before if label in known] == self.acked, f"{self.name} lost or moved events"
        extra = [label for label in before if label not in known]
        assert set(extra) <= {*self.uncertain, UNACKNOWLEDGED}, f"{self.name} has events that nobody sent"
        assert len(extra) <= len(self.uncertain)
        for label in self.uncertain:
            assert self.send(client, label).status_code in {200, 201}
        after = self.seen(client)
        assert sorted(after) == sorted(self.acked + self.uncertain), f"{self.name} has duplicates after a retry"


def labels(client: httpx2.Client, run_id: str, kind: str, find: Callable[[Json], str]) -> list[str]:
    """The labels of a run's events of one type; the whole log must be dense."""
    events = log_of(client, run_id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return [find(event["data"]) for event in events if event["type"] == kind]


def steps_writer(client: httpx2.Client) -> Writer:
    """An SDK-instrumented agent."""
    sdk_run = f"sdk-{uuid.uuid4()}"
    step(client, sdk_run, "run_start", agent_name="killed-agent")
    run_id = ReadBack(client).run(sdk_run)["run_id"]
    return Writer(
        "steps",
        lambda c, label: ingest(c, sdk_event("step", sdk_run, {"node_name": label}, event_id=label)),
        lambda c: labels(c, run_id, "step", lambda data: str(data["node_name"])),
    )


def checkpoints_writer(client: httpx2.Client) -> Writer:
    """A runner; its label is the whole history, so that reconstruction is looked at too."""
    thread, trace = f"thread-{uuid.uuid4()}", "trace"
    assert send_batch(client, started(thread, trace)).status_code == 200
    run_id = ReadBack(client).run(thread)["run_id"]
    history: list[Json] = []

    def send(c: httpx2.Client, label: str) -> httpx2.Response:
        if not history or history[-1]["content"] != label:
            history.append({"role": "user", "content": label})
        return send_batch(c, snapshot(thread, trace, len(history), history) | {"event_id": label})

    def seen(c: httpx2.Client) -> list[str]:
        count = len(labels(c, run_id, "checkpoint", str))
        latest = ReadBack(c).latest(thread)
        kept = [message["content"] for message in latest.json()["history"]] if latest.status_code == 200 else []
        assert len(kept) == count, "as many checkpoints as turns"
        return kept

    return Writer("checkpoints", send, seen)


def activity_writer(client: httpx2.Client) -> Writer:
    """A container that pushes what it does."""
    name = f"agent-{uuid.uuid4()}"
    step(client, f"sdk-{uuid.uuid4()}", "run_start", agent_name=name)
    agent_id = ReadBack(client).agent_id(name)

    def send(c: httpx2.Client, label: str) -> httpx2.Response:
        event = container_event(id=str(uuid.uuid5(uuid.NAMESPACE_OID, label)), input_summary=label)
        return push_activity(c, agent_id, event)

    def seen(c: httpx2.Client) -> list[str]:
        return [event["input_summary"] for event in activity_of(c, agent_id, tail=5000) if event["tool"] == "shell"]

    return Writer("activity", send, seen)


def runs_writer(client: httpx2.Client) -> Writer:
    """An application that creates runs."""
    thread = f"thread-{uuid.uuid4()}"
    path = f"/v1/threads/{thread}/runs"
    made: dict[str, str] = {}

    def send(c: httpx2.Client, label: str) -> httpx2.Response:
        reply = c.post(path, json={"metadata": {"label": label}}, headers={"Idempotency-Key": label})
        if reply.status_code == 201:
            made[reply.json()["run_id"]] = label
        return reply

    def seen(c: httpx2.Client) -> list[str]:
        found: list[str] = []
        rows = [{"run_id": None}]
        while rows:
            cursor = {"before": rows[-1]["run_id"]} if found else {}
            rows = ok(c.get("/v1/runs", params={"thread_id": thread, "limit": 200, **cursor}))
            found += [row["run_id"] for row in rows]
        assert all(log_of(c, run_id)[0]["type"] == "run.queued" for run_id in found[:20])
        return [made.get(run_id, UNACKNOWLEDGED) for run_id in reversed(found)]

    return Writer("runs", send, seen)


def lanes_writer(client: httpx2.Client) -> Writer:
    """A worker that holds a run and reports."""
    run_id = create_run(client, f"thread-{uuid.uuid4()}")["run_id"]
    claim(client, run_id, "worker", lease_seconds=3600)

    def send(c: httpx2.Client, label: str) -> httpx2.Response:
        event = {"type": "message.delta", "payload": {"content": label}, "id": label}
        return c.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": "worker", "events": [event]})

    return Writer("lanes", send, lambda c: labels(c, run_id, "message.delta", lambda data: str(data["content"])))


ACKED_BEFORE_A_KILL = (20, 300)
"""How much is acknowledged, in all dialects, before a server is killed."""
MAKERS = [steps_writer, checkpoints_writer, activity_writer, runs_writer, lanes_writer]


def kill_once(server: Server, rng: random.Random) -> None:
    """Loads the server through all five dialects, kills it, verifies, restarts and compares."""
    client = server.client()
    writers = [make(client) for make in MAKERS]
    stop = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(server.client(), stop)) for writer in writers]
    for thread in threads:
        thread.start()
    wanted = rng.randrange(*ACKED_BEFORE_A_KILL)
    try:
        acked = "enough to be acknowledged"
        wait_until(lambda: sum(len(writer.acked) for writer in writers) >= wanted, acked, deadline_s=60)
        stop.wait(rng.uniform(0, 0.05))
    finally:
        server.kill()
        stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    done = server.cli_inside("verify")
    assert done.returncode == 0, done.stdout + done.stderr
    server.start()
    for writer in writers:
        writer.check(client)


def kill_loop(server: Server, seed: int, times: int) -> None:
    """Kills one server again and again over the same data."""
    rng = random.Random(seed)
    for _ in range(times):
        kill_once(server, rng)
    assert server.cli_inside("verify").returncode == 0


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_lose_nothing(fresh_server, times: int) -> None:
    kill_loop(fresh_server(), seed=times, times=times)


def test_a_kill_right_after_each_ack_loses_nothing(fresh_server) -> None:
    server = fresh_server()
    client = server.client()
    step(client, "run", "run_start", agent_name="agent")
    for n in range(3):
        step(client, "run", "step", {"node_name": str(n)})
        server.kill()
        server.start()
        run_id = ReadBack(client).run("run")["run_id"]
        assert labels(client, run_id, "step", lambda data: str(data["node_name"])) == [str(m) for m in range(n + 1)]


def test_a_lease_survives_a_kill(fresh_server) -> None:
    server = fresh_server()
    client = server.client()
    run_id = create_run(client, "thread")["run_id"]
    epoch = claim(client, run_id, "holder", lease_seconds=300)["run"]["lease_epoch"]
    server.kill()
    server.start()
    other = client.post(f"/api/agents/runs/{run_id}/claim", json={"worker_id": "other"})
    assert other.status_code == 409
    report = client.post(f"/api/agents/runs/{run_id}/events", json={"worker_id": "holder", "lease_epoch": epoch})
    assert ok(report)["run"]["lease_epoch"] == epoch


def test_a_checkpoint_batch_is_kept_or_not_kept_whole(fresh_server) -> None:
    server = fresh_server()
    client = server.client()
    assert send_batch(client, started("t", "tr")).status_code == 200
    stop = threading.Event()
    sent: list[int] = []
    acked: list[int] = []

    def write() -> None:
        mine = server.client()
        try:
            while not stop.is_set():
                first = len(sent) * 20 + 1
                sent.append(first)
                batch = [checkpoint("t", "tr", n) for n in range(first, first + 20)]
                assert send_batch(mine, *batch).status_code == 200
                acked.append(first)
        except httpx2.TransportError:
            return

    thread = threading.Thread(target=write)
    thread.start()
    stop.wait(0.4)
    server.kill()
    stop.set()
    thread.join(30)
    server.start()
    run_id = ReadBack(client).run("t")["run_id"]
    kept = [event["data"]["step_index"] for event in log_of(client, run_id) if event["type"] == "checkpoint"]
    assert len(kept) % 20 == 0
    assert len(kept) // 20 in {len(acked), len(sent)}
    assert kept == list(range(1, len(kept) + 1))
