"""Streams: frames as they come, pings in silence, ends for every reason, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.asgi.conversation import HandClock, Listening
from tests.support.factories import run_row
from tests.support.wait import DEADLINE_S, wait_until_async
from towerlog.ambient import SystemIds
from towerlog.asgi.guard.auth import Authenticator
from towerlog.asgi.guard.ledger import ShareLedger
from towerlog.asgi.guard.tickets import Tickets
from towerlog.asgi.push import streams as streams_module
from towerlog.asgi.push.sink import Cause, StreamEnd
from towerlog.asgi.push.sse import SseSink, stream_head
from towerlog.asgi.push.streams import HELD_MS, SILENCE_MS, SPREAD_MS, StreamPlace, Streams
from towerlog.asgi.shares.share import Resource
from towerlog.asgi.shares.turns import Turns
from towerlog.dialects.base import FrameStyle
from towerlog.engine.follow.follower import Follower, Source
from towerlog.engine.follow.hub import Hub
from towerlog.engine.follow.subjects import RUN
from towerlog.model.event import Event, EventType, Logged
from towerlog.model.key import Key, KeyFound
from towerlog.model.principal import Principal, Scope
from towerlog.model.run import RunRow, Status
from towerlog.store.values import RunChange
from towerlog.wake.base import Commit

STYLE = FrameStyle(
    "test",
    lambda event, *_: b"data: %d\n\n" % event.seq,
    b"retry: 1\n",
    closing=b"event: closed\n\n",
    end=lambda row, _end: b"event: end\n\n",
)
OPEN, OVER = run_row(), run_row(status=Status.COMPLETED)


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
    ledger: ShareLedger
    streams: Streams
    hub: Hub
    principal: Principal
    last_seq: int = 0
    turns: Turns = field(default_factory=lambda: Turns(1, 1, 1))

    async def open(self, extensions: dict[str, Any] | None = None) -> Listening:
        """A reader at the beginning of the run."""
        follower = await self.follow()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            head = stream_head("a" * 32, "e1", ())
            sink = SseSink(scope, receive, send, head, STYLE)
            await self.streams.open(follower, sink, self.principal, self.place()).run()

        return Listening(app, {"extensions": extensions} if extensions else {})

    def place(self) -> StreamPlace:
        """A place among all streams."""
        give_back = self.ledger.take_place([self.ledger.process], Resource.STREAM).give_back
        return StreamPlace(give_back, self.turns, "o", "k")

    async def follow(self) -> Follower:
        """A follower of the run."""

        async def page(after: int, limit: int) -> list[Logged]:
            return [self.event(seq) for seq in range(after + 1, self.last_seq + 1)][:limit]

        async def ended() -> RunRow | None:
            return None

        async def rows(runs: Sequence[int]) -> dict[int, RunRow]:
            return {}

        async def unreadable(after: int) -> list[Logged]:
            return []

        source = Source(page, ended, rows, unreadable, "e1")
        return await self.hub.follow((RUN, OPEN.run), STYLE, source, 0, True)

    def event(self, seq: int) -> Event:
        return Event(1, seq, OPEN.run, seq, EventType.STEP, 0, b"{}")

    def say(self, after: RunRow = OPEN) -> None:
        """One more event, committed and published."""
        self.last_seq += 1
        self.hub.committed(Commit([self.event(self.last_seq)], {OPEN.run: RunChange(OPEN, after)}))

    def tick(self, later_ms: int = 0) -> None:
        self.clock.ms += later_ms
        self.streams.tick(self.clock.ms)

    @property
    def is_empty(self) -> bool:
        return len(self.streams) == 0 and self.ledger.process.places[Resource.STREAM] == 0 and self.hub.followers == 0


@pytest.fixture
async def house(clock: HandClock) -> House:
    keys = Keys()
    auth, ledger = Authenticator(keys, clock, Tickets(SystemIds(clock))), ShareLedger(1000, {Resource.STREAM: 100}, {})
    principal = await auth.authenticate({b"authorization": b"Bearer k"}, clock.ms)
    return House(clock, keys, auth, ledger, Streams(auth, clock.ms), Hub(), principal)


async def test_what_is_there_comes_first_then_what_happens(house: House) -> None:
    house.say()
    house.say()
    stream = await house.open()
    await stream.until(b"data: 2")
    assert (stream.status, stream.body) == (200, b"retry: 1\ndata: 1\n\ndata: 2\n\n")
    house.say()
    await stream.until(b"data: 3\n\n")
    stream.leave()
    await stream.task
    assert house.is_empty


async def test_the_head_forbids_storing_changing_and_holding_back(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    assert stream.headers == {
        "content-type": "text/event-stream",
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
    await stream.until(b": ping\n")
    house.tick(SILENCE_MS)
    await stream.until(b": ping\n", 2)
    assert b"\n\n" not in stream.body, "an empty line is an event to some readers"
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
    house.say(OVER)
    await asyncio.wait_for(stream.task, 60)
    assert stream.is_whole
    assert stream.body.endswith(b"data: 1\n\nevent: end\n\n"), "no closing words: it came to its own end"
    assert house.is_empty


async def test_the_server_breaks_off_with_words_and_a_time_to_come_back(house: House) -> None:
    broken: list[int] = []
    streams = [await house.open({"towerlog.break_off": partial(broken.append, n)}) for n in range(20)]
    for stream in streams:
        await stream.until(b"retry")
    house.streams.close()
    waits = set()
    for stream in streams:
        await asyncio.wait_for(stream.task, 60)
        assert not stream.is_whole, "it has the look of a run that has ended"
        assert stream.body.endswith(b"\nevent: closed\n\n")
        waits.add(int(stream.body.split(b"retry: ")[2].split()[0]))
    assert len(waits) == 20
    assert sorted(broken) == list(range(20))
    assert min(waits) >= 1000
    assert max(waits) < 8000
    assert house.is_empty


class Notes:
    """A transport that only takes down what it is asked for."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.left = asyncio.Event()

    async def start(self) -> None:
        self.said.append("start")

    async def send(self, chunk: bytes) -> None:
        self.said.append(chunk)

    def has_room(self) -> bool:
        return False

    def put(self, chunk: bytes) -> None:
        raise AssertionError("it has no room")

    async def ping(self) -> None:
        self.said.append("ping")

    async def finish(self, end: StreamEnd) -> None:
        self.said.append(end.cause)

    async def gone(self) -> None:
        await self.left.wait()

    def abort(self) -> None:
        self.said.append("abort")


