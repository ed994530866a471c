"""Streams under trouble: readers that are cut at random bytes or do not read, while writers go on."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, count

import httpx2
import pytest

from tests.acceptance.feeds import (
    activity_of,
    complete,
    container_event,
    held_run,
    log_of,
    ok,
    push,
    report,
    rest_of,
    run_stream,
    step,
    watch,
)
from tests.support.samples import slow
from tests.support.sse import EventStream, Frame
from tests.support.wait import wait_until

RECONNECTS = [100, pytest.param(300, marks=pytest.mark.slow)]
WRITERS = 3


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for the writers."""
    with ThreadPoolExecutor(WRITERS) as threads:
        yield threads


def write_until(stop: threading.Event, write: Callable[[int], object]) -> int:
    """Writes one event after the other until told to stop; how many."""
    written = 0
    while not stop.is_set():
        write(written)
        written += 1
    return written


def cut_and_resume(
    open_after: Callable[[str | None], EventStream], seed: int, reconnects: int
) -> tuple[list[Frame], str | None]:
    """Reads with many connections, each cut at a random byte and resumed after the last whole frame."""
    rng = random.Random(seed)
    seen: list[Frame] = []
    cursor: str | None = None
    for _ in range(reconnects):
        stream = open_after(cursor)
        assert stream.status == 200, stream.status
        try:
            frames = stream.frames_of_first(rng.randrange(rng.choice([60, 900, 6000])))
        except TimeoutError:
            stream.cut()
            frames = []
        for frame in frames:
            if frame.data is not None:
                seen.append(frame)
                cursor = frame.id
    return seen, cursor


@pytest.mark.parametrize("reconnects", RECONNECTS)
@pytest.mark.parametrize("seed", [1, slow(2)])
def test_a_reader_cut_at_random_bytes_sees_every_seq_once_and_in_order(
    server, client, unique, pool, seed, reconnects
) -> None:
    sdk_run = unique("sdk")
    step(client, sdk_run, "run_start", agent_name=unique("agent"))
    run_id = ok(client.get(f"/v1/threads/{sdk_run}/runs"))[0]["run_id"]
    stop = threading.Event()

    def write(writer: int) -> Callable[[int], object]:
        return lambda n: step(client, sdk_run, "step", {"node_name": f"{writer}-{n}", "text": "ü" * (n % 200)})

    writers: list[Future[int]] = [pool.submit(write_until, stop, write(writer)) for writer in range(WRITERS)]

    def open_after(cursor: str | None) -> EventStream:
        if cursor is None or seed % 2:
            return run_stream(server, run_id, after_seq=cursor or 0)
        return watch(server, f"/v1/runs/{run_id}/events?after_seq=0", Last_Event_ID=cursor)

    try:
        seen, cursor = cut_and_resume(open_after, seed, reconnects)
    finally:
        stop.set()
    written = sum(writer.result(30) for writer in writers)
    assert written > 100, "hardly anything was written while the reader was cut"
    step(client, sdk_run, "run_end", {})
    with run_stream(server, run_id, after_seq=cursor or 0) as last:
        seen += rest_of(last)
    events = [frame.json for frame in seen]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events].count("step") == written
    assert events == log_of(client, run_id)
    for writer in range(WRITERS):
        names = [event["data"]["node_name"] for event in events if event["type"] == "step"]
        mine = [name for name in names if name.startswith(f"{writer}-")]
        assert mine == [f"{writer}-{n}" for n in range(len(mine))]
    path = f"/v1/runs/{run_id}/events"
    with watch(server, path, Last_Event_ID=str(events[-1]["seq"])) as after_the_end:
        assert after_the_end.status == 204


