"""Nothing that one request says keeps the event loop from everybody else for longer than 50 ms.

The server measures itself; see `tests/support/figures.py`. Each test is one kind of request that could.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.feeds import ok
from tests.support.figures import MIB, no_block
from tests.support.senders import checkpoint, runner_event
from tests.support.server import NO_LIMITS, Server
from tests.support.wait import wait_until
from towerlog.dialects.structure import MAX_ESCAPES, MAX_STRING_BYTES
from towerlog.model.run import MAX_OPEN_RUNS

TIMEOUT_S = 120
HOUR_MS = 3_600_000
RUNNERS = "/v1/runners/events"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of these tests alone: its figures are theirs."""
    with Server(tmp_path_factory.mktemp("blocks") / "data", NO_LIMITS) as server:
        yield server
        server.stop()


@pytest.fixture(scope="module")
def sender(own: Server) -> httpx2.Client:
    return own.client(timeout=TIMEOUT_S)


def post(client: httpx2.Client, path: str, body: bytes | dict[str, Any]) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


def batch(*events: dict[str, Any], client_id: str = "c") -> dict[str, Any]:
    """A batch of the native API."""
    return {"client_id": client_id, "events": list(events)}


def event(event_id: str, run_key: str, kind: str, seq: int = 1, **data: Any) -> dict[str, Any]:
    """An event of one."""
    return {"event_id": event_id, "run_key": run_key, "client_seq": seq, "type": kind, "data": data}