@pytest.mark.parametrize("cause", Cause)
async def test_a_stream_asks_the_same_of_any_transport(house: House, cause: Cause) -> None:
    notes = Notes()
    stream = house.streams.open(await house.follow(), notes, house.principal, house.place())
    task = asyncio.create_task(stream.run())
    await wait_until_async(lambda: "start" in notes.said, "the start")
    house.tick(SILENCE_MS)
    await wait_until_async(lambda: "ping" in notes.said, "a ping")
    house.say()
    await wait_until_async(lambda: b"data: 1\n\n" in notes.said, "a frame")
    if cause is Cause.COMPLETE:
        house.say(OVER)
    elif cause is Cause.REVOKED:
        stream.revoke()
    elif cause is Cause.CROWDED:
        stream.make_place()
    else:
        house.streams.close()
    await asyncio.wait_for(task, DEADLINE_S)
    frames = [b"data: 1\n\n", b"data: 2\n\n"][: house.last_seq]
    frames += [b"event: end\n\n"] if cause is Cause.COMPLETE else []
    assert notes.said == ["start", "ping", *frames, cause]
    assert house.is_empty


class Direct(Notes):
    """A transport that sends at once while there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.is_roomy = True
        self.taken = asyncio.Event()

    def has_room(self) -> bool:
        return self.is_roomy

    def put(self, chunk: bytes) -> None:
        self.said.append(("put", chunk))

    async def send(self, chunk: bytes) -> None:
        if not self.is_roomy:
            await self.taken.wait()
        self.said.append(chunk)


async def test_who_waits_gets_what_is_committed_without_being_woken(house: House) -> None:
    notes = Direct()
    follower = await house.follow()
    task = asyncio.create_task(house.streams.open(follower, notes, house.principal, house.place()).run())
    house.say()
    await wait_until_async(lambda: b"data: 1\n\n" in notes.said, "what was there before is read by its task")
    await wait_until_async(lambda: follower._waiter is not None, "a wait")
    for _ in range(2):
        house.say()
        await wait_until_async(lambda: ("put", b"data: %d\n\n" % house.last_seq) in notes.said, "the next one")
        assert follower._waiter is not None
        assert not follower._waiter.done()
    house.say(OVER)
    await asyncio.wait_for(task, DEADLINE_S)
    frames = [b"data: 1\n\n", ("put", b"data: 2\n\n"), ("put", b"data: 3\n\n"), b"data: 4\n\n"]
    assert notes.said == ["start", *frames, b"event: end\n\n", Cause.COMPLETE]
    assert follower.take is None
    assert house.is_empty


async def test_a_reader_that_has_not_taken_what_was_put_is_waited_for(house: House) -> None:
    """Nothing is read for it meanwhile: that would be held, and nobody would count it."""
    notes = Direct()
    follower = await house.follow()
    task = asyncio.create_task(house.streams.open(follower, notes, house.principal, house.place()).run())
    await wait_until_async(lambda: follower._waiter is not None, "a wait")
    put = notes.put

    def fill(chunk: bytes) -> None:
        put(chunk)
        notes.is_roomy = False

    notes.put = fill  # type: ignore[method-assign]  # from now on the reader is slow
    house.say()
    await wait_until_async(lambda: follower._waiter is None, "its task waits for room")
    for _ in range(3):
        house.say()
    await asyncio.sleep(0)
    assert follower.cursor == 1
    notes.is_roomy = True
    notes.taken.set()
    await wait_until_async(lambda: b"data: 2\n\ndata: 3\n\ndata: 4\n\n" in notes.said, "the rest")
    assert notes.said == ["start", ("put", b"data: 1\n\n"), b"", b"data: 2\n\ndata: 3\n\ndata: 4\n\n"]
    notes.left.set()
    await asyncio.wait_for(task, DEADLINE_S)
    assert house.is_empty


async def test_a_transport_whose_reader_left_is_told_to_finish(house: House) -> None:
    notes = Notes()
    task = asyncio.create_task(house.streams.open(await house.follow(), notes, house.principal, house.place()).run())
    await wait_until_async(lambda: "start" in notes.said, "the start")
    notes.left.set()
    await asyncio.wait_for(task, DEADLINE_S)
    assert notes.said == ["start", Cause.COMPLETE]
    assert house.is_empty


async def test_a_revoked_key_ends_the_stream(house: House) -> None:
    stream = await house.open()
    await stream.until(b"retry")
    await house.auth.tick(house.clock.ms + 2000)
    assert not stream.task.done()
    house.keys.revoked_at = 1
    await house.auth.tick(house.clock.ms + 4000)
    await asyncio.wait_for(stream.task, 60)
    assert stream.body.endswith(b"event: closed\n\n")
    assert not stream.is_whole
    assert house.is_empty


async def test_a_stream_waits_for_its_reader_and_ends_when_its_connection_does(house: House) -> None:
    """How long it may wait is not the stream's to say."""
    stream = await house.open()
    other = await house.open()
    await stream.until(b"retry")
    await other.until(b"retry")
    stream.is_stuck = True
    house.tick(0)
    house.say()
    await other.until(b"data: 1")
    house.tick(1_000_000)
    await asyncio.sleep(0)
    assert not stream.task.done()
    stream.leave()
    stream.free()  # what is sent to nobody waits for nobody
    await asyncio.wait_for(stream.task, 60)
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
    await asyncio.wait_for(stream.task, 60)
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


