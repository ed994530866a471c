"""Streams: frames as they come, pings in silence, ends for every reason, and nothing left behind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tests.asgi.conversation import HandClock, Listening
from tests.support.wait import wait_until_async
from towerlog.asgi.guard.admission import Admission
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.push.streams import SILENCE_MS, SLOW_MS, SPREAD_MS, Streams, stream_head
from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.follower import Source
from towerlog.engine.follow.hub import RUN, Hub
from towerlog.model.event import Event, EventType
from towerlog.model.key import Key
from towerlog.model.principal import Principal, Scope
from towerlog.store.values import KeyFound

STYLE = FrameStyle("test", lambda event, epoch: b"data: %d\n\n" % event.seq, b"retry: 1\n\n", b"event: end\n\n")


class Keys:
    """One key, which can be revoked."""

    def __init__(self) -> None:
        self.revoked_at: int | None = None

    async def key_by_digest(self, digest: bytes) -> KeyFound:
        return KeyFound(Key(1, "k", "u", "n", (Scope.READ,), digest, "", 0, self.revoked_at), "o")


@dataclass
class House:
    """All that a stream stands in, with a real hub behind it."""

    clock: HandClock
    keys: Keys
    auth: Authenticator
    admission: Admission
    streams: Streams
    hub: Hub
    principal: Principal
    last_seq: int = 0
    end: int | None = None

    async def open(self, extensions: dict[str, Any] | None = None) -> Listening:
        """A reader at the beginning of the run."""

        async def page(after: int, limit: int) -> list[Event]:
            return [self.event(seq) for seq in range(after + 1, self.last_seq + 1)][:limit]

        async def ends_at() -> int | None:
            return self.end

        source = Source(page, lambda event: event.seq, ends_at)
        follower = await self.hub.follow(RUN, 1, STYLE.name, STYLE.frame, source, 0, True)
        self.admission.take_stream()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            head = stream_head("a" * 32, "e1", ())
            await self.streams.open(follower, STYLE, self.principal, scope, receive, send, head).run()

        return Listening(app, {"extensions": extensions} if extensions else {})

    def event(self, seq: int) -> Event:
        return Event(1, seq, 1, seq, EventType.STEP, 0, b"{}")

    def say(self) -> None:
        """One more event, committed and published."""
        self.last_seq += 1
        self.hub.publish([self.event(self.last_seq)], [], "e1")

    def tick(self, later_ms: int = 0) -> None:
        self.clock.ms += later_ms
        self.streams.tick(self.clock.ms)

    @property
    def is_empty(self) -> bool:
        return len(self.streams) == 0 and self.admission.streams == 0 and self.hub.followers == 0


@pytest.fixture
async def house(clock: HandClock) -> House:
    keys = Keys()
    auth, admission = Authenticator(keys, clock), Admission(1000, 100)
    principal = await auth.authenticate({b"authorization": b"Bearer k"}, clock.ms)
    return House(clock, keys, auth, admission, Streams(auth, admission, clock.ms), Hub(), principal)


async def test_what_is_there_comes_first_then_what_happens(house: House) -> None:
    house.say()
    house.say()
    stream = await house.open()
    await stream.until(b"data: 2")
    assert (stream.status, stream.body) == (200, b"retry: 1\n\ndata: 1\n\ndata: 2\n\n")
    house.say()
    await stream.until(b"data: 3\n\n")
    stream.leave()
    await stream.task
    assert house.is_empty


async def test_the_head_forbids_storing_changing_and_holding_back(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    assert stream.headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
        "x-log-epoch": "e1",
        "x-trace-id": "a" * 32,
    }
    stream.leave()
    await stream.task


async def test_silence_is_broken_after_fifteen_seconds(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    house.tick(SILENCE_MS - 2 * SPREAD_MS)
    await asyncio.sleep(0)
    assert b": ping" not in stream.body
    house.tick(2 * SPREAD_MS)
    await stream.until(b": ping\n\n")
    house.tick(SILENCE_MS)
    await stream.until(b": ping\n\n", 2)
    stream.leave()
    await stream.task


async def test_a_word_counts_as_a_ping(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    house.tick(SILENCE_MS - 2 * SPREAD_MS)
    house.say()
    await stream.until(b"data: 1")
    house.tick(SILENCE_MS - 2 * SPREAD_MS)
    house.say()
    await stream.until(b"data: 2")
    assert b": ping" not in stream.body
    stream.leave()
    await stream.task


async def test_streams_that_began_together_do_not_ping_together(house: House) -> None:
    streams = [await house.open() for _ in range(30)]
    for stream in streams:
        await stream.until(b"retry")
    house.tick(SILENCE_MS - SPREAD_MS)
    await wait_until_async(lambda: sum(b": ping" in stream.body for stream in streams) == 15, "half of the pings")
    house.tick(SPREAD_MS)
    await wait_until_async(lambda: all(b": ping" in stream.body for stream in streams), "all pings")
    for stream in streams:
        stream.leave()
        await stream.task
    assert house.is_empty


async def test_a_stream_ends_by_itself_when_the_run_has(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    house.last_seq += 1
    house.hub.publish([house.event(1)], [1], "e1")
    await asyncio.wait_for(stream.task, 5)
    assert stream.is_whole
    assert stream.body.endswith(b"data: 1\n\n"), "no closing words: it came to its own end"
    assert house.is_empty


async def test_the_server_parts_with_words_and_a_time_to_come_back(house: House) -> None:
    streams = [await house.open() for _ in range(20)]
    for stream in streams:
        await stream.until(b"retry")
    house.streams.close()
    waits = set()
    for stream in streams:
        await asyncio.wait_for(stream.task, 5)
        assert stream.is_whole
        assert stream.body.endswith(b"event: end\n\n")
        waits.add(int(stream.body.split(b"retry: ")[2].split()[0]))
    assert len(waits) == 20
    assert min(waits) >= 1000
    assert max(waits) < 8000
    assert house.is_empty


async def test_a_revoked_key_ends_the_stream(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    await house.auth.tick(house.clock.ms + 2000)
    assert not stream.task.done()
    house.keys.revoked_at = 1
    await house.auth.tick(house.clock.ms + 4000)
    await asyncio.wait_for(stream.task, 5)
    assert stream.body.endswith(b"event: end\n\n")
    assert house.is_empty


async def test_a_reader_that_takes_nothing_is_cut_off(house: House) -> None:
    aborted: list[bool] = []
    stream = await house.open({"towerlog.abort": lambda: aborted.append(True)})
    other = await house.open()
    await stream.until(b"retry")
    await other.until(b"retry")
    stream.is_stuck = True
    house.tick(0)
    house.say()
    await other.until(b"data: 1")
    house.tick(SLOW_MS)
    await asyncio.sleep(0)
    assert not stream.task.done(), "not yet"
    house.tick(1)
    await asyncio.wait_for(stream.task, 5)
    assert aborted == [True]
    assert house.streams.cut_off == 1
    assert b"data: 1" not in stream.body
    other.leave()
    await other.task
    assert house.is_empty


async def test_what_the_server_cancels_leaves_nothing_behind(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    stream.task.cancel()
    await asyncio.wait([stream.task])
    assert house.is_empty


async def test_a_reader_that_left_before_the_first_byte_leaves_nothing_behind(house: House) -> None:
    stream = await house.open()
    stream.leave()
    await asyncio.wait_for(stream.task, 5)
    assert house.is_empty


async def test_a_hundred_readers_come_and_go(house: House) -> None:
    streams = [await house.open() for _ in range(100)]
    for stream in streams[::2]:
        stream.leave()
    house.say()
    for stream in streams[1::2]:
        await stream.until(b"data: 1\n\n")
        stream.leave()
    await asyncio.wait([stream.task for stream in streams])
    await wait_until_async(lambda: house.is_empty, "everything to be given back")
    assert {stream.body.count(b"data: 1\n\n") for stream in streams[1::2]} == {1}
