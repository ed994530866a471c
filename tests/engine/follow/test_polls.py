"""Long polls: nobody is forgotten, nobody is woken for another's news, and a stop wakes everybody."""

from __future__ import annotations

import asyncio

import pytest

from towerlog.engine.follow.polls import Polls, Ticket, Topic

DEADLINE_S = 60
FOR_EVER_MS = 3_600_000
QUEUE = ("queue", 1)


async def sleeper(waiting: Polls, ticket: Ticket) -> asyncio.Task[None]:
    """Somebody who waits, and has begun to."""
    task = asyncio.create_task(waiting.wait(ticket, FOR_EVER_MS))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def done(*tasks: asyncio.Task[None]) -> None:
    """All of them come back in time."""
    await asyncio.wait_for(asyncio.gather(*tasks), DEADLINE_S)


async def test_all_who_wait_for_a_topic_are_woken() -> None:
    waiting = Polls()
    tasks = [await sleeper(waiting, waiting.enter(QUEUE)) for _ in range(3)]
    waiting.wake(QUEUE)
    await done(*tasks)


@pytest.mark.parametrize("news", [("run", 1), ("run", 2)])
async def test_who_waits_for_several_topics_is_woken_by_any(news: Topic) -> None:
    waiting = Polls()
    ticket = waiting.enter(("run", 1), ("run", 2))
    task = await sleeper(waiting, ticket)
    waiting.wake(news)
    await done(task)
    waiting.leave(ticket)
    assert not waiting


async def test_nobody_is_woken_for_anothers_news() -> None:
    waiting = Polls()
    others = [("queue", 2), ("run", 1)]
    tasks = [await sleeper(waiting, waiting.enter(topic)) for topic in others]
    waiting.wake(QUEUE)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    for topic in others:
        waiting.wake(topic)
    await done(*tasks)


async def test_what_happens_between_entering_and_waiting_is_not_missed() -> None:
    waiting = Polls()
    ticket = waiting.enter(QUEUE)
    waiting.wake(QUEUE)
    await asyncio.wait_for(waiting.wait(ticket, FOR_EVER_MS), DEADLINE_S)


async def test_whoever_has_left_is_forgotten_and_the_others_are_not() -> None:
    waiting = Polls()
    assert not waiting
    gone, stays = waiting.enter(QUEUE), waiting.enter(QUEUE)
    waiting.leave(gone)
    assert waiting
    task = await sleeper(waiting, stays)
    waiting.wake(QUEUE)
    await done(task)
    assert not gone.woken.is_set()
    waiting.leave(stays)
    waiting.leave(stays)
    assert not waiting
    assert not waiting._tickets, "a topic that nobody waits for is not kept"


async def test_a_wait_ends_after_its_time() -> None:
    waiting = Polls()
    ticket = waiting.enter(QUEUE)
    for longest_ms in (0, 5):
        await asyncio.wait_for(waiting.wait(ticket, longest_ms), DEADLINE_S)
    assert not ticket.woken.is_set()


async def test_a_stop_wakes_everybody_and_nobody_waits_any_more() -> None:
    waiting = Polls()
    tasks = [await sleeper(waiting, waiting.enter(topic)) for topic in (QUEUE, ("run", 7))]
    waiting.stop()
    await done(*tasks)
    late = waiting.enter(("queue", 9))
    await asyncio.wait_for(waiting.wait(late, FOR_EVER_MS), DEADLINE_S)
    assert waiting.stopped
