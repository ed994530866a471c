"""The `activity` dialect followed live: tail first, then what comes; resumed after any cut without gap or repeat."""

from __future__ import annotations

import random
import threading
import time

import httpx2
import pytest

from tests.acceptance.conftest import FreshServer, Unique
from tests.support.readback import ReadBack
from tests.support.senders import Json, checkpoint, container_event, push_activity, save_batch, tell
from tests.support.server import ADMIN_KEY, Server
from tests.support.sse import EventStream, Frame, StreamEnded
from tests.support.wait import wait_until


def follow(
    server: Server, agent_id: str, *, key: str = ADMIN_KEY, after: str | None = None, tail: int = 100
) -> EventStream:
    """Follow an agent; `after` goes as `Last-Event-ID`."""
    resume = {} if after is None else {"Last-Event-ID": after}
    url = f"{server.base_url}/agents/{agent_id}/events?follow=true&tail={tail}"
    return EventStream(url, {"Authorization": f"Bearer {key}", **resume})


def push_numbers(client: httpx2.Client, agent_id: str, *numbers: int) -> None:
    """Push one command per number."""
    reply = push_activity(client, agent_id, [container_event(input_summary=str(n)) for n in numbers])
    assert reply.status_code == 200, reply.text
    assert reply.json()["accepted"] == len(numbers)


def numbers_of(frames: list[Frame]) -> list[int]:
    """The numbers that were pushed."""
    return [int(frame.json["input_summary"]) for frame in frames]


@pytest.fixture
def agent(client: httpx2.Client, back: ReadBack, unique: Unique) -> str:
    """The UUID of a new agent without any activity."""
    name = unique("agent")
    tell(client, "run_start", unique("run"), agent_name=name)
    return back.agent_id(name)


def test_the_tail_comes_first_then_what_happens(server: Server, client: httpx2.Client, agent: str) -> None:
    push_numbers(client, agent, *range(10))
    with follow(server, agent, tail=3) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert numbers_of(stream.events(3)) == [7, 8, 9]
        push_numbers(client, agent, 10, 11)
        push_numbers(client, agent, 12)
        assert numbers_of(stream.events(3)) == [10, 11, 12]


def test_a_tail_of_nothing_is_only_what_happens(server: Server, client: httpx2.Client, agent: str) -> None:
    push_numbers(client, agent, 1, 2)
    with follow(server, agent, tail=0) as stream:
        push_numbers(client, agent, 3)
        assert numbers_of(stream.events(1)) == [3]


def test_a_frame_is_a_cursor_and_the_event_of_the_list(
    server: Server, client: httpx2.Client, back: ReadBack, agent: str
) -> None:
    push_numbers(client, agent, 1, 2)
    with follow(server, agent) as stream:
        frames = stream.events(2)
    assert [frame.json for frame in frames] == back.activity(agent)
    assert all(frame.id for frame in frames)
    assert frames[0].id != frames[1].id
    assert [frame.event for frame in frames] == [None, None]


def test_other_dialects_are_seen_live(server: Server, client: httpx2.Client, back: ReadBack, unique: Unique) -> None:
    name, run = unique("agent"), unique("run")
    tell(client, "run_start", run, agent_name=name)
    with follow(server, back.agent_id(name)) as stream:
        tell(client, "tool_call", run, {"tool_name": "web_search", "phase": "start"})
        tell(client, "step", run, {"node_name": "not shown"})
        save_batch(client, checkpoint(unique("thread"), "t", 1, agent_id=name, model="m", input_tokens=1))
        kinds = [frame.json["type"] for frame in stream.events(2)]
    assert kinds == ["command_start", "inference_complete"]


def test_other_agents_are_not(
    server: Server, client: httpx2.Client, back: ReadBack, agent: str, unique: Unique
) -> None:
    name = unique("agent")
    tell(client, "run_start", unique("run"), agent_name=name)
    with follow(server, agent) as stream:
        push_numbers(client, back.agent_id(name), 1)
        push_numbers(client, agent, 2)
        assert numbers_of(stream.events(1)) == [2]


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_follower_resumes_after_its_last_event(server: Server, client: httpx2.Client, agent: str, way: str) -> None:
    push_numbers(client, agent, *range(1, 6))
    with follow(server, agent) as stream:
        third = stream.events(3)[-1].id
    assert third
    if way == "header":
        resumed = follow(server, agent, after=third, tail=1)
    else:
        url = f"{server.base_url}/agents/{agent}/events?follow=true&tail=1&after={third}"
        resumed = EventStream(url, {"Authorization": f"Bearer {ADMIN_KEY}"})
    with resumed:
        push_numbers(client, agent, 6)
        assert numbers_of(resumed.events(3)) == [4, 5, 6], "the cursor counts, not the tail"


