"""Followers: every event once and in order, whatever happens between subscribing, reading and waiting."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.factories import draft, traced
from tests.support.rig import Rig
from tests.support.wait import wait_until_async
from towerlog.engine import follow
from towerlog.engine.follow import MAX_CHUNK_BYTES, OTHER_LOG, PAGE_EVENTS, RING_BYTES, RING_FRAMES, Channel, Follower
from towerlog.errors import NotFound
from towerlog.model.command import FollowAgent, FollowRun, RegisterAgent
from towerlog.model.event import Event, EventType, Facts
from towerlog.model.outcome import Stored

E = EventType
DEADLINE_S = 20


def frame(event: Event, _epoch: str) -> bytes:
    """The event's seq, closed by a blank."""
    return b"%d " % event.seq


async def append(rig: Rig, count: int = 1, kind: EventType = E.STEP, trace: str = "x") -> str:
    """So many events in one command; the run's id."""
    results = await rig.append(*(draft(kind, traced(trace), agent="a") for _ in range(count)))
    assert isinstance(results[-1], Stored)
    return results[-1].run_id


async def open_follower(rig: Rig, run_id: str, after_seq: int = 0, **fields: Any) -> Follower:
    """Follows a run with plain frames."""
    return await rig.engine.follow(rig.principal, FollowRun(run_id, after_seq, **fields), "plain", frame)


async def read(follower: Follower) -> bytes | None:
    """The next read, which must come in time."""
    return await asyncio.wait_for(follower.read(), DEADLINE_S)


async def read_to_end(follower: Follower) -> list[int]:
    """All seqs until the stream ends."""
    found: list[int] = []
    while (chunk := await read(follower)) is not None:
        found += map(int, chunk.split())
    return found


async def read_count(follower: Follower, count: int) -> list[int]:
    """The next seqs, so many."""
    found: list[int] = []
    while len(found) < count:
        chunk = await read(follower)
        assert chunk is not None, f"ended after {found}"
        found += map(int, chunk.split())
    return found


def before_page(rig: Rig, patch: pytest.MonkeyPatch, happen: Callable[[int], Awaitable[None]], *, after: bool) -> None:
    """Something happens at each page that is read from the store: before the read, or after it."""
    real = rig.store.events
    pages = 0

    async def events(*arguments: Any) -> list[Event]:
        nonlocal pages
        pages += 1
        if not after:
            await happen(pages)
        found = await real(*arguments)
        if after:
            await happen(pages)
        return found

    patch.setattr(rig.store, "events", events)


# Reading


async def test_a_follower_reads_what_is_there_then_what_comes(rig: Rig) -> None:
    run_id = await append(rig, 3)
    follower = await open_follower(rig, run_id, after_seq=1)
    assert await read(follower) == b"2 3 "
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    assert not reading.done()
    await append(rig, 2)
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"4 5 "
    follower.close()


async def test_a_run_that_is_not_there_cannot_be_followed(rig: Rig) -> None:
    with pytest.raises(NotFound):
        await open_follower(rig, "nothing")
    other = await rig.make_org("other")
    run_id = await append(rig)
    with pytest.raises(NotFound):
        await rig.engine.follow(other, FollowRun(run_id), "plain", frame)
    assert rig.engine.figures()["followers"] == 0


async def test_without_following_a_stream_ends_at_what_is_there(rig: Rig) -> None:
    run_id = await append(rig, 3)
    follower = await open_follower(rig, run_id, follow=False)
    assert await read_to_end(follower) == [1, 2, 3]
    follower.close()


async def test_a_stream_ends_after_the_end_and_late_events_before_it(rig: Rig) -> None:
    run_id = await append(rig, 2)
    follower = await open_follower(rig, run_id)
    reading = asyncio.create_task(read_to_end(follower))
    await append(rig, 1, E.RUN_COMPLETED)
    assert await asyncio.wait_for(reading, DEADLINE_S) == [1, 2, 3]
    follower.close()
    await append(rig, 1)
    later = await open_follower(rig, run_id, after_seq=3)
    assert await read_to_end(later) == [4]
    later.close()


async def test_where_nothing_is_and_nothing_will_come_the_stream_is_finished(rig: Rig) -> None:
    run_id = await append(rig, 2)
    assert not (await open_follower(rig, run_id, after_seq=2)).finished
    await append(rig, 1, E.RUN_COMPLETED)
    assert not (await open_follower(rig, run_id, after_seq=2)).finished
    for cursor in (3, 99):
        follower = await open_follower(rig, run_id, after_seq=cursor)
        assert follower.finished
        assert await read(follower) is None


