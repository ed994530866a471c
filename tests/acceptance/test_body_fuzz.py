"""No body breaks a dialect: whatever is posted is taken, or refused in the dialect's own form; never a 5xx."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.acceptance.broken_bodies import places_of, spoilt
from tests.acceptance.feeds import create_run, held_run, snapshot, started
from tests.acceptance.routes import form_problem
from tests.support.senders import container_event, runner_event, sdk_event
from tests.support.server import NO_LIMITS, Server

EXAMPLES = [5, pytest.param(40, marks=pytest.mark.slow)]
"""Texts for each path, beside those that are always sent."""
STEPS = [11, pytest.param(1, marks=pytest.mark.slow)]
"""One spoilt body of so many is sent: of the two dozen for each place two or three, others from place to place."""
REPLY_DEADLINE_S = 60.0
WORKER = "fuzzed-worker"
USAGE = {"input_tokens": 310, "output_tokens": 110, "cost_usd": 0.00231, "model": "m"}
MESSAGES = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": [{"type": "text", "text": "hi"}]}]

Make = Callable[[httpx2.Client], str]


def queued(client: httpx2.Client) -> str:
    """A run that waits for its worker, in a thread of its own: only one of a thread is served at a time."""
    return str(create_run(client, f"fuzzed-{uuid4()}")["run_id"])


def held(client: httpx2.Client) -> str:
    """A run that the worker holds, in a thread of its own."""
    return held_run(client, f"fuzzed-{uuid4()}", WORKER)


def agent(client: httpx2.Client) -> str:
    """An agent."""
    return str(client.post("/api/v1/agents", json={"name": "fuzzed-agent"}).json()["agent_id"])


def nothing(_: httpx2.Client) -> str:
    """For paths without a parameter."""
    return ""


def client_event(number: int, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event as a client numbers it; in a report the run is known, and its name is one member too many."""
    own = {"event_id": f"e{number}", "client_seq": number, "time": 1_775_124_000_123, "agent": "fuzzed-agent"}
    return {**own, "run_key": "fuzzed-key", "thread": "fuzzed-thread", "type": kind, "data": data}


