"""Gaps: what is gone is told, once and exactly, and everything that is left still comes."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.follow.following import (
    DEADLINE_S,
    E,
    append,
    before_page,
    open_follower,
    read,
    read_count,
    read_news,
    read_to_end,
)
from tests.support.rig import Rig
from towerlog.dialects.base import OTHER_LOG
from towerlog.engine.follow import follower as followers


async def test_a_gap_of_one_event_is_a_gap(rig: Rig) -> None:
    run_id = await append(rig, 3)
    await rig.store.run_trim(rig.org, (await rig.run(run_id)).run, 2)
    follower = await open_follower(rig, run_id)
    assert await read(follower) == b'event: gap\ndata: {"requested":0,"oldest_seq":2,"missing":1}\n\n2 3 '
    follower.close()


async def test_of_a_run_that_was_trimmed_whole_the_next_event_tells_the_gap(rig: Rig) -> None:
    run_id = await append(rig, 5)
    row = await rig.run(run_id)
    await rig.store.run_trim(rig.org, row.run, 6)
    follower = await open_follower(rig, run_id, after_seq=2)
    reading = asyncio.create_task(read_news(follower))
    await append(rig)
    chunk = await asyncio.wait_for(reading, DEADLINE_S)
    assert chunk == b'event: gap\ndata: {"requested":2,"oldest_seq":6,"missing":3}\n\n6 '
    await append(rig)
    assert await read_count(follower, 1) == [7]
    follower.close()


async def test_what_is_trimmed_behind_a_follower_in_the_ring_is_no_gap(rig: Rig) -> None:
    run_id = await append(rig)
    follower = await open_follower(rig, run_id, after_seq=1)
    await append(rig, 4)
    await rig.store.run_trim(rig.org, (await rig.run(run_id)).run, 5)
    assert await read_count(follower, 4) == [2, 3, 4, 5]
    follower.close()


async def test_what_is_trimmed_between_two_pages_is_told_in_the_middle(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "PAGE_EVENTS", 4)
    run_id = await append(rig, 20)
    number = (await rig.run(run_id)).run

    async def happen(page: int) -> None:
        if page == 1:
            await rig.store.run_trim(rig.org, number, 11)

    before_page(rig, monkeypatch, happen, after=True)
    follower = await open_follower(rig, run_id, follow=False)
    found = b""
    while (chunk := await read(follower)) is not None:
        found += chunk
    gap = b'event: gap\ndata: {"requested":4,"oldest_seq":11,"missing":6}\n\n'
    assert found == b"1 2 3 4 " + gap + b"".join(b"%d " % seq for seq in range(11, 21))
    follower.close()


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
    assert await read(follower) == OTHER_LOG
    assert await read_count(follower, 3) == [1, 2, 3]
    follower.close()
    same = await open_follower(rig, run_id, after_seq=2, epoch=rig.store.epoch)
    assert await read_count(same, 1) == [3]
    same.close()


@pytest.mark.parametrize("is_reconnect", [False, True])
@pytest.mark.parametrize("kind", [E.STEP, E.RUN_COMPLETED])
async def test_a_cursor_ahead_of_the_run_is_of_another_log(rig: Rig, kind: E, is_reconnect: bool) -> None:
    """Or of another run, or of a data folder that was reset: nothing is passed over in silence."""
    run_id = await append(rig, 2)
    await append(rig, 1, kind)
    follower = await open_follower(rig, run_id, after_seq=4, is_reconnect=is_reconnect)
    assert not follower.finished
    assert await read(follower) == OTHER_LOG
    assert await read_count(follower, 3) == [1, 2, 3]
    follower.close()
    level = await open_follower(rig, run_id, after_seq=3, is_reconnect=is_reconnect)
    assert level.finished == (kind is E.RUN_COMPLETED)
    level.close()


async def test_of_a_run_that_has_ended_another_logs_cursor_is_never_finished(rig: Rig) -> None:
    run_id = await append(rig, 1, E.RUN_COMPLETED)
    follower = await open_follower(rig, run_id, after_seq=9, epoch="another")
    assert not follower.finished
    assert await read(follower) == OTHER_LOG
    assert await read_to_end(follower) == [1]
    follower.close()


async def test_an_ended_run_that_was_trimmed_whole_says_so_and_ends(rig: Rig) -> None:
    run_id = await append(rig, 4)
    await append(rig, 1, E.RUN_COMPLETED)
    await rig.store.run_trim(rig.org, (await rig.run(run_id)).run, 6)
    follower = await open_follower(rig, run_id, after_seq=2)
    assert await read(follower) == b'event: gap\ndata: {"requested":2,"oldest_seq":6,"missing":3}\n\n'
    assert await asyncio.wait_for(follower.read(), DEADLINE_S) is None
    follower.close()
