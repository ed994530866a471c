"""Runners that name all runs of a thread alike: a restart is a new run, posts in any order are counted or flagged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.rig import Rig
from towerlog.dialects.base import DialectSettings
from towerlog.dialects.checkpoints.events import Places, RunnerEvent, draft_of
from towerlog.engine.verify import verify_org
from towerlog.errors import NotWaiting
from towerlog.model.checkpoint import CheckpointView
from towerlog.model.command import Append, Decide
from towerlog.model.event import Item
from towerlog.model.outcome import Stored
from towerlog.model.question import LatestCheckpoint
from towerlog.model.run import RunRow, Status

Json = dict[str, Any]
START: Json = {"type": "thread_started", "data": {"trigger": "chat", "model": "gpt-4o"}}
END: Json = {"type": "thread_completed", "data": {"model": "gpt-4o"}}


def state(step: int, tokens: int, *said: str, **more: Any) -> Json:
    """A checkpoint whose running total is `tokens`."""
    history = [{"role": "user", "content": text} for text in said]
    sent, written = tokens - tokens // 11, tokens // 11
    figures = {"tokens_used": tokens, "input_tokens": sent, "output_tokens": written}
    data = {"step_index": step, "status": "in_progress", "history": history, "history_meta": []}
    return {"type": "checkpoint", "data": {**data, **figures, **more}}


FIRST = [START, state(0, 1100, "q1", "call"), state(1, 2200, "q1", "call", "a1")]
SECOND = [START, state(0, 1100, "q1", "call", "a1", "q2"), state(1, 1100, "q1", "call", "a1", "q2", "a2"), END]


def item(event: Json, thread: str, trace: str | None = "chat_1") -> Item:
    """An event of a runner's post; an end names no trace."""
    named = {"thread_id": thread, "agent_id": "writer"} | ({} if trace is None else {"trace_id": trace})
    if event["type"] == "thread_completed":
        named.pop("trace_id", None)
    whole = msgspec.convert({**event, "data": msgspec.Raw(msgspec.json.encode(named | event["data"]))}, RunnerEvent)
    return draft_of(whole, DialectSettings(), Places(), [])


async def tell(rig: Rig, *events: Json, thread: str = "t", trace: str | None = "chat_1") -> list[Any]:
    """One post."""
    items = [item(event, thread, trace) for event in events]
    results: list[Any] = (await rig.do(Append("checkpoints", items), dialect="checkpoints")).results
    return results


async def rows(rig: Rig, thread: str = "t") -> list[RunRow]:
    """The runs of a thread, oldest first."""
    born = [event.effects.origin for event in await rig.log()]
    return [await rig.run(one.run_id) for one in born if one is not None and one.thread_id == thread]


async def said_last(rig: Rig, thread: str = "t") -> str:
    """The last message of the state to resume from."""
    view = await rig.do(LatestCheckpoint(thread))
    assert isinstance(view, CheckpointView)
    return str(msgspec.json.decode(view.history[-1])["content"])


async def agrees(rig: Rig) -> None:
    """A rebuild gives the rows that are there."""
    complaints: list[str] = []
    assert await verify_org(rig.store, rig.org, complaints.append) == 0, complaints


@pytest.mark.parametrize("trace", ["chat_1", None])
@pytest.mark.parametrize("forgets", [False, True])
async def test_a_start_told_again_and_a_step_told_anew_are_a_new_run(
    rig: Rig, trace: str | None, forgets: bool
) -> None:
    for event in FIRST + SECOND:
        await tell(rig, event, trace=trace)
        if forgets:
            rig.engine.forget()
    first, second = await rows(rig)
    assert (first.usage.total_tokens, second.usage.total_tokens) == (2200, 1100)
    assert (second.resumed_from, second.implicit, second.status) == (first.run_id, False, Status.COMPLETED)
    error = f"its runner was restarted and began anew as run {second.run_id}"
    assert (first.status, first.error) == (Status.LOST, error)
    assert (first.usage_flags, second.usage_flags) == ((), ())
    assert await said_last(rig) == "a2"
    await tell(rig, *[START, state(0, 1100, "q1", "call", "a1", "q2", "a2", "q3")])
    assert len(await rows(rig)) == 3, "once more, after an end"
    await agrees(rig)


async def test_a_run_of_one_step_is_told_from_the_next(rig: Rig) -> None:
    for event in [START, state(0, 1100, "q1"), START, state(0, 1100, "q1", "a1", "q2")]:
        await tell(rig, event)
    assert [row.usage.total_tokens for row in await rows(rig)] == [1100, 1100]
    await agrees(rig)


async def test_posts_that_are_sent_again_stay_what_they_are(rig: Rig) -> None:
    for event in FIRST:
        await tell(rig, event)
    size = len(await rig.log())
    await tell(rig, *FIRST)
    assert len(await rig.log()) == size, "a batch with all of it"
    for _ in range(2):
        for event in FIRST:
            [stored] = await tell(rig, event)
            assert isinstance(stored, Stored)
    [one] = await rows(rig)
    assert (one.usage.total_tokens, one.usage_flags, one.status) == (2200, (), Status.RUNNING)
    assert len(await rig.log()) == size + 1, "only that the start was told once more"
    # A step told again with better figures, and one more step, are of the same run.
    await tell(rig, state(1, 2300, "q1", "call", "a1"), state(2, 3300, "q1", "call", "a1", "b"))
    [one] = await rows(rig)
    assert (one.usage.total_tokens, one.usage_flags) == (3300, ())
    await agrees(rig)