async def test_a_large_frame_is_held_in_a_turn_and_comes_whole_to_all(house: House, monkeypatch: Any) -> None:
    """Who takes nothing has the turn; the others of its key wait, and read the frame again when it has gone."""
    monkeypatch.setattr(streams_module, "MAX_CHUNK_BYTES", 4)
    readers = [await house.open()]
    await readers[0].until(b"retry")
    readers[0].is_stuck = True
    house.say()
    await wait_until_async(lambda: house.turns.taken, "the first to have the turn")
    house.say()
    readers += [await house.open(), await house.open()]
    for reader in readers[1:]:
        await reader.until(b"retry")
    await wait_until_async(lambda: house.turns.waiting == 2, "the others to wait")
    assert [reader.body for reader in readers[1:]] == [b"retry: 1\n"] * 2
    house.tick(HELD_MS + 1)
    for reader in readers[1:]:
        await reader.until(b"data: 1\n\ndata: 2\n\n")
        reader.leave()
    readers[0].leave()
    readers[0].free()
    for reader in readers:
        await asyncio.wait_for(reader.task, 60)
    assert house.is_empty
    assert not house.turns.taken


@pytest.mark.parametrize("why", ["its reader leaves", "its key is revoked", "the server goes down", "it is cut"])
async def test_a_stream_in_line_for_a_turn_pings_and_ends(house: House, monkeypatch: Any, why: str) -> None:
    monkeypatch.setattr(streams_module, "MAX_CHUNK_BYTES", 4)
    turn = house.turns.ask("p", "l")
    house.say()
    notes = Notes()
    stream = house.streams.open(await house.follow(), notes, house.principal, house.place())
    task = asyncio.create_task(stream.run())
    await wait_until_async(lambda: house.turns.waiting == 1, "the stream to wait")
    for pings in (1, 2):
        house.tick(SILENCE_MS)
        await wait_until_async(lambda count=pings: notes.said == ["start", *["ping"] * count], "a ping")
    assert house.turns.waiting == 1, "it has kept its place in the line"
    if why == "its reader leaves":
        notes.left.set()
    elif why == "its key is revoked":
        house.keys.revoked_at = 1
        await house.auth.tick(house.clock.ms + 4000)
    elif why == "the server goes down":
        house.streams.close()
    else:
        stream.cut()
    await asyncio.wait_for(task, 60)
    assert notes.said[3:] == [
        {"its key is revoked": Cause.REVOKED, "the server goes down": Cause.CLOSING, "it is cut": "abort"}.get(
            why, Cause.COMPLETE
        )
    ]
    assert house.is_empty
    assert house.turns.waiting == 0
    house.turns.end(turn)
    assert not house.turns.taken, "what it left is free for others"