async def test_a_wake_without_news_gives_an_empty_chunk(rig: Rig) -> None:
    follower = await open_follower(rig, await append(rig), after_seq=1)
    reading = asyncio.create_task(follower.read())
    await wait_until_async(lambda: follower._waiter is not None, "the follower to wait")
    follower.wake()
    assert await asyncio.wait_for(reading, DEADLINE_S) == b""
    follower.close()


async def test_a_follower_that_is_stopped_ends(rig: Rig) -> None:
    follower = await open_follower(rig, await append(rig), after_seq=1)
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    follower.stop()
    assert await asyncio.wait_for(reading, DEADLINE_S) is None
    assert await read(follower) is None
    follower.close()


# Between subscribing and reading


async def test_what_is_committed_between_subscribing_and_reading_is_read(rig: Rig) -> None:
    follower = await open_follower(rig, await append(rig), after_seq=0)
    await append(rig, 2)
    assert await read_count(follower, 3) == [1, 2, 3]
    follower.close()


async def test_what_is_committed_before_the_store_is_read_is_read_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = await open_follower(rig, await append(rig))

    async def happen(page: int) -> None:
        if page == 1:
            await append(rig, 2)

    before_page(rig, monkeypatch, happen, after=False)
    assert await read_count(follower, 3) == [1, 2, 3]
    await append(rig)
    assert await read_count(follower, 1) == [4]
    follower.close()


