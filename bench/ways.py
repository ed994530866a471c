"""The ways in: owns what one event looks like in each ingest dialect, and on the floor, and how runs are made ready.

Each way says the same thing, an event of a given size of one of a set of runs, as its own wire says it; so the
figures of two ways differ by the wire and by what the server does for it, not by the work asked for.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.corpus import FILL, compact, padded, post
from bench.wire import Client, Reply

WORKER = "bench-worker"
LEASE_SECONDS = 3600
AGENTS = 20
MODEL = "gpt-4o-mini"


@dataclass(frozen=True)
class Target:
    """A run to report into: its number, the name it goes by on this way, and the epoch of its lease, if any."""

    number: int
    name: str
    epoch: int = 0

    @property
    def agent(self) -> str:
        """The agent that reports; a few agents share the runs."""
        return f"agent-{self.number % AGENTS}"


def timestamp(number: int = 0) -> str:
    """The time of this second, with the number as its milliseconds."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.{number % 1000:03d}Z"


def event_id(number: int) -> str:
    """A UUID made from the number, unique in one corpus."""
    return str(uuid.UUID(int=(0x0BE7C4 << 104) | (4 << 76) | (8 << 60) | number))


class Way(ABC):
    """One way in. `runs_per_batch` is how many runs a batch of this wire usually touches."""

    name: str
    runs_per_batch = 1
    # False when the server names the runs, so that every fresh store needs requests of its own.
    names_are_ours = True

    @abstractmethod
    def prepare(self, client: Client, count: int) -> list[Target]:
        """Make this many runs on the server and return them."""

    @abstractmethod
    def path(self, target: Target, batch: bool) -> str:
        """Where to POST."""

    @abstractmethod
    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        """One event, with FILL where it can be made longer; `turn` counts up within its run."""

    @abstractmethod
    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        """The body of a request from encoded events."""

    @abstractmethod
    def confirms(self, reply: Reply, count: int) -> bool:
        """Whether the reply says that all these events are stored."""

    def single(self, targets: Sequence[Target], number: int, size: int, when: str) -> tuple[str, bytes]:
        """Path and body, of exactly `size` bytes, of the number-th request with one event."""
        target = targets[number % len(targets)]
        around = len(self.wrap(target, [b""], batch=False))
        turn = number // len(targets) + 1
        event = padded(self.event(target, number, turn, when), number, size - around)
        return self.path(target, batch=False), self.wrap(target, [event], batch=False)

    def batch(
        self, targets: Sequence[Target], number: int, length: int, runs: int, size: int, when: str
    ) -> tuple[str, bytes]:
        """Path and body of the number-th request with `length` events of `size` bytes, spread over `runs` runs."""
        touched = [targets[(number * runs + j) % len(targets)] for j in range(runs)]
        first = number * length
        share = length // runs
        turns = [(number * runs + j) // len(targets) * share for j in range(runs)]
        events = [
            padded(self.event(touched[j % runs], first + j, turns[j % runs] + j // runs + 1, when), first + j, size)
            for j in range(length)
        ]
        return self.path(touched[0], batch=True), self.wrap(touched[0], events, batch=True)

    def singles(self, targets: Sequence[Target], count: int, size: int, key: str) -> Iterator[bytes]:
        """Complete requests with one event each."""
        when = timestamp()
        for number in range(count):
            path, body = self.single(targets, number, size, when)
            yield post(path, body, key)

    def batches(
        self, targets: Sequence[Target], count: int, length: int, runs: int, size: int, key: str
    ) -> Iterator[bytes]:
        """Complete requests with `length` events each."""
        when = timestamp()
        for number in range(count):
            path, body = self.batch(targets, number, length, runs, size, when)
            yield post(path, body, key)


class FloorWay(Way):
    """The floor's own two paths."""

    name = "floor"

    def prepare(self, client: Client, count: int) -> list[Target]:
        targets = [Target(n, f"run-{n}") for n in range(count)]
        for target in targets:
            path, body = self.single([target], 0, 256, timestamp())
            client.post(path, body)
        return targets

    def path(self, target: Target, batch: bool) -> str:
        return "/v1/batch" if batch else "/v1/events"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        return {
            "type": "step",
            "run_id": target.name,
            "agent_id": target.agent,
            "ts": when,
            "data": {"node_name": "search", "phase": "end", "duration_ms": number % 997, "output": FILL},
        }

    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        return b'{"events":[' + b",".join(events) + b"]}" if batch else b",".join(events)

    def confirms(self, reply: Reply, count: int) -> bool:
        return bool(reply.json()["n"] == count)


class CheckpointsWay(Way):
    """Runner events of an informational type."""

    name = "checkpoints"
    runs_per_batch = 10

    def prepare(self, client: Client, count: int) -> list[Target]:
        targets = [Target(n, f"thread-{n}") for n in range(count)]
        for start in range(0, count, 500):
            started = [compact({"type": "thread_started", "data": self.ids(t)}) for t in targets[start : start + 500]]
            client.post(self.path(targets[0], batch=True), self.wrap(targets[0], started, batch=True))
        return targets

    def ids(self, target: Target) -> dict[str, Any]:
        """What names the run."""
        return {"thread_id": target.name, "trace_id": f"trace-{target.name}", "agent_id": target.agent}

    def path(self, target: Target, batch: bool) -> str:
        return "/v1/runners/events"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        data = {**self.ids(target), "step": "search", "duration_ms": number % 997, "output": FILL}
        return {"type": "workflow_step", "event_id": event_id(number), "occurred_at": when, "data": data}

    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        return b'{"events":[' + b",".join(events) + b"]}"

    def confirms(self, reply: Reply, count: int) -> bool:
        return bool(reply.json()["saved"] == count)


class SnapshotsWay(CheckpointsWay):
    """Small checkpoints: a history of three messages, two of them new with every turn."""

    name = "checkpoints-snapshot"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        data = {
            **self.ids(target),
            "step_index": turn,
            "status": "in_progress",
            "history": [
                {"role": "system", "content": "You answer in one sentence."},
                {"role": "user", "content": f"Question {turn} of {target.name}?"},
                {"role": "assistant", "content": FILL},
            ],
            "history_meta": [{"ts": when}, {"ts": when}, {"ts": when, "tokens_in": 40, "tokens_out": 90}],
            "tokens_used": 130 * turn,
            "input_tokens": 40 * turn,
            "output_tokens": 90 * turn,
            "model": MODEL,
            "turn_start_history_len": 1,
            "pending_tool_calls": [],
            "run_cost_usd": turn / 10_000,
        }
        return {"type": "checkpoint", "event_id": event_id(number), "occurred_at": when, "data": data}


class StepsWay(Way):
    """SDK events; this wire has no batches."""

    name = "steps"

    def prepare(self, client: Client, count: int) -> list[Target]:
        targets = [Target(n, f"sdk-run-{n}") for n in range(count)]
        for target in targets:
            start = {"event_type": "run_start", "sdk_run_id": target.name, "agent_name": target.agent, "payload": {}}
            client.post(self.path(target, batch=False), compact(start))
        return targets

    def path(self, target: Target, batch: bool) -> str:
        return "/api/ingest"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        payload = {"node_name": "search", "phase": "end", "duration_ms": number % 997, "output": FILL}
        return {
            "event_type": "step",
            "sdk_run_id": target.name,
            "event_id": event_id(number),
            "agent_name": target.agent,
            "occurred_at": when,
            "payload": payload,
        }

    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        if batch:
            raise ValueError("steps takes one event a request")
        return b",".join(events)

    def confirms(self, reply: Reply, count: int) -> bool:
        return bool(reply.json()["status"] == "ok")


class ActivityWay(Way):
    """Container events pushed to an agent; the agent stands where other wires have a run."""

    name = "activity"
    names_are_ours = False

    def prepare(self, client: Client, count: int) -> list[Target]:
        for n in range(count):
            start = {"event_type": "run_start", "sdk_run_id": f"boot-{n}", "agent_name": f"box-{n}", "payload": {}}
            client.post("/api/ingest", compact(start))
        return [Target(n, row["agent_id"]) for n, row in enumerate(all_rows(client, "/api/v1/agents")[:count])]

    def path(self, target: Target, batch: bool) -> str:
        return f"/agents/{target.name}/events"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        return {
            "id": event_id(number),
            "timestamp": when,
            "type": "command_complete",
            "tool": "shell",
            "input_summary": "grep -rn needle src",
            "output_summary": "exit 0, 512 bytes",
            "duration_ms": number % 997,
            "success": True,
            "metadata": {"note": FILL},
        }

    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        return b"[" + b",".join(events) + b"]" if batch else b",".join(events)

    def confirms(self, reply: Reply, count: int) -> bool:
        return bool(reply.json()["accepted"] == count)


class LanesWay(Way):
    """Worker reports into runs that were created and claimed first."""

    name = "lanes"
    names_are_ours = False

    def prepare(self, client: Client, count: int) -> list[Target]:
        targets = []
        claim = compact({"worker_id": WORKER, "lease_seconds": LEASE_SECONDS})
        for n in range(count):
            run_id = client.post(f"/v1/threads/lane-{n}/runs", b"{}").json()["run_id"]
            run = client.post(f"/api/agents/runs/{run_id}/claim", claim).json()["run"]
            targets.append(Target(n, run_id, run["lease_epoch"]))
        return targets

    def path(self, target: Target, batch: bool) -> str:
        return f"/api/agents/runs/{target.name}/events"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        payload = {"action": "search", "duration_ms": number % 997, "output": FILL}
        return {"id": event_id(number), "type": "action", "payload": payload}

    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        head = compact({"worker_id": WORKER, "lease_epoch": target.epoch, "phase": "working"})
        return head[:-1] + b',"events":[' + b",".join(events) + b"]}"

    def confirms(self, reply: Reply, count: int) -> bool:
        return reply.json()["ok"] is True


class SdkWay(Way):
    """What the SDK sends: steps of several runs of one process, numbered within each run. It sends batches only."""

    name = "sdk"
    runs_per_batch = 10
    CLIENT_ID = "bench-client"

    def prepare(self, client: Client, count: int) -> list[Target]:
        targets = [Target(n, f"told-{n}") for n in range(count)]
        for start in range(0, count, 500):
            begun = [
                compact({**self.names(target, f"{target.name}-begun", 1), "type": "run.started", "data": {}})
                for target in targets[start : start + 500]
            ]
            client.post(self.path(targets[0], batch=True), self.wrap(targets[0], begun, batch=True))
        return targets

    def names(self, target: Target, event_name: str, client_seq: int) -> dict[str, Any]:
        """Which event of which run this is."""
        return {
            "event_id": event_name,
            "client_seq": client_seq,
            "run_key": target.name,
            "agent": target.agent,
        }

    def path(self, target: Target, batch: bool) -> str:
        return "/api/v1/events"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        data = {"name": "search", "phase": "end", "duration_ms": number % 997, "payload": {"output": FILL}}
        # The first number of each run was spent on its beginning.
        return {**self.names(target, event_id(number), turn + 1), "type": "step", "time": when, "data": data}

    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        return compact({"client_id": self.CLIENT_ID})[:-1] + b',"events":[' + b",".join(events) + b"]}"

    def confirms(self, reply: Reply, count: int) -> bool:
        results = reply.json()["results"]
        return len(results) == count and all(result["status"] == "stored" for result in results)


class CallsWay(SdkWay):
    """Model calls with what they cost."""

    name = "calls"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        usage = {"model": MODEL, "input_tokens": 40, "output_tokens": 90, "cost_usd": 0.0123}
        data = {**usage, "duration_ms": number % 997, "note": FILL}
        return {**self.names(target, event_id(number), turn + 1), "type": "model.call", "time": when, "data": data}


class OtlpWay(Way):
    """Spans of an exporter, as JSON: parts of an agent's work in several traces. The first of a trace makes its run."""

    name = "otlp"
    runs_per_batch = 10

    def prepare(self, client: Client, count: int) -> list[Target]:
        return [Target(n, f"{n + 1:032x}") for n in range(count)]

    def path(self, target: Target, batch: bool) -> str:
        return "/v1/traces"

    def event(self, target: Target, number: int, turn: int, when: str) -> Any:
        began = 1_000_000 * int(datetime.fromisoformat(when).timestamp() * 1000)
        times = {"startTimeUnixNano": str(began), "endTimeUnixNano": str(began + 1_000_000 * (number % 997))}
        ids = {"traceId": target.name, "spanId": f"{number + 1:016x}", "parentSpanId": f"{1 << 60 | target.number:x}"}
        told = {"traceloop.span.kind": "task", "gen_ai.agent.name": target.agent, "traceloop.entity.output": FILL}
        attributes = [{"key": key, "value": {"stringValue": value}} for key, value in told.items()]
        return {**ids, "name": "search", "kind": 1, **times, "attributes": attributes, "status": {"code": 1}}

    def wrap(self, target: Target, events: Sequence[bytes], batch: bool) -> bytes:
        return b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join(events) + b"]}]}]}"

    def confirms(self, reply: Reply, count: int) -> bool:
        return reply.json() == {}


def all_rows(client: Client, path: str) -> list[Any]:
    """The rows of a list of the native API, page by page."""
    found: list[Any] = []
    query = "limit=100"
    while query:
        page = client.get(f"{path}?{query}").json()
        found += page["data"]
        query = f"limit=100&cursor={page['next']}" if page["next"] else ""
    return found


def stored_events(client: Client) -> int:
    """How many events the log holds: the last seq of every run, since seq is dense."""
    return sum(row["last_seq"] for row in all_rows(client, "/api/v1/runs"))


SINGLE_WAYS: tuple[Way, ...] = (CheckpointsWay(), SnapshotsWay(), StepsWay(), ActivityWay(), LanesWay())
BATCH_WAYS: tuple[Way, ...] = (CheckpointsWay(), ActivityWay(), LanesWay(), SdkWay(), OtlpWay())
