"""A trace that has had several runs: what is sent again, or comes late, is of the one that it was told of first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.ingest.test_restarts import END, START, agrees, rows, said_last, state, tell
from tests.support.rig import Rig
from towerlog.engine.load.lives import MAX_LIVES
from towerlog.model.run import Status

Json = dict[str, Any]
OLD = [START, state(1, 1100, "q1", "a1"), state(2, 2200, "q1", "a1", "b1", "c1")]
NEW = [START, state(1, 110, "q1", "a1", "q2"), state(2, 330, "q1", "a1", "q2", "a2"), END]
OLD_END: Json = {"type": "thread_completed", "data": {"model": "gpt-4o", "tokens_used": 2200}}


def told(events: list[Json], life: str, *, ids: bool, times: bool) -> list[Json]:
    """The posts of one life, with an id each, and a time each: all of a life are earlier than those of the next."""
    moments = [
        {**event, "occurred_at": f"2023-11-01T00:0{life}:0{number}Z"} if times else event
        for number, event in enumerate(events)
    ]
    return [{**event, "event_id": f"{life}-{number}"} if ids else event for number, event in enumerate(moments)]


async def sums(rig: Rig) -> list[int | None]:
    """Tokens of the runs, oldest first."""
    return [row.usage.total_tokens for row in await rows(rig)]


@pytest.mark.parametrize("old_ends", [True, False])
@pytest.mark.parametrize(("ids", "times"), [(True, True), (True, False), (False, True)])
async def test_each_post_sent_again_after_the_next_run_adds_nothing(
    rig: Rig, ids: bool, times: bool, old_ends: bool
) -> None:
    old = told([*OLD, *([OLD_END] if old_ends else [])], "1", ids=ids, times=times)
    new = told(NEW, "2", ids=ids, times=times)
    for event in [*old, *new]:
        await tell(rig, event)
    size, before = len(await rig.log()), await rows(rig)
    assert await sums(rig) == [2200, 330]
    for event in [*new, *old, *new]:
        await tell(rig, event)
        rig.engine.forget()
    for batch in (new, old, new + old):
        await tell(rig, *batch)
    assert (await rows(rig), len(await rig.log())) == (before, size)
    assert await said_last(rig) == "a2"
    await agrees(rig)


@pytest.mark.parametrize("old_ends", [True, False])
@pytest.mark.parametrize("ids", [True, False])
async def test_posts_of_the_first_run_sent_again_while_the_next_goes_on_are_known(
    rig: Rig, ids: bool, old_ends: bool
) -> None:
    old = told([*OLD, *([OLD_END] if old_ends else [])], "1", ids=ids, times=True)
    new = told(NEW, "2", ids=ids, times=True)
    for event in [*old, *new[:2], *old, *new[:2], *new[2:]]:
        await tell(rig, event)
    first, second = await rows(rig)
    assert (first.usage.total_tokens, second.usage.total_tokens) == (2200, 330)
    assert (first.status, second.status) == (Status.COMPLETED if old_ends else Status.LOST, Status.COMPLETED)
    await agrees(rig)


@pytest.mark.parametrize("end", [END, OLD_END])
async def test_a_whole_batch_sent_again_is_known_without_ids_and_times(rig: Rig, end: Json) -> None:
    await tell(rig, *OLD)
    for _ in range(3):
        await tell(rig, START, state(1, 110, "q1", "a1", "q2"), end)
    await tell(rig, START, state(1, 220, "q1", "a1", "q2", "a2", "q3"), end)
    size = len(await rig.log())
    await tell(rig, START, state(1, 110, "q1", "a1", "q2"), end)
    assert [row.status for row in await rows(rig)] == [Status.LOST, Status.COMPLETED, Status.COMPLETED]
    assert len(await rig.log()) == size
    assert await said_last(rig) == "q3"
    await agrees(rig)


@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("ids", [True, False])
async def test_a_state_of_the_lost_run_sent_again_is_not_one_of_the_next(rig: Rig, ids: bool, times: bool) -> None:
    old = told(OLD, "1", ids=ids, times=times)
    for event in [*old, *told(NEW, "2", ids=ids, times=times)[:2], old[2]]:
        await tell(rig, event)
    assert await sums(rig) == [2200, 110]
    assert await said_last(rig) == "q2"
    await agrees(rig)


@pytest.mark.parametrize("ids", [True, False])
async def test_what_first_comes_late_is_of_the_run_of_its_time(rig: Rig, ids: bool) -> None:
    old = told([*OLD, state(3, 3300, "q1", "a1", "b1", "c1", "d1"), OLD_END], "1", ids=ids, times=True)
    new = told(NEW, "2", ids=ids, times=True)
    for event in [*old[:2], *new[:2], *old[3:], old[2], *new[2:]]:
        await tell(rig, event)
    first, second = await rows(rig)
    assert (first.usage.total_tokens, second.usage.total_tokens) == (3300, 330)
    assert (first.status, second.status) == (Status.LOST, Status.COMPLETED)
    assert await said_last(rig) == "a2"
    await agrees(rig)


async def test_a_run_may_be_told_word_for_word_as_one_before_was(rig: Rig) -> None:
    for _ in range(3):
        for event in NEW:
            await tell(rig, event)
    assert await sums(rig) == [330, 330, 330]
    await agrees(rig)


async def test_a_batch_that_may_be_the_next_runs_is_that_as_a_whole(rig: Rig) -> None:
    await tell(rig, *NEW)
    await tell(rig, START)
    await tell(rig, *NEW)
    first, second = await rows(rig)
    assert (first.usage.total_tokens, second.usage.total_tokens) == (330, 330)
    assert second.status is Status.COMPLETED
    await agrees(rig)


async def test_ids_that_count_from_one_in_each_run_are_news_where_they_say_something_else(rig: Rig) -> None:
    for life in range(3):
        posts = [START, state(1, 110 + 11 * life, f"q{life}"), END]
        for number, event in enumerate(posts):
            name = f"{life}-{number}" if event is not posts[1] else "1"
            await tell(rig, {**event, "event_id": name})
    assert await sums(rig) == [110, 121, 132]
    await agrees(rig)


async def test_the_newest_runs_before_are_looked_through(rig: Rig) -> None:
    lives = [told([START, state(1, 11 * (n + 1), f"q{n}"), END], str(n), ids=True, times=False) for n in range(10)]
    for life in lives:
        for event in life:
            await tell(rig, event)
    before = await rows(rig)
    for life in lives[-MAX_LIVES - 1 :]:
        for event in life:
            await tell(rig, event)
    assert await rows(rig) == before
    await agrees(rig)


async def test_a_start_sent_again_with_its_time_begins_no_run(rig: Rig) -> None:
    posts = told(NEW, "1", ids=False, times=True)
    for event in [*posts, *posts[:1], *posts]:
        await tell(rig, event)
    assert await sums(rig) == [330]
    await agrees(rig)


async def test_what_comes_late_is_not_the_state_to_resume_from_though_another_agent_goes_on(rig: Rig) -> None:
    other = {"agent_id": "editor"}
    new = [{**event, "data": {**event["data"], **other}} for event in told(NEW[:2], "2", ids=True, times=True)]
    old = told([*OLD, END, state(3, 3300, "q1", "a1", "b1", "c1", "d1")], "1", ids=True, times=True)
    for event in [*old[:4], *new, old[4]]:
        await tell(rig, event)
    assert await sums(rig) == [3300, 110]
    assert await said_last(rig) == "q2"
