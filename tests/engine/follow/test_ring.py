"""The ring of a channel: bounded, shared, and never the only place where something is."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.engine.follow.following import (
    DEADLINE_S,
    PLAIN,
    E,
    append,
    frame,
    open_follower,
    read,
    read_count,
    read_to_end,
    style,
)
from tests.support.factories import event
from tests.support.rig import Rig
from tests.support.wait import wait_until_async
from towerlog.engine.follow import channel, hub
from towerlog.engine.follow import follower as followers
from towerlog.engine.follow.channel import (
    MAX_CHUNK_BYTES,
    MAX_SHARED_CHUNKS,
    RING_BYTES,
    RING_FRAMES,
    TOLD_AT_ONCE,
    Channel,
)
from towerlog.engine.follow.follower import PAGE_EVENTS
from towerlog.engine.follow.subjects import RUN
from towerlog.model.event import Event
from towerlog.model.question import FollowRun


async def test_what_fell_off_the_ring_is_read_from_the_store(rig: Rig) -> None:
    run_id = await append(rig)
    slow = await open_follower(rig, run_id)
    total = RING_FRAMES + 2 * PAGE_EVENTS + 7
    for _ in range(total // 100):
        await append(rig, 100)
    assert await read_count(slow, total // 100 * 100 + 1) == list(range(1, total // 100 * 100 + 2))
    slow.close()


async def test_a_chunk_from_the_store_is_bounded_as_well(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_CHUNK_BYTES", 10)
    follower = await open_follower(rig, await append(rig, 30), follow=False)
    found: list[int] = []
    while (chunk := await read(follower)) is not None:
        assert len(chunk) <= 10 + len(b"30 ")
        found += map(int, chunk.split())
    assert found == list(range(1, 31))
    follower.close()


async def test_pages_without_a_frame_are_passed_over(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the store behind many events that this style does not show is found without any wake-up."""
    monkeypatch.setattr(followers, "PAGE_EVENTS", 3)
    run_id = await append(rig, 20)

    def rare(event: Event, *rest: Any) -> bytes | None:
        return frame(event, *rest) if event.seq % 10 == 0 else None

    follower = await rig.engine.follow(rig.principal, FollowRun(run_id), style("rare", rare))
    assert await read_count(follower, 2) == [10, 20]
    reading = asyncio.create_task(read_count(follower, 1))
    for _ in range(3):
        await append(rig, 4)
    assert await asyncio.wait_for(reading, DEADLINE_S) == [30]
    follower.close()