@pytest.mark.parametrize("reconnects", RECONNECTS)
def test_an_activity_reader_cut_at_random_bytes_sees_every_event_once(
    server, client, back, unique, pool, reconnects
) -> None:
    agent = unique("agent")
    step(client, unique("sdk"), "run_start", agent_name=agent)
    agent_id = back.agent_id(agent)
    stop = threading.Event()
    pushed: list[list[str]] = [[] for _ in range(WRITERS)]

    def write(writer: int) -> Callable[[int], object]:
        def one(n: int) -> None:
            event = container_event(input_summary=f"{writer}-{n}")
            push(client, agent_id, event)
            pushed[writer].append(event["id"])

        return one

    before, turn = len(activity_of(client, agent_id, tail=5000)), count()
    writers = [pool.submit(write_until, stop, write(writer)) for writer in range(WRITERS)]

    def open_after(cursor: str | None) -> EventStream:
        if cursor is None:
            return watch(server, f"/agents/{agent_id}/events?follow=true&tail=5000")
        if next(turn) % 2:
            return watch(server, f"/agents/{agent_id}/events?follow=true&after={cursor}")
        return watch(server, f"/agents/{agent_id}/events?follow=true&tail=5000", Last_Event_ID=cursor)

    try:
        seen, cursor = cut_and_resume(open_after, 3, reconnects)
    finally:
        stop.set()
    written = sum(writer.result(30) for writer in writers)
    assert written > 100, "hardly anything was written while the reader was cut"
    with open_after(cursor) as last:
        while len(seen) < before + written:
            frame = last.next_event()
            seen.append(frame)
    ids = [frame.json["id"] for frame in seen]
    assert len(set(ids)) == len(ids), "an event came twice"
    assert sorted(ids[before:]) == sorted(chain.from_iterable(pushed))
    for mine in pushed:
        assert [event_id for event_id in ids if event_id in set(mine)] == mine
    listed = activity_of(client, agent_id, tail=5000)
    assert [event["id"] for event in listed] == ids[-5000:]


def test_many_followers_see_the_same(server, client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    streams = [run_stream(server, run_id) for _ in range(50)]
    for n in range(20):
        events = [{"type": "message.delta", "payload": {"content": f"{n}.{m}"}} for m in range(20)]
        report(client, run_id, "w", *events)
    complete(client, run_id, "w")
    expected = log_of(client, run_id)
    for stream in streams:
        with stream:
            assert [frame.json for frame in rest_of(stream)] == expected


def test_a_reader_that_does_not_read_harms_nobody(fresh_server) -> None:
    server = fresh_server()
    client: httpx2.Client = server.client()
    run_id = held_run(client, "thread", "w")
    report(client, run_id, "w")
    before = server.resident_bytes()
    sleepers = [run_stream(server, run_id) for _ in range(20)]
    with run_stream(server, run_id) as awake:
        text = "x" * 100_000
        for n in range(35):
            report(client, run_id, "w", {"type": "message.delta", "payload": {"content": f"{n} {text}"}})
            frame = awake.next_event()
            while frame.json["type"] != "message.delta":
                frame = awake.next_event()
            assert frame.json["data"]["content"].startswith(f"{n} ")
    assert server.resident_bytes() - before < 50 * 2**20
    complete(client, run_id, "w")
    expected = [event["seq"] for event in log_of(client, run_id)]
    with sleepers[0] as woken:
        seen = [frame.json["seq"] for frame in rest_of(woken)]
    # The server may have closed a stream that took nothing; what came must be the log's beginning, without a hole.
    assert seen == expected[: len(seen)]
    if seen != expected:
        with run_stream(server, run_id, after_seq=seen[-1] if seen else 0) as resumed:
            seen += [frame.json["seq"] for frame in rest_of(resumed)]
    assert seen == expected
    for sleeper in sleepers[1:]:
        sleeper.cut()


def test_readers_that_come_and_go_leave_nothing_behind(server, client, unique) -> None:
    run_id = held_run(client, unique("thread"), "w")
    assert server.process is not None
    descriptors = f"/proc/{server.process.pid}/fd"
    # Other tests have connections to the same server.
    before = len(os.listdir(descriptors))
    for _ in range(200):
        run_stream(server, run_id).cut()
    report(client, run_id, "w", {"type": "message.delta", "payload": {"content": "still here"}})
    with run_stream(server, run_id) as stream:
        complete(client, run_id, "w")
        assert rest_of(stream)[-1].json["type"] == "run.completed"
    wait_until(lambda: len(os.listdir(descriptors)) < before + 50, "the sockets to be given back")