async def test_what_is_committed_while_the_store_is_read_is_not_missed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is old when it arrives; the follower must look again before it waits."""
    follower = await open_follower(rig, await append(rig), after_seq=1)

    async def happen(page: int) -> None:
        if page == 1:
            await append(rig, 2)

    before_page(rig, monkeypatch, happen, after=True)
    assert await read_count(follower, 2) == [2, 3]
    follower.close()


async def test_an_end_that_is_committed_while_the_store_is_read_ends_the_stream_after_itself(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = await open_follower(rig, await append(rig))

    async def happen(page: int) -> None:
        if page == 1:
            await append(rig, 1, E.RUN_COMPLETED)

    before_page(rig, monkeypatch, happen, after=True)
    assert await read_to_end(follower) == [1, 2]
    follower.close()


async def test_an_end_that_is_committed_while_it_is_asked_for_ends_the_stream(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subscribed already, the follower asks whether the run has ended; it ends between the answer and its arrival."""
    run_id = await append(rig)
    real = rig.store.run
    asked = 0

    async def run(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        found = await real(*arguments)
        if asked == 2:  # the first look finds the run, the second asks for its end
            await append(rig, 1, E.RUN_COMPLETED)
        return found

    monkeypatch.setattr(rig.store, "run", run)
    follower = await open_follower(rig, run_id, after_seq=1)
    assert asked == 2
    assert not follower.finished
    assert await read_to_end(follower) == [2]
    follower.close()


# The ring


async def test_what_fell_off_the_ring_is_read_from_the_store(rig: Rig) -> None:
    run_id = await append(rig)
    slow = await open_follower(rig, run_id)
    total = RING_FRAMES + 2 * PAGE_EVENTS + 7
    for _ in range(total // 100):
        await append(rig, 100)
    assert await read_count(slow, total // 100 * 100 + 1) == list(range(1, total // 100 * 100 + 2))
    slow.close()


def channel_of(count: int, size: int = 10) -> Channel:
    """A channel with so many frames of that size, seq 1, 2, 3 …"""
    channel = Channel(("run", 1, "plain"), lambda event, _: b"x" * size)
    for seq in range(1, count + 1):
        channel.publish(seq, None, "e")  # type: ignore[arg-type]
    return channel


def test_a_ring_holds_so_many_frames_and_knows_where_it_begins() -> None:
    channel = channel_of(RING_FRAMES + 10)
    assert len(channel.frames) == RING_FRAMES
    assert channel.after(9) is None
    found = channel.after(10)
    assert found == (RING_FRAMES + 10, b"x" * 10 * RING_FRAMES)
    assert channel.after(RING_FRAMES + 10) == (RING_FRAMES + 10, b"")


def test_a_ring_holds_so_many_bytes() -> None:
    size = RING_BYTES // 10
    channel = channel_of(25, size)
    assert sum(len(frame) for _, frame in channel.frames) <= RING_BYTES
    assert len(channel.frames) == 10
    assert channel.after(14) is None
    assert channel.after(15) is not None


def test_a_frame_larger_than_the_ring_is_held_alone() -> None:
    channel = channel_of(3, RING_BYTES + 1)
    assert [cursor for cursor, _ in channel.frames] == [3]


def test_a_chunk_is_bounded_and_nothing_is_left_out() -> None:
    channel = channel_of(20, MAX_CHUNK_BYTES // 4)
    cursor, seen = 0, 0
    while (found := channel.after(cursor)) is not None and found[1]:
        assert len(found[1]) <= MAX_CHUNK_BYTES * 5 // 4
        cursor, seen = found[0], seen + len(found[1])
    assert (cursor, seen) == (20, 20 * (MAX_CHUNK_BYTES // 4))


def test_an_empty_ring_knows_nothing() -> None:
    assert Channel(("run", 1, "plain"), frame).after(0) is None


async def test_frames_are_made_once_for_all_followers(rig: Rig) -> None:
    made: list[int] = []

    def counted(event: Event, epoch: str) -> bytes:
        made.append(event.seq)
        return frame(event, epoch)

    run_id = await append(rig)
    followers = [await rig.engine.follow(rig.principal, FollowRun(run_id, 1), "counted", counted) for _ in range(50)]
    reading = [asyncio.create_task(read_count(follower, 3)) for follower in followers]
    await wait_until_async(lambda: all(one._waiter is not None for one in followers), "all followers to wait")
    await append(rig, 3)
    assert await asyncio.gather(*reading) == [[2, 3, 4]] * 50
    assert made == [2, 3, 4]
    for follower in followers:
        follower.close()


async def test_thousands_follow_one_run_and_leave_nothing_behind(rig: Rig) -> None:
    run_id = await append(rig)
    followers = [await open_follower(rig, run_id, after_seq=1) for _ in range(3000)]
    assert rig.engine.figures()["followers"] == 3000
    reading = [asyncio.create_task(read_to_end(follower)) for follower in followers]
    for _ in range(5):
        await append(rig, 20)
    await append(rig, 1, E.RUN_COMPLETED)
    assert await asyncio.gather(*reading) == [list(range(2, 103))] * 3000
    for follower in followers:
        follower.close()
    assert rig.engine.figures()["followers"] == 0
    assert not rig.engine._hub._channels
    assert not rig.engine._hub._by_subject


async def test_a_slow_follower_holds_nobody_up(rig: Rig) -> None:
    run_id = await append(rig)
    slow, quick = [await open_follower(rig, run_id, after_seq=1) for _ in range(2)]
    for round_number in range(15):
        await append(rig, 100)
        first = 2 + 100 * round_number
        assert await read_count(quick, 100) == list(range(first, first + 100))
    assert len(slow._channel.frames) == RING_FRAMES, "nothing is kept for a slow one beyond the ring"
    assert await read_count(slow, 1500) == list(range(2, 1502))
    for follower in (slow, quick):
        follower.close()


async def test_styles_of_one_run_are_apart(rig: Rig) -> None:
    run_id = await append(rig)
    plain = await open_follower(rig, run_id)
    loud = await rig.engine.follow(rig.principal, FollowRun(run_id), "loud", lambda event, _: b"%d!" % event.seq)
    silent = await rig.engine.follow(rig.principal, FollowRun(run_id), "silent", lambda *_: None)
    reading = asyncio.create_task(read_to_end(silent))
    await append(rig, 1, E.RUN_COMPLETED)
    assert await read_to_end(plain) == [1, 2]
    assert await read(loud) == b"1!2!"
    assert await asyncio.wait_for(reading, DEADLINE_S) == [], "what has no frame still moves the cursor to the end"
    for follower in (plain, loud, silent):
        follower.close()


# Gaps


async def test_what_was_trimmed_is_told_as_a_gap_and_the_rest_follows(rig: Rig) -> None:
    run_id = await append(rig, 20)
    row = await rig.run(run_id)
    await rig.store.run_trim(rig.org, row.run, 11)
    follower = await open_follower(rig, run_id, after_seq=3)
    chunk = await read(follower)
    assert chunk is not None
    gap, _, rest = chunk.partition(b"\n\n")
    assert gap == b'event: gap\ndata: {"requested":3,"oldest_seq":11,"missing":7}'
    assert [int(seq) for seq in rest.split()] == list(range(11, 21))
    follower.close()
    for cursor in (10, 15):
        unhurt = await open_follower(rig, run_id, after_seq=cursor)
        assert await read_count(unhurt, 20 - cursor) == list(range(cursor + 1, 21))
        unhurt.close()


async def test_a_cursor_of_another_log_gets_a_gap_and_everything(rig: Rig) -> None:
    run_id = await append(rig, 3)
    follower = await open_follower(rig, run_id, after_seq=2, epoch="another")
    gap = await read(follower)
    assert gap is not None
    assert re.fullmatch(rb'event: gap\ndata: \{"requested":2,.*\}\n\n', gap)
    assert await read_count(follower, 3) == [1, 2, 3]
    follower.close()
    same = await open_follower(rig, run_id, after_seq=2, epoch=rig.store.epoch)
    assert await read_count(same, 1) == [3]
    same.close()


async def test_of_a_run_that_has_ended_another_logs_cursor_is_never_finished(rig: Rig) -> None:
    run_id = await append(rig, 1, E.RUN_COMPLETED)
    follower = await open_follower(rig, run_id, after_seq=9, epoch="another")
    assert not follower.finished
    gap = await read(follower)
    assert gap is not None
    assert gap.startswith(b"event: gap\n")
    assert await read_to_end(follower) == [1]
    follower.close()


# Feeds


async def feed_of(rig: Rig, tail: int, after: str | None = None) -> Follower:
    """Follows agent `a`; frames are positions."""
    agent = (await rig.do(RegisterAgent("a"))).row
    command = FollowAgent(agent.agent_id, tail, after)
    return await rig.engine.follow(rig.principal, command, "feed", lambda event, _: b"%d " % event.position)


async def test_a_feed_begins_with_its_newest_and_goes_on(rig: Rig) -> None:
    for _ in range(4):
        await append(rig, 1, E.TOOL_CALL)
        await append(rig, 1, E.STEP)
    follower = await feed_of(rig, 2)
    assert await read(follower) == b"5 7 "
    reading = asyncio.create_task(follower.read())
    await append(rig, 1, E.STEP)
    await append(rig, 1, E.TOOL_CALL, trace="another run")
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"10 "
    await append(rig, 1, E.TOOL_RESULT)
    assert await read(follower) == b"11 "
    follower.close()


@pytest.mark.parametrize(
    ("tail", "after", "expected"), [(0, None, []), (9, None, [1, 2, 3]), (0, 1, [2, 3]), (9, 3, [])]
)
async def test_a_feed_begins_where_it_is_told(rig: Rig, tail: int, after: int | None, expected: list[int]) -> None:
    await append(rig, 3, E.TOOL_CALL)
    follower = await feed_of(rig, tail, None if after is None else f"{rig.store.epoch}-{after}")
    await append(rig, 1, E.TOOL_CALL)
    assert await read_count(follower, len(expected) + 1) == [*expected, 4]
    follower.close()


async def test_a_feeds_cursor_of_another_log_says_so_first(rig: Rig) -> None:
    await append(rig, 3, E.TOOL_CALL)
    follower = await feed_of(rig, 2, "another-1")
    assert await read(follower) == OTHER_LOG
    assert await read(follower) == b"2 3 "
    follower.close()


async def test_a_feed_whose_ring_begins_in_the_middle_misses_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions are not dense: the first event a ring sees says nothing about what lies before it."""
    await append(rig, 2, E.TOOL_CALL)
    follower = await feed_of(rig, 9)
    real = rig.store.feed

    async def feed(*arguments: Any) -> list[Event]:
        found = await real(*arguments)
        monkeypatch.setattr(rig.store, "feed", real)
        await append(rig, 1, E.TOOL_CALL)
        await append(rig, 1, E.TOOL_CALL)
        return found

    monkeypatch.setattr(rig.store, "feed", feed)
    assert await read_count(follower, 4) == [1, 2, 3, 4]
    follower.close()


async def test_a_feed_holds_only_what_has_a_place_there(rig: Rig) -> None:
    await append(rig)
    follower = await feed_of(rig, 0)
    reading = asyncio.create_task(read_count(follower, len(follow.FEED_TYPES)))
    for kind in E:
        await rig.append(draft(kind, traced(kind), agent="a", facts=Facts()))
    log = await rig.log()
    expected = [event.position for event in log if event.type in follow.FEED_TYPES]
    assert await asyncio.wait_for(reading, DEADLINE_S) == expected
    follower.close()


async def test_an_engine_that_stops_ends_every_stream(rig: Rig) -> None:
    run_id = await append(rig)
    followers = [await open_follower(rig, run_id, after_seq=1), await feed_of(rig, 0)]
    reading = [asyncio.create_task(follower.read()) for follower in followers]
    await asyncio.sleep(0)
    await rig.engine.stop()
    assert await asyncio.wait_for(asyncio.gather(*reading), DEADLINE_S) == [None, None]
    for follower in followers:
        follower.close()