class Waiting:
    """A follower that reads nothing."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self) -> None:
        """Is counted."""
        self.told += 1

    def stop(self) -> None:
        """Is not heard."""


def channel_of(count: int, size: int = 10, followers: int = 1) -> Channel:
    """A channel with so many frames of that size, seq 1, 2, 3 …"""
    channel = Channel((RUN, 1), style("plain", lambda *_: b"x" * size), "e")
    channel.followers.update(Waiting() for _ in range(followers))
    for seq in range(1, count + 1):
        channel.publish(event(seq, seq), {})
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
    channel = channel_of(25, size, followers=2)
    assert sum(len(frame) for _, frame in channel.frames) <= RING_BYTES
    assert len(channel.frames) == 10
    assert channel.after(14) is None
    assert channel.after(15) is not None


def test_a_frame_larger_than_the_ring_is_held_alone() -> None:
    channel = channel_of(3, RING_BYTES + 1, followers=17)
    assert [cursor for cursor, _ in channel.frames] == [3]


@pytest.mark.parametrize("followers", [1, 2, 3])
@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_a_frame_is_kept_where_it_is_no_more_than_a_chunk_for_each_follower(followers: int, chunks: int) -> None:
    """Readers that take nothing would keep one each; a crowd at one run shares it."""
    channel = channel_of(1, MAX_CHUNK_BYTES * chunks, followers)
    assert bool(channel.frames) == (chunks <= followers)
    assert channel.after(1) == (1, b""), "who has it waits for more"
    assert (channel.after(0) is None) == (chunks > followers), "who has not reads the store"
    assert channel.size <= MAX_CHUNK_BYTES * followers


def test_no_frame_is_made_of_an_event_that_is_too_long_to_be_kept() -> None:
    made: list[int] = []

    def counted(event: Event, *rest: Any) -> bytes | None:
        made.append(event.seq)
        return b"x" * 10

    channel = Channel((RUN, 1), style("counted", counted), "e")
    channel.followers.add(Waiting())
    channel.publish(event(1, 1), {})
    channel.publish(event(2, 2, data=b'{"a":"%s"}' % (b"x" * MAX_CHUNK_BYTES)), {})
    channel.publish(event(3, 3), {})
    assert made == [1, 3]
    assert channel.after(1) is None, "its reader reads the store"
    assert channel.after(2) == (3, b"x" * 10)


def test_a_chunk_is_bounded_and_nothing_is_left_out() -> None:
    channel = channel_of(20, MAX_CHUNK_BYTES // 4)
    cursor, seen = 0, 0
    while (found := channel.after(cursor)) is not None and found[1]:
        assert len(found[1]) <= MAX_CHUNK_BYTES * 5 // 4
        cursor, seen = found[0], seen + len(found[1])
    assert (cursor, seen) == (20, 20 * (MAX_CHUNK_BYTES // 4))


def test_an_empty_ring_knows_nothing() -> None:
    assert Channel((RUN, 1), PLAIN, "e").after(0) is None


async def test_frames_are_made_once_for_all_followers(rig: Rig) -> None:
    made: list[int] = []

    def counted(event: Event, *rest: Any) -> bytes:
        made.append(event.seq)
        return frame(event, *rest)

    run_id = await append(rig)
    counting = style("counted", counted)
    followers = [await rig.engine.follow(rig.principal, FollowRun(run_id, 1), counting) for _ in range(50)]
    reading = [asyncio.create_task(read_count(follower, 3)) for follower in followers]
    await wait_until_async(lambda: all(one._waiter is not None for one in followers), "all followers to wait")
    await append(rig, 3)
    assert await asyncio.gather(*reading) == [[2, 3, 4]] * 50
    assert made == [2, 3, 4]
    for follower in followers:
        follower.close()


async def test_thousands_follow_one_run_and_leave_nothing_behind(rig: Rig) -> None:
    run_id = await append(rig)
    followers = [await open_follower(rig, run_id, after_seq=1) for _ in range(2000)]
    assert rig.engine.figures()["followers"] == 2000
    reading = [asyncio.create_task(read_to_end(follower)) for follower in followers]
    for _ in range(5):
        await append(rig, 20)
    await append(rig, 1, E.RUN_COMPLETED)
    assert await asyncio.gather(*reading) == [list(range(2, 103))] * 2000
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
    loud = await rig.engine.follow(
        rig.principal, FollowRun(run_id), style("loud", lambda event, *_: b"%d!" % event.seq)
    )
    silent = await rig.engine.follow(rig.principal, FollowRun(run_id), style("silent", lambda *_: None))
    reading = asyncio.create_task(read_to_end(silent))
    await append(rig, 1, E.RUN_COMPLETED)
    assert await read_to_end(plain) == [1, 2]
    assert await read(loud) == b"1!2!"
    assert await asyncio.wait_for(reading, DEADLINE_S) == [], "what has no frame still moves the cursor to the end"
    for follower in (plain, loud, silent):
        follower.close()


def test_followers_at_different_places_get_each_their_own() -> None:
    """More places than joined chunks are kept for; asked in any order, twice, and again after more has come."""
    channel = Channel((RUN, 1), PLAIN, "e")
    for seq in range(1, 3 * MAX_SHARED_CHUNKS):
        channel.publish(event(seq, seq), {})
    for last in (3 * MAX_SHARED_CHUNKS - 1, 3 * MAX_SHARED_CHUNKS):
        for cursor in (*range(last), *range(last - 1, -1, -1)):
            found = channel.after(cursor)
            assert found is not None
            assert found[0] == last
            assert [int(seq) for seq in found[1].split()] == list(range(cursor + 1, last + 1))
        assert len(channel._chunks) <= MAX_SHARED_CHUNKS
        channel.publish(event(last + 1, last + 1), {})
        channel.wake()


def test_those_at_the_same_place_share_the_same_bytes() -> None:
    channel = channel_of(5)
    first, second = channel.after(2), channel.after(2)
    assert first is not None
    assert second is not None
    assert first[1] is second[1]


async def test_a_crowd_is_told_in_parts_and_nobody_is_left_out() -> None:
    """Commits that come faster than a round is over do not begin it anew: else the last would never be told."""
    crowd = 3 * TOLD_AT_ONCE
    channel = channel_of(1, followers=crowd)
    told: list[int] = []
    for _ in range(3):
        channel.wake()
        await asyncio.sleep(0)
        told.append(sum(reader.told for reader in channel.followers))  # type: ignore[attr-defined]  # all are Waiting
    assert told == [TOLD_AT_ONCE, 2 * TOLD_AT_ONCE, crowd]
    for _ in range(10):
        await asyncio.sleep(0)
    assert {reader.told for reader in channel.followers} == {2}, "once more for what came during the first round"  # type: ignore[attr-defined]


async def test_a_ring_that_was_emptied_knows_nothing_of_what_it_held() -> None:
    channel = channel_of(5)
    assert channel.after(4) is not None
    channel.forget()
    assert (channel.size, channel._chunks) == (0, {})
    assert channel.after(4) is None
    assert channel.after(5) == (5, b"")
    channel.publish(event(6, 6), {})
    channel.wake()
    assert channel.after(4) is None
    assert channel.after(5) == (6, b"x" * 10)


async def test_all_rings_together_are_bounded_and_nothing_is_missed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ALL_RINGS_BYTES", 2000)
    runs = [await append(rig, 1, trace=str(number)) for number in range(5)]
    followers = [await open_follower(rig, run_id) for run_id in runs]
    for _ in range(20):
        for number in range(5):
            await append(rig, 20, trace=str(number))
        assert sum(channel.size for channel in rig.engine._hub._channels.values()) <= 2000
    for follower in followers:
        assert await read_count(follower, 401) == list(range(1, 402))
        follower.close()


async def test_whoever_has_most_in_rings_loses_of_it_and_nobody_else(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small rings of one organisation push out none of another's, although that is larger than each of them."""
    monkeypatch.setattr(hub, "ALL_RINGS_BYTES", 2000)
    others, ours = await rig.make_org("other"), rig.principal
    small = []
    for number in range(20):
        rig.principal = others
        small.append(await open_follower(rig, await append(rig, trace=str(number))))
    rig.principal = ours
    large = await open_follower(rig, await append(rig))
    await append(rig, 100)
    ring = large._channel
    before = ring.size
    rig.principal = others
    for number in range(400):
        await append(rig, 10, trace=str(number % 20))
        assert ring.size == before > 200
        assert sum(one.size for one in rig.engine._hub._channels.values()) <= 2000
    assert max(one._channel.size for one in small) < before
    for one in (large, *small):
        one.close()


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
async def test_whatever_comes_when_each_follower_sees_every_seq_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Small rings, pages and chunks; followers that come late, pause, leave and come back with their cursor."""
    small = {"RING_FRAMES": 7, "RING_BYTES": 30, "PAGE_EVENTS": 3, "MAX_CHUNK_BYTES": 8, "ALL_RINGS_BYTES": 60}
    for name, value in small.items():
        for module in (hub, channel, followers):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    dice = random.Random(seed)
    run_id = await append(rig)

    async def write() -> None:
        for _ in range(60):
            await append(rig, dice.choice((1, 1, 2, 9)))
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
        await append(rig, 1, E.RUN_COMPLETED)

    async def watch() -> list[int]:
        found: list[int] = []
        while True:
            follower = await open_follower(rig, run_id, after_seq=found[-1] if found else 0)
            try:
                for _ in range(dice.choice((1, 3, 1000))):
                    chunk = await read(follower)
                    if chunk is None:
                        return found
                    found += map(int, chunk.split())
                    for _ in range(dice.choice((0, 0, 0, 5, 50))):
                        await asyncio.sleep(0)
            finally:
                follower.close()

    *watched, _ = await asyncio.wait_for(asyncio.gather(*(watch() for _ in range(12)), write()), DEADLINE_S)
    total = (await rig.run(run_id)).last_seq
    assert watched == [list(range(1, total + 1))] * 12
    assert rig.engine.figures()["followers"] == 0


async def test_an_event_that_has_no_frame_for_a_defect_is_lost_to_its_stream_alone(rig: Rig) -> None:
    """The commit stands, other channels have it, and nobody is handed what came later as if nothing was missing."""
    run_id = await append(rig)
    fails = {"now": True}

    def brittle(event: Event, *rest: Any) -> bytes:
        if event.seq == 2 and fails["now"]:
            raise ZeroDivisionError("a defect in a frame")
        return frame(event, *rest)

    broken = await rig.engine.follow(rig.principal, FollowRun(run_id), style("brittle", brittle))
    sound = await open_follower(rig, run_id)
    await append(rig, 1)
    await append(rig, 1)
    fails["now"] = False
    assert await read_count(sound, 3) == [1, 2, 3]
    assert await read_count(broken, 3) == [1, 2, 3]
    broken.close()
    sound.close()
