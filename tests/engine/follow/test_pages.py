"""Pages of the store that followers read back: one for all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.engine.follow.following import (
    DEADLINE_S,
    PLAIN,
    E,
    append,
    before_page,
    open_follower,
    read_count,
    read_news,
    read_to_end,
)
from tests.support.factories import event
from tests.support.rig import Rig
from towerlog.engine.follow.channel import TOLD_AT_ONCE, Channel
from towerlog.engine.follow.follower import PAGE_EVENTS, Follower
from towerlog.engine.follow.pages import ReadPage, StorePages
from towerlog.engine.follow.subjects import RUN
from towerlog.errors import StorageFailed

CROWD = 200


def read_pages(rig: Rig, patch: pytest.MonkeyPatch) -> list[int]:
    """The number of each page that is read from the store."""
    pages: list[int] = []

    async def counted(number: int) -> None:
        pages.append(number)

    before_page(rig, patch, counted, after=False)
    return pages


@pytest.fixture
def crowd() -> Iterator[list[Follower]]:
    """Followers that are closed in the end."""
    followers: list[Follower] = []
    yield followers
    for follower in followers:
        follower.close()


async def test_a_crowd_reads_each_page_once(rig: Rig, crowd: list[Follower], monkeypatch: pytest.MonkeyPatch) -> None:
    total = 3 * PAGE_EVENTS
    run_id = await append(rig, total - 1)
    await append(rig, 1, E.RUN_COMPLETED)
    crowd += [await open_follower(rig, run_id, number % 7) for number in range(CROWD)]
    pages = read_pages(rig, monkeypatch)
    found = await asyncio.gather(*map(read_to_end, crowd))
    assert found == [list(range(number % 7 + 1, total + 1)) for number in range(CROWD)]
    # Those who stand before the page that was read read another. Each page by itself would be three a follower.
    assert len(pages) < 50


async def test_a_crowd_that_comes_while_events_come_is_served_from_the_ring(
    rig: Rig, crowd: list[Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await append(rig)
    crowd += [await open_follower(rig, run_id, 1) for _ in range(CROWD)]
    pages = read_pages(rig, monkeypatch)
    reading = [asyncio.create_task(read_count(follower, 100)) for follower in crowd]
    for _ in range(100):
        await append(rig)
    assert await asyncio.gather(*reading) == [list(range(2, 102))] * CROWD
    assert len(pages) < 10


def frames(first: int, last: int) -> list[tuple[int, bytes]]:
    """Frames of these cursors."""
    return [(cursor, b"%d " % cursor) for cursor in range(first, last + 1)]


def reader(pages: list[ReadPage], began: asyncio.Event, may_end: asyncio.Event) -> Callable[[], Awaitable[ReadPage]]:
    """Reads the next of these pages once it may."""

    async def read() -> ReadPage:
        began.set()
        await may_end.wait()
        return pages.pop(0)

    return read


async def test_the_end_of_a_page_says_nothing_to_who_came_while_it_was_read() -> None:
    """What was committed after the read began and before somebody came would wait for the next commit."""
    channel, pages, began, may_end = Channel((RUN, 1), PLAIN, "e"), StorePages(), asyncio.Event(), asyncio.Event()
    read = reader([ReadPage(5, [], True), ReadPage(5, frames(6, 6), True)], began, may_end)
    first = asyncio.create_task(pages.after(channel, 5, read))
    await began.wait()
    second = asyncio.create_task(pages.after(channel, 5, read))
    await asyncio.sleep(0)
    may_end.set()
    assert await asyncio.wait_for(first, DEADLINE_S) == (5, b"")
    assert await asyncio.wait_for(second, DEADLINE_S) == (6, b"6 ")


async def test_a_page_with_a_gap_is_for_its_reader_alone() -> None:
    channel, pages, began, may_end = Channel((RUN, 1), PLAIN, "e"), StorePages(), asyncio.Event(), asyncio.Event()
    read = reader(
        [ReadPage(0, [(0, b"gap "), *frames(4, 5)], False), ReadPage(1, [(1, b"less "), *frames(4, 5)], False)],
        began,
        may_end,
    )
    first = asyncio.create_task(pages.after(channel, 0, read))
    await began.wait()
    second = asyncio.create_task(pages.after(channel, 1, read))
    await asyncio.sleep(0)
    may_end.set()
    assert await asyncio.wait_for(first, DEADLINE_S) == (5, b"gap 4 5 ")
    assert await asyncio.wait_for(second, DEADLINE_S) == (5, b"less 4 5 ")


async def test_who_waits_for_a_page_looks_at_the_ring_again() -> None:
    channel, pages, began, may_end = Channel((RUN, 1), PLAIN, "e"), StorePages(), asyncio.Event(), asyncio.Event()
    read = reader([ReadPage(0, [], True)], began, may_end)
    first = asyncio.create_task(pages.after(channel, 0, read))
    await began.wait()
    others = [asyncio.create_task(pages.after(channel, 7, read)) for _ in range(2 * TOLD_AT_ONCE)]
    await asyncio.sleep(0)
    channel.publish(event(8, seq=8), {})
    may_end.set()
    assert await asyncio.wait_for(first, DEADLINE_S) == (0, b"")
    assert set(await asyncio.wait_for(asyncio.gather(*others), DEADLINE_S)) == {(8, b"8 ")}


async def test_a_read_that_fails_or_is_called_off_is_its_readers_alone() -> None:
    channel, pages = Channel((RUN, 1), PLAIN, "e"), StorePages()
    began, may_end = asyncio.Event(), asyncio.Event()

    async def fails() -> ReadPage:
        began.set()
        await may_end.wait()
        raise StorageFailed("no")

    async def waits() -> ReadPage:
        await asyncio.Event().wait()
        raise AssertionError

    async def works() -> ReadPage:
        return ReadPage(0, frames(1, 2), True)

    first = asyncio.create_task(pages.after(channel, 0, fails))
    await began.wait()
    second = asyncio.create_task(pages.after(channel, 0, waits))
    third = asyncio.create_task(pages.after(channel, 0, works))
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(StorageFailed):
        await first
    await asyncio.sleep(0)
    second.cancel()
    assert await asyncio.wait_for(third, DEADLINE_S) == (2, b"1 2 ")
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_follower_that_leaves_while_it_waits_holds_nobody_up(rig: Rig, crowd: list[Follower]) -> None:
    run_id = await append(rig, 20)
    crowd += [await open_follower(rig, run_id) for _ in range(10)]
    reading = [asyncio.create_task(read_news(follower)) for follower in crowd]
    await asyncio.sleep(0)
    for task in reading[1::2]:
        task.cancel()
    whole = b"".join(b"%d " % seq for seq in range(1, 21))
    found = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), DEADLINE_S)
    assert found[::2] == [whole] * 5