def test_a_follower_at_the_end_waits_for_more(server: Server, client: httpx2.Client, agent: str) -> None:
    push_numbers(client, agent, 1)
    with follow(server, agent) as stream:
        last = stream.events(1)[0].id
    with follow(server, agent, after=last) as stream:
        push_numbers(client, agent, 2)
        assert numbers_of(stream.events(1)) == [2]


def test_cut_at_any_byte_nothing_is_lost_or_seen_twice(server: Server, client: httpx2.Client, agent: str) -> None:
    chance, total, seen = random.Random(20_260_402), 400, []
    push_numbers(client, agent, 0)
    cursor: str | None = None

    def feed() -> None:
        for first in range(1, total, 3):
            push_numbers(client, agent, *range(first, min(first + 3, total)))

    feeder = threading.Thread(target=feed)
    feeder.start()
    deadline = time.monotonic() + 300
    while len(seen) < total and time.monotonic() < deadline:
        stream = follow(server, agent, after=cursor)
        frames = [frame for frame in stream.frames_of_first(chance.randint(1, 2_500), deadline_s=1) if frame.data]
        seen += numbers_of(frames)
        cursor = frames[-1].id if frames else cursor
    feeder.join()
    assert seen == list(range(total))


def test_many_followers_see_the_same(server: Server, client: httpx2.Client, agent: str) -> None:
    streams = [follow(server, agent) for _ in range(20)]
    push_numbers(client, agent, *range(50))
    for stream in streams:
        with stream:
            assert numbers_of(stream.events(50)) == list(range(50))


def test_who_falls_behind_is_caught_up_from_the_log(server: Server, client: httpx2.Client, agent: str) -> None:
    with follow(server, agent, tail=0) as stream:
        for thousand in range(5):
            push_numbers(client, agent, *range(thousand * 1_000, (thousand + 1) * 1_000))
        assert numbers_of(stream.events(5_000)) == list(range(5_000))


@pytest.mark.slow
def test_silence_is_broken_by_a_ping(server: Server, agent: str) -> None:
    with follow(server, agent, tail=0) as stream:
        heard: list[str] = []
        until = time.monotonic() + 120
        while heard.count("ping") < 2:
            heard += stream.next_frame(until - time.monotonic()).comments
        assert set(heard) == {"ping"}


def test_a_stop_of_the_server_ends_the_stream_in_words(fresh_server: FreshServer) -> None:
    server = fresh_server()
    client = server.client()
    tell(client, "run_start", "r", agent_name="a")
    agent = ReadBack(client).agent_id("a")
    push_numbers(client, agent, 1)
    with follow(server, agent) as stream:
        cursor = stream.events(1)[0].id
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        last_bytes = [frame for frame in stream.rest() if frame.data is not None]
        stopping.join()
    assert [(frame.event, frame.data, frame.id) for frame in last_bytes] == [("end", "stream closed", None)]
    assert server.process is None, "it ended within its ten seconds, cleanly"
    server.start()
    with follow(server, agent, after=cursor) as stream:
        push_numbers(client, agent, 2)
        assert numbers_of(stream.events(1)) == [2], "a cursor outlives the server"


def test_a_revoked_key_ends_its_stream(server: Server, client: httpx2.Client, agent: str) -> None:
    made = server.create_key("read")
    with follow(server, agent, key=made["key"]) as stream:
        push_numbers(client, agent, 1)
        assert numbers_of(stream.events(1)) == [1]
        assert server.cli_inside("keys", "revoke", made["key_id"]).returncode == 0
        last_bytes = stream.next_event(deadline_s=60)
        assert (last_bytes.event, last_bytes.data) == ("end", "stream closed")
        with pytest.raises(StreamEnded):
            stream.next_frame()
    late = server.client(made["key"])
    wait_until(lambda: late.get(f"/agents/{agent}/events").status_code == 401, "the revoked key to be refused")


def test_a_follower_needs_a_key_and_an_agent(server: Server, client: httpx2.Client, agent: str, unique: Unique) -> None:
    with follow(server, agent, key="nobody") as refused:
        assert refused.status == 401
    known: Json = client.get(f"/agents/{unique()}/events", params={"follow": "true"}).json()
    assert known["error"]


@pytest.mark.parametrize("cursor", ["nonsense", "-1", "1e400", "９９", "' or 1=1", "999999999999999999999999"])
def test_a_bad_cursor_is_never_a_server_error(client: httpx2.Client, agent: str, cursor: str) -> None:
    reply = client.get(f"/agents/{agent}/events", params={"follow": "false", "after": cursor})
    assert reply.status_code in (200, 400)
    if reply.status_code == 400:
        assert reply.json()["error"]
