"""Followers: every event once and in order, whatever happens between subscribing, reading and waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.engine.follow.following import (
    DEADLINE_S,
    PLAIN,
    E,
    append,
    before_page,
    feed_of,
    frame,
    open_follower,
    read,
    read_count,
    read_news,
    read_to_end,
    style,
)
from tests.support.rig import Rig
from tests.support.wait import wait_until_async
from towerlog.errors import NotFound, StorageFailed
from towerlog.model.question import FollowRun

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
        await rig.engine.follow(other, FollowRun(run_id), PLAIN)
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
    follower = await open_follower(rig, run_id, after_seq=3)
    assert follower.finished
    assert await read(follower) is None


async def test_a_wake_without_news_gives_an_empty_chunk(rig: Rig) -> None:
    follower = await open_follower(rig, await append(rig), after_seq=1)
    reading = asyncio.create_task(follower.read())
    await wait_until_async(lambda: follower._waiter is not None, "the follower to wait")
    follower.wake()
    assert await asyncio.wait_for(reading, DEADLINE_S) == b""
    follower.close()


async def test_two_wakes_at_once_are_one(rig: Rig) -> None:
    follower = await open_follower(rig, await append(rig), after_seq=1)
    reading = asyncio.create_task(follower.read())
    await wait_until_async(lambda: follower._waiter is not None, "the follower to wait")
    follower.wake()
    follower.wake()
    assert await asyncio.wait_for(reading, DEADLINE_S) == b""
    follower.close()


async def test_a_subscription_that_fails_leaves_no_follower(rig: Rig) -> None:
    """The run is found, then the store fails at the question whether it has ended."""
    run_id = await append(rig)
    real = rig.store.run
    asked = 0

    async def run(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise StorageFailed("no")
        return await real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig.store, "run", run)
        with pytest.raises(StorageFailed):
            await open_follower(rig, run_id)
    assert rig.engine.figures()["followers"] == 0
    assert not rig.engine._hub._channels


async def test_a_follower_that_is_stopped_ends(rig: Rig) -> None:
    follower = await open_follower(rig, await append(rig), after_seq=1)
    reading = asyncio.create_task(follower.read())
    await asyncio.sleep(0)
    follower.stop()
    assert await asyncio.wait_for(reading, DEADLINE_S) is None
    assert await read(follower) is None
    follower.close()


async def test_a_stop_comes_before_anything_that_was_not_read_yet(rig: Rig) -> None:
    run_id = await append(rig, 3)
    plain, warned = [await open_follower(rig, run_id, epoch=epoch) for epoch in (None, "another")]
    for follower in (plain, warned):
        follower.stop()
        assert await read(follower) is None
        follower.close()


async def test_a_stop_while_the_store_is_read_ends_the_stream_after_that_page(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was read may still go out; nothing comes after it, and nobody hangs."""
    follower = await open_follower(rig, await append(rig, 3))

    async def happen(page: int) -> None:
        follower.stop()

    before_page(rig, monkeypatch, happen, after=True)
    assert await read(follower) in (b"1 2 3 ", None)
    assert await read(follower) is None
    follower.close()


async def test_a_read_that_was_called_off_loses_nothing(rig: Rig) -> None:
    follower = await open_follower(rig, await append(rig), after_seq=1)
    for _ in range(3):
        reading = asyncio.create_task(follower.read())
        await wait_until_async(lambda: follower._waiter is not None, "the follower to wait")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    reading = asyncio.create_task(follower.read())
    await wait_until_async(lambda: follower._waiter is not None, "the follower to wait")
    follower.wake()
    reading.cancel()  # woken and called off in the same moment
    await append(rig, 2)
    found = b"" if reading.cancelled() else await reading
    while found is not None and len(found.split()) < 2:
        found += await read(follower) or b""
    assert found == b"2 3 "
    follower.close()


async def test_closing_twice_hurts_nobody_who_came_since(rig: Rig) -> None:
    run_id = await append(rig)
    old = await open_follower(rig, run_id, after_seq=1)
    old.close()
    fresh = await open_follower(rig, run_id, after_seq=1)
    old.close()
    assert rig.engine.figures()["followers"] == 1
    reading = asyncio.create_task(read_news(fresh))
    await append(rig, 1)
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"2 "
    fresh.close()


async def test_late_events_reach_a_slow_follower_before_the_end(rig: Rig) -> None:
    run_id = await append(rig)
    slow = await open_follower(rig, run_id)
    waiting = await open_follower(rig, run_id, after_seq=1)
    reading = asyncio.create_task(waiting.read())
    await append(rig, 1, E.RUN_COMPLETED)
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"2 "
    await append(rig, 2)
    assert await read_to_end(slow) == [1, 2, 3, 4]
    assert await read_to_end(waiting) in ([], [3, 4])
    for follower in (slow, waiting):
        follower.close()


async def test_a_style_that_asks_is_given_the_runs_row(rig: Rig) -> None:
    """Read back it is the row of today, live the row that the commit left."""
    shown = style("rows", lambda event, _, row: b"%d:%s " % (event.seq, row.status.encode()), with_row=True)
    run_id = await append(rig, 2)
    follower = await rig.engine.follow(rig.principal, FollowRun(run_id), shown)
    assert await read(follower) == b"1:running 2:running "
    reading = asyncio.create_task(read_news(follower))
    await append(rig, 1, E.RUN_WAITING)
    assert await asyncio.wait_for(reading, DEADLINE_S) == b"3:waiting_for_input "
    late = await rig.engine.follow(rig.principal, FollowRun(run_id, 1), shown)
    assert await read(late) == b"2:waiting_for_input 3:waiting_for_input "
    for one in (follower, late):
        one.close()


async def test_a_style_that_does_not_ask_costs_no_look_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*arguments: Any) -> Any:
        raise StorageFailed("nobody asked for rows")

    run_id = await append(rig, 2)
    monkeypatch.setattr(rig.store, "runs_by_number", refused)
    seen: list[object] = []
    plain = style("heedless", lambda event, _, row: seen.append(row) or frame(event, "", row))
    follower = await rig.engine.follow(rig.principal, FollowRun(run_id), plain)
    assert await read_count(follower, 2) == [1, 2]
    await append(rig)
    assert await read_count(follower, 1) == [3]
    assert seen == [None] * 3
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


async def test_an_engine_that_stops_ends_every_stream(rig: Rig) -> None:
    run_id = await append(rig)
    followers = [await open_follower(rig, run_id, after_seq=1), await feed_of(rig, 0)]
    reading = [asyncio.create_task(follower.read()) for follower in followers]
    await asyncio.sleep(0)
    await rig.engine.stop()
    assert await asyncio.wait_for(asyncio.gather(*reading), DEADLINE_S) == [None, None]
    for follower in followers:
        follower.close()