async def test_a_large_frame_that_nobody_takes_is_let_go_and_read_again(house: House, monkeypatch: Any) -> None:
    """In the middle as well: it goes on where it was, and gives its turn to others meanwhile."""
    monkeypatch.setattr(streams_module, "MAX_CHUNK_BYTES", 4)
    house.tick()
    slow = await house.open()
    await slow.until(b"retry")
    [held] = house.streams._open
    slow.is_stuck = True
    house.say()
    for sent in (4, 8):
        await wait_until_async(lambda: held.sending_since and held._large is not None, "it to hold the frame")
        other = await house.open()
        await wait_until_async(lambda: house.turns.waiting == 1, "the other to wait")
        house.tick(HELD_MS)
        assert held._large is not None, "not yet"
        house.tick(1)
        assert held._large is None
        await other.until(b"data: 1\n\n")
        other.leave()
        await other.task
        assert not house.turns.taken
        slow.free(stays_stuck=True)
        await wait_until_async(lambda count=sent: len(slow.body) == len(b"retry: 1\n") + count, "it to go on")
    slow.free()
    await slow.until(b"data: 1\n\n")
    house.say()
    await slow.until(b"data: 2\n\n")
    assert slow.body == b"retry: 1\ndata: 1\n\ndata: 2\n\n", "nothing twice"
    slow.leave()
    await slow.task
    assert house.is_empty


@pytest.mark.parametrize("why", ["it is another", "its key is revoked"])
async def test_half_a_frame_is_never_followed_by_something_else(house: House, monkeypatch: Any, why: str) -> None:
    monkeypatch.setattr(streams_module, "MAX_CHUNK_BYTES", 4)
    aborted: list[bool] = []
    house.tick()
    reader = await house.open({"towerlog.abort": lambda: aborted.append(True)})
    await reader.until(b"retry")
    reader.is_stuck = True
    house.say()
    [stream] = house.streams._open
    await wait_until_async(lambda: stream._large is not None and stream.sending_since, "it to hold the frame")
    house.tick(HELD_MS + 1)
    assert stream._large is None
    if why == "it is another":
        monkeypatch.setattr(House, "event", lambda *_: Event(1, 1, OPEN.run, 71, EventType.STEP, 0, b"{}"))
        house.hub._channels[(RUN, OPEN.run), "test"].forget()
    else:
        stream.revoke()
    reader.free()
    await asyncio.wait_for(reader.task, 60)
    assert aborted == [True]
    assert not reader.is_whole
    assert reader.body == b"retry: 1\ndata"
    assert house.is_empty


async def test_no_ping_comes_into_a_frame_that_waits_for_a_turn_half_sent(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr(streams_module, "MAX_CHUNK_BYTES", 4)
    house.tick()
    reader = await house.open()
    await reader.until(b"retry")
    reader.is_stuck = True
    house.say()
    [stream] = house.streams._open
    await wait_until_async(lambda: stream._large is not None and stream.sending_since, "it to hold the frame")
    house.tick(HELD_MS + 1)
    turn = house.turns.ask("p", "l")
    assert turn.done()
    reader.free()
    await wait_until_async(lambda: house.turns.waiting == 1, "it to wait for the rest")
    stream.ping()
    await wait_until_async(lambda: not stream.is_ping_due, "the ping to be seen to")
    house.turns.end(turn)
    await reader.until(b"data: 1\n\n")
    assert reader.body == b"retry: 1\ndata: 1\n\n"
    reader.leave()
    await reader.task
    assert house.is_empty