async def test_what_waited_before_a_restart_stands_in_nobodys_way(rig: Rig) -> None:
    waits: Json = {"status": "waiting_for_approval", "pending_tool_calls": [{"id": "c1", "name": "rm"}]}
    for event in [START, state(0, 1100, "q1"), state(1, 1200, **waits)]:
        await tell(rig, event)
    for event in [START, state(0, 1100, "q1", "a1", "q2"), state(1, 1200, **waits)]:
        await tell(rig, event)
    first, second = await rows(rig)
    assert (first.status, second.status) == (Status.LOST, Status.WAITING)
    await rig.do(Decide("chat_1", 1, "approved"))
    assert (await rig.run(second.run_id)).status is Status.RUNNING
    with pytest.raises(NotWaiting):
        await rig.do(Decide("chat_1", 1, "approved"))
    await agrees(rig)


TURN_1, TURN_2 = ("q1", "a1"), ("q1", "a1", "q2", "a2")
LOST_POSTS = {
    "a step and the end": [START, state(1, 2200, *TURN_1), START, state(0, 1100, *TURN_2), END],
    "the first start": [state(0, 1100, "q1"), state(1, 2200, *TURN_1), END, START, state(0, 1100, *TURN_2), END],
    "the first start, and two steps": [
        *[state(0, 1100, "q1"), state(1, 2200, *TURN_1), END, START],
        *[state(0, 550, "q1", "a1", "q2"), state(1, 1100, *TURN_2), END],
    ],
    "the second start": [START, state(0, 1100, "q1"), state(1, 2200, *TURN_1), END, state(0, 1100, *TURN_2), END],
}
"""Two turns of a conversation, of 2,200 and 1,100 tokens, but for posts that did not arrive."""


@pytest.mark.parametrize("lost", LOST_POSTS)
async def test_a_turn_of_which_a_post_was_lost_takes_nothing_from_the_next(rig: Rig, lost: str) -> None:
    for event in LOST_POSTS[lost]:
        await tell(rig, event)
    first, second = await rows(rig)
    assert (first.usage.total_tokens, second.usage.total_tokens) == (2200, 1100)
    assert (second.resumed_from, second.status) == (first.run_id, Status.COMPLETED)
    assert await said_last(rig) == "a2"
    await agrees(rig)


async def test_a_step_that_comes_after_the_end_stays_with_its_run(rig: Rig) -> None:
    for event in [START, state(1, 2200, *TURN_1), END, state(0, 1100, "q1"), state(1, 2300, "q1", "a1", "more")]:
        await tell(rig, event)
    [one] = await rows(rig)
    assert (one.usage.total_tokens, one.status) == (2300, Status.COMPLETED)
    await agrees(rig)


def at(moment: str, event: Json) -> Json:
    """The event, with the time of its sender."""
    return {**event, "occurred_at": f"2026-01-01T00:00:{moment}Z"}


async def test_a_start_that_is_sent_again_with_its_time_is_the_same_start(rig: Rig) -> None:
    revised = state(1, 2300, "q1", "call", "a1", "b")
    for event in [at("01", START), *FIRST[1:], at("01", START), revised, state(2, 3300, "q1", "call", "a1", "b", "c")]:
        await tell(rig, event)
    await tell(rig, at("01", START), state(0, 1200, "q1", "call", "more"))
    [one] = await rows(rig)
    assert one.usage.total_tokens == 3300
    await tell(rig, at("02", START))
    await tell(rig, state(0, 1100, "q1", "call", "a1", "b", "c", "q2"))
    assert [row.usage.total_tokens for row in await rows(rig)] == [3300, 1100], "at another time it is another start"
    await agrees(rig)


@pytest.mark.parametrize("ends", [True, False])
async def test_any_two_posts_may_change_places(rig: Rig, ends: bool) -> None:
    told = FIRST + ([END] if ends else []) + SECOND
    for one in range(len(told)):
        for other in range(one + 1, len(told)):
            order, thread = list(told), f"t{one}-{other}"
            order[one], order[other] = order[other], order[one]
            for event in order:
                await tell(rig, event, thread=thread)
            found = await rows(rig, thread)
            total = sum(row.usage.total_tokens or 0 for row in found)
            assert total == 3300 or any(row.usage_flags for row in found), (one, other, total)
    await agrees(rig)


async def test_a_total_that_falls_on_a_step_told_again_is_flagged(rig: Rig) -> None:
    for event in FIRST:
        await tell(rig, event)
    await tell(rig, state(0, 1100, "q1", "call", "q2"))
    [one] = await rows(rig)
    assert (one.usage.total_tokens, one.usage_flags) == (2200, ("total_decreased",))
    await agrees(rig)