def results(reply: httpx2.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(reply)["results"]
    return found


# Repeats


def test_a_repeat_of_a_large_event_with_one_blank_more(own: Server, sender: httpx2.Client) -> None:
    body = json.dumps(batch(event("big", "big", "step", name="n", x=[[]] * 300_000, y="z" * 2_500_000))).encode()
    with no_block(own, "the first"):
        assert results(post(sender, "/api/v1/events", body))[0]["status"] == "stored"
    with no_block(own, "its repeat"):
        again = body.replace(b'"name"', b' "name"')
        assert results(post(sender, "/api/v1/events", again))[0]["status"] == "duplicate"
    with no_block(own, "another body"):
        other = body.replace(b'"zz', b'"yz')
        assert results(post(sender, "/api/v1/events", other))[0]["code"] == "id_reused"


def test_many_short_repeats_in_another_spelling(own: Server, sender: httpx2.Client) -> None:
    events = [event(f"short{n}", "short", "step", n + 1, name="n", x=[[]] * 900) for n in range(500)]
    first = json.dumps(batch(*events)).encode()
    results(post(sender, "/api/v1/events", first))
    with no_block(own, "the repeats"):
        again = results(post(sender, "/api/v1/events", first.replace(b"[]", b"[ ]")))
    assert {one["status"] for one in again} == {"duplicate"}


# Bodies


SHAPES: dict[str, Callable[[int], bytes]] = {
    "numbers": lambda size: b"[" + b"0," * (size // 2 - 1) + b"0]",
    "empty arrays": lambda size: b"[" + b"[]," * (size // 3 - 1) + b"0]",
    "empty objects": lambda size: b"[" + b"{}," * (size // 3 - 1) + b"0]",
    "members": lambda size: b"{" + b",".join(b'"k%d":0' % n for n in range(size // 12)) + b"}",
    "not numbers": lambda size: b"[" + b"NaN," * (size // 4 - 2) + b"0]",
    "strings and no number": lambda size: b"[" + b'"",' * (size // 3 - 3) + b"NaN]",
    "half a surrogate among objects": lambda size: b'["\\ud800",' + b'{"a":[]},' * (size // 9 - 2) + b"0]",
    "halves of surrogates": lambda size: b'"' + b"\\ud800" * (size // 6 - 2) + b'"',
    "escapes": lambda size: b'"' + b"\\n" * (size // 2 - 2) + b'"',
}
"""JSON values of about so many bytes that are costly to read, one way or another."""


PLACES = {
    "a payload": ("/api/ingest", b'{"event_type":"step","sdk_run_id":"s","payload":{"x":%s}}'),
    "events": ("/api/v1/events", b'{"client_id":"c","events":%s}'),
    "metadata": (
        "/api/v1/events",
        b'{"client_id":"c","events":[{"event_id":"m","client_seq":1,"run_key":"m","type":"run.started",'
        b'"data":{"metadata":{"m":%s}}}]}',
    ),
    "a history": (
        "/internal/v1/runners/events",
        b'{"org_id":"o","events":[{"type":"checkpoint","data":{"thread_id":"t","trace_id":"x","step_index":0,'
        b'"history":%s}}]}',
    ),
    "an input": ("/v1/threads/hostile/runs", b'{"input":{"x":%s}}'),
    "a body": ("/api/agents/runs/claim", b"%s"),
}


def hostile_bodies() -> Iterator[Any]:
    """(place, shape, bytes): the largest of each shape at one of the places, for the quick tier; the slow one has all.

    Which one moves on from shape to shape, so that each place gets the largest of some shape as well, and the next
    place a small one.
    """
    for (number, shape), (at, place) in itertools.product(enumerate(SHAPES), enumerate(PLACES)):
        for size in (MIB // 4, 4 * MIB - 4096, 15 * MIB):
            is_quick = (size, (at - number) % len(PLACES)) in ((15 * MIB, 0), (MIB // 4, 1))
            yield pytest.param(place, shape, size, marks=() if is_quick else pytest.mark.slow)


@pytest.mark.parametrize(("place", "shape", "size"), list(hostile_bodies()))
def test_a_hostile_body(own: Server, sender: httpx2.Client, place: str, shape: str, size: int) -> None:
    path, around = PLACES[place]
    with no_block(own, f"{shape} as {place}"):
        reply = post(sender, path, around % SHAPES[shape](size))
    assert reply.status_code < 500, reply.text


@pytest.mark.parametrize("place", PLACES)
def test_a_string_as_long_as_may_be(own: Server, sender: httpx2.Client, place: str) -> None:
    """A single call of the decoder, which nothing can cut into pieces."""
    path, around = PLACES[place]
    costliest = b'"' + (b"\\n" * MAX_ESCAPES).ljust(MAX_STRING_BYTES - 2, b"x") + b'"'
    with no_block(own, f"a string as {place}"):
        reply = post(sender, path, around % costliest)
    assert "has a string of more than" not in reply.text


def test_a_history_of_as_many_messages_as_may_be(own: Server, sender: httpx2.Client) -> None:
    messages = json.dumps([{"role": "user", "content": f"message {n}"} for n in range(50_000)]).encode()
    with no_block(own, "the history"):
        reply = post(sender, PLACES["a history"][0], PLACES["a history"][1] % messages)
    assert ok(reply)["saved"] == 1


LONG = 49_000
"""Messages of a history that is about as long as may be."""


def long_state(thread: str, number: int, **more: Any) -> bytes:
    """A batch with one checkpoint of so many short messages, which no other has."""
    history = [number * 1_000_000 + index for index in range(LONG)]
    return json.dumps({"events": [checkpoint(thread, "x", 1, history=history, **more)]}).encode()


def test_others_do_not_wait_for_long_histories(own: Server, sender: httpx2.Client) -> None:
    """While several of them are stored at once, others are served all the time, and memory stays what it was."""
    bodies = [long_state(f"long{number}", number) for number in range(6)]
    replies: list[httpx2.Response] = []

    def send(body: bytes) -> None:
        with own.client(timeout=TIMEOUT_S) as client:
            replies.append(post(client, RUNNERS, body))

    before = own.resident_bytes()
    threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
    waits: list[float] = []
    with no_block(own, "long histories"):
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            asked = time.monotonic()
            ok(post(sender, "/api/ingest", {"event_type": "step", "sdk_run_id": "beside", "payload": {}}))
            waits.append(time.monotonic() - asked)
        took = time.monotonic() - began
    assert [ok(reply) for reply in replies] == [{"saved": 1}] * len(bodies)
    assert len(waits) >= len(bodies)
    assert max(waits) < took / 2, f"one of {len(waits)} waited {max(waits):.3f} s of {took:.3f} s"
    assert own.resident_bytes() - before < 8 * sum(map(len, bodies)) + 16 * MIB


def test_a_long_history_with_its_metas_is_read_forked_and_claimed(own: Server, sender: httpx2.Client) -> None:
    metas = [{"at": index} for index in range(LONG)]
    with no_block(own, "storing it"):
        assert ok(post(sender, RUNNERS, long_state("read", 77, history_meta=metas))) == {"saved": 1}
    with no_block(own, "reading it"):
        found = ok(sender.get("/v1/runners/threads/read/latest"))
    assert (len(found["history"]), found["history_meta"]) == (LONG, metas)
    [run] = ok(sender.get("/v1/runs", params={"thread_id": "read"}))
    with no_block(own, "its fork and the claim of that"):
        fork = ok(post(sender, f"/api/v1/runs/{run['run_id']}:fork", {"step_index": 1}), 201)
        claim = {"worker_id": "w", "lease_seconds": 60}
        held = ok(post(sender, f"/api/agents/runs/{fork['run_id']}/claim", claim))
    assert len(held["checkpoint"]["history"]) == LONG


@pytest.mark.parametrize("kind", ["run.started", "model.call", "tool.call"])
@pytest.mark.parametrize("of_runs", ["one run", "many runs"])
def test_a_batch_of_events_that_each_move_something(
    own: Server, sender: httpx2.Client, kind: str, of_runs: str
) -> None:
    data = {"model": "m", "input_tokens": 3, "tool": "t", "tool_call_id": "i" * 500, "metadata": {"a": 1}}
    for first in range(2):
        events = [
            event(f"{kind}{of_runs}{first}{n}", f"{kind}{n if of_runs == 'many runs' else ''}", kind, n + 1, **data)
            | {"agent": f"agent {n}"}
            for n in range(500)
        ]
        with no_block(own, f"500 times {kind} in {of_runs}"):
            post(sender, "/api/v1/events", batch(*events, client_id=f"c{first}"))


# What lies there already


@pytest.mark.parametrize("children", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_cancel_of_a_large_family(own: Server, sender: httpx2.Client, children: int) -> None:
    top = f"top{children}"
    run_id = results(post(sender, "/api/v1/events", batch(event(top, top, "run.started"))))[0]["run_id"]
    for first in range(0, children, 500):
        keys = [f"{top} {n}".replace(" ", "-") for n in range(first, first + 500)]
        starts = [event(key, key, "run.started", parent_run_key=top) for key in keys]
        assert {one["status"] for one in results(post(sender, "/api/v1/events", batch(*starts)))} == {"stored"}

    def open_children() -> list[Any]:
        query = {"parent_run_id": run_id, "status": "running", "limit": 1}
        found: list[Any] = ok(sender.get("/api/v1/runs", params=query))["data"]
        return found

    assert open_children()
    with no_block(own, f"the cancel of {children} children"):
        ok(post(sender, f"/v1/runs/{run_id}:cancel", {"reason": "enough"}))
        wait_until(lambda: not open_children(), "every child is being cancelled", deadline_s=TIMEOUT_S)


OPEN = MAX_OPEN_RUNS - 1


def with_sub_agents(sender: httpx2.Client, thread: str, count: int) -> None:
    """A run that a runner has begun, with so many sub-agents that are told of by their states alone."""
    events = [runner_event("thread_started", thread, "top"), checkpoint(thread, "top", 1)]
    events += [checkpoint(thread, f"sub{number}", 1, parent_trace_id="top") for number in range(count)]
    for first in range(0, len(events), 500):
        some = events[first : first + 500]
        assert ok(post(sender, RUNNERS, {"events": some})) == {"saved": len(some)}


def open_runs(sender: httpx2.Client, *threads: str) -> list[Any]:
    """A run of each of these threads that is open, where there is one."""
    query = {"status": "running", "limit": 1}
    pages = [ok(sender.get("/v1/runs", params=query | {"thread_id": thread})) for thread in threads]
    return [one for page in pages for one in page]


def test_an_end_with_as_many_sub_agents_as_may_be(own: Server, sender: httpx2.Client) -> None:
    with_sub_agents(sender, "large", OPEN)
    with no_block(own, f"the end of {OPEN} sub-agents"):
        ok(post(sender, RUNNERS, {"events": [runner_event("thread_completed", "large", "top")]}))
    assert not open_runs(sender, "large")


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_batch_of_ends_that_each_end_very_many(own: Server, sender: httpx2.Client, count: int) -> None:
    """They are more than one commit should have, and the batch is answered when all of them have ended."""
    threads = [f"many{count}-{number}" for number in range(count)]
    for thread in threads:
        with_sub_agents(sender, thread, OPEN)
    ends = [runner_event("thread_completed", thread, "top") for thread in threads]
    with no_block(own, f"{count} times {OPEN} ends"):
        assert ok(post(sender, RUNNERS, {"events": ends})) == {"saved": count}
        assert not open_runs(sender, *threads)


def test_the_kill_of_a_run_with_as_many_sub_agents_as_may_be(own: Server, sender: httpx2.Client) -> None:
    with_sub_agents(sender, "killed", OPEN)
    [child] = open_runs(sender, "killed")
    run_id = ok(sender.get(f"/api/v1/runs/{child['run_id']}"))["parent_run_id"]
    with no_block(own, "the kill"):
        ok(post(sender, f"/api/v1/runs/{run_id}:kill", {}))
        wait_until(lambda: not open_runs(sender, "killed"), "all of them have ended", deadline_s=TIMEOUT_S)


def test_a_run_to_which_a_whole_queue_gives_way(own: Server, sender: httpx2.Client) -> None:
    for _ in range(400):
        ok(post(sender, "/v1/threads/queue/runs", {}), 201)
    ok(post(sender, "/v1/threads", {"thread_id": "queue", "policy": "cancel_previous"}))
    with no_block(own, "400 runs give way"):
        ok(post(sender, "/v1/threads/queue/runs", {}), 201)
    found = ok(sender.get("/v1/threads/queue/runs", params={"limit": 200}))
    assert [one["status"] for one in found].count("queued") == 1


def test_usage_over_very_many_cells(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        server.start()
        step = {"event_type": "step", "sdk_run_id": "s", "payload": {}}
        ok(post(server.client(), "/api/ingest", step))
        server.stop()
        hour = int(time.time()) * 1000 // HOUR_MS
        cells = (
            (
                1,
                hour - n // 1000,
                f"agent {n % 1000}",
                "m",
                "running",
                1,
                0,
                0,
                1,
                None,
                None,
                2,
                None,
                3,
                4,
                None,
                None,
                None,
            )
            for n in range(150_000)
        )
        [database] = (tmp_path / "data").glob("*.db")
        with sqlite3.connect(database) as db:
            db.executemany(f"INSERT INTO usage VALUES ({', '.join('?' * 18)})", cells)
        db.close()
        server.start()
        client = server.client(timeout=TIMEOUT_S)
        for by in ("hour", "agent", "model"):
            with no_block(server, f"usage by {by}"):
                page = ok(client.get("/api/v1/usage", params={"by": by, "limit": 200}))
            assert page["data"]
        total = ok(client.get("/api/v1/usage", params={"by": "model"}))["data"]
        assert [one["events"] for one in total if one["model"] == "m"] == [150_000]
        server.stop()
    finally:
        server.close()