# Path, what its parameter stands for, and a body that is good there.
GOOD: dict[str, tuple[str, Make, Any]] = {
    "checkpoints": (
        "/v1/runners/events",
        nothing,
        {
            "events": [
                started("fuzzed-thread", "fuzzed-trace", parent_trace_id="up"),
                {**snapshot("fuzzed-thread", "fuzzed-trace", 1, MESSAGES), "event_id": "e", "sequence_num": 1},
                runner_event("token_usage", "fuzzed-thread", "fuzzed-trace", model="m", tokens_used=5),
                runner_event("thread_failed", "fuzzed-thread", "other-trace", error={"type": "t", "message": "m"}),
            ]
        },
    ),
    "checkpoints-approve": ("/approvals/fuzzed-trace/1/approve", nothing, {"reason": "fine"}),
    "checkpoints-reject": ("/approvals/fuzzed-trace/1/reject", nothing, {"reason": "no"}),
    "steps": (
        "/api/ingest",
        nothing,
        sdk_event(
            "tool_call",
            "fuzzed-sdk-run",
            {"tool_name": "t", "phase": "end", "input": {"a": [1]}, "duration_ms": 5, "success": True},
            occurred_at="2026-01-02T03:04:05.678Z",
            agent_name="fuzzed-agent",
            session_id="fuzzed-session",
        ),
    ),
    "steps-end": (
        "/api/ingest",
        nothing,
        sdk_event(
            "run_end",
            "fuzzed-sdk-run-2",
            {
                "prompt_tokens": 5,
                "completion_tokens": 3,
                "total_tokens": 8,
                "cost_usd": 0.1,
                "model": "m",
                "output": {},
            },
            event_id="e",
        ),
    ),
    "activity": ("/agents/{}/events", agent, [container_event(id="e", run_id="r", metadata={"a": {"b": 1}})]),
    "activity-one": ("/agents/{}/events", agent, container_event()),
    "runs": (
        "/v1/threads/fuzzed/runs",
        nothing,
        {"agent": "a", "input": {"a": [1]}, "metadata": {"k": "v"}, "labels": {"gpu": "yes"}},
    ),
    "runs-thread": ("/v1/threads", nothing, {"thread_id": "fuzzed-2", "title": "t", "policy": "enqueue"}),
    "runs-input": ("/v1/runs/{}/input", held, {"content": "yes"}),
    "runs-cancel": ("/v1/runs/{}:cancel", queued, {"reason": "enough"}),
    "lanes": (
        "/api/agents/runs/{}/events",
        held,
        {
            "worker_id": WORKER,
            "lease_seconds": 300,
            "phase": "reading",
            "log_line": "line",
            "lease_epoch": 1,
            "wait_seconds": 0,
            "events": [
                {"type": "progress", "payload": {"usage": USAGE, "a": [1]}, "id": "e"},
                {"type": "tool_call", "payload": {"tool": "shell", "args": {}}},
            ],
        },
    ),
    "lanes-claim": (
        "/api/agents/runs/claim",
        nothing,
        {"worker_id": WORKER, "lease_seconds": 60, "agents": ["none"], "labels": {"gpu": "yes"}, "wait_seconds": 0},
    ),
    "lanes-claim-run": ("/api/agents/runs/{}/claim", queued, {"worker_id": WORKER, "lease_seconds": 60}),
    "lanes-release": ("/api/agents/runs/{}/release", held, {"worker_id": WORKER, "lease_epoch": 1}),
    "lanes-complete": (
        "/api/agents/runs/{}/complete",
        held,
        {"worker_id": WORKER, "lease_epoch": 1, "result": {"a": [1], "usage": USAGE}},
    ),
    "lanes-fail": (
        "/api/agents/runs/{}/fail",
        held,
        {"worker_id": WORKER, "lease_epoch": 1, "error": {"type": "t", "message": "m"}},
    ),
    "native-events": (
        "/api/v1/events",
        nothing,
        {
            "client_id": "c",
            "runs": ["fuzzed-key"],
            "wait_seconds": 0,
            "events": [
                client_event(1, "run.started", {"metadata": {"a": 1}, "labels": {"b": "c"}, "parent_run_key": "p"}),
                client_event(2, "tool.result", {"tool": "t", "tool_call_id": "c", "duration_ms": 1.5, "success": True}),
                client_event(3, "checkpoint", {"step_index": 1, "history": MESSAGES, "state": {"k": [1]}}),
                client_event(4, "other", {"name": "client.dropped", "payload": {"from_seq": 5, "to_seq": 9}}),
            ],
        },
    ),
    "native-report": (
        "/api/v1/runs/{}:report",
        held,
        {
            "worker_id": WORKER,
            "lease_epoch": 1,
            "lease_seconds": 300,
            "client_id": "c",
            "wait_seconds": 0,
            "events": [client_event(1, "model.call", {"model": "m", "input_tokens": 5, "cost_usd": 0.1})],
        },
    ),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """An admin of a server of its own: what is sent here claims and ends whatever it hits."""
    with Server(tmp_path_factory.mktemp("fuzzed") / "data", NO_LIMITS) as server:
        yield server.client(timeout=REPLY_DEADLINE_S)
        server.stop()


class Sender:
    """Posts bodies to one path and looks at what comes back."""

    def __init__(self, client: httpx2.Client, path: str, make: Make) -> None:
        self._client = client
        self._path = path
        self.target = path.format(make(client))

    def send(self, body: bytes, content_type: str = "application/json") -> httpx2.Response:
        """The reply, once it is known to be one that the dialect may give."""
        reply = self._client.post(self.target, content=body, headers={"Content-Type": content_type})
        assert reply.status_code < 500, f"{reply.status_code} {reply.text}\nsent: {body[:2000]!r}"
        if reply.status_code >= 400 and not is_refused_item_by_item(reply):
            problem = form_problem(self._path, reply)
            assert problem is None, f"{problem}\nsent: {body[:2000]!r}"
        return reply


def is_refused_item_by_item(reply: httpx2.Response) -> bool:
    """A batch of which nothing could be taken says so for each of its items."""
    return reply.status_code == 422 and bool(reply.json().get("rejected"))


def sender_for(client: httpx2.Client, name: str) -> tuple[Sender, Any]:
    """A sender to a path of its own, and the body that is good there."""
    path, make, body = GOOD[name]
    return Sender(client, path, make), body


@pytest.mark.parametrize("name", GOOD)
def test_the_bodies_to_be_spoilt_are_good(client: httpx2.Client, name: str) -> None:
    sender, body = sender_for(client, name)
    reply = sender.send(json.dumps(body).encode())
    is_absent = name.startswith("checkpoints-") and reply.status_code in (404, 409)
    assert reply.is_success or is_absent, reply.text
    assert "rejected" not in reply.text or not reply.json()["rejected"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", GOOD)
def test_a_body_that_is_spoilt_in_one_place_is_taken_or_refused(client: httpx2.Client, name: str, step: int) -> None:
    sender, body = sender_for(client, name)
    statuses = [sender.send(one).status_code for one in itertools.islice(spoilt(body), 0, None, step)]
    assert any(400 <= status < 500 for status in statuses), "nothing of this was ever refused"


NAMES = sorted({str(path[-1]) for _, _, body in GOOD.values() for path in places_of(body) if path} - {"wait_seconds"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*NAMES, WORKER, "m"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)
TEXTS = VALUES.map(lambda value: json.dumps(value).encode())


@st.composite
def torn(draw: st.DrawFn) -> bytes:
    """JSON that was cut off, or in which a byte is another."""
    text = draw(TEXTS)
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.binary(max_size=3)) + draw(st.sampled_from([b"", text[at + 1 :]]))


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("name", GOOD)
def test_no_text_breaks_a_dialect(client: httpx2.Client, name: str, examples: int) -> None:
    sender, _ = sender_for(client, name)

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(body=TEXTS | torn() | st.binary(max_size=20))
    @example(body=b"")
    @example(body=b"\xef\xbb\xbf{}")
    @example(body=b"\xff\xfe{\x00}\x00")
    @example(body=b"{} {}")
    @example(body=b"[" * 100_000)
    @example(body=b'{"a":' * 50_000)
    def send(body: bytes) -> None:
        sender.send(body)

    send()


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/json; charset=latin-1", "multipart/form-data"])
@pytest.mark.parametrize("name", GOOD)
def test_no_content_type_breaks_a_dialect(client: httpx2.Client, name: str, content_type: str) -> None:
    sender, body = sender_for(client, name)
    sender.send(json.dumps(body).encode(), content_type)
