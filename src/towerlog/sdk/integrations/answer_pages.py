"""Answers to many questions that are waited for together: as many as a server keeps until the program has gone on.

A framework may ask for more at once. What is asked comes in groups, of which each is answered as a whole: the calls of
one interrupt, say. A page of them is asked at a time, and once there is no more room for answers, the program goes on
with the groups that are answered. The others are asked again as the same questions, and no answer is acknowledged
before something has gone on with it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import accumulate
from typing import Any

from towerlog.sdk.record.run_handles import OpenQuestion, not_all_answered
from towerlog.sdk.record.values.held_answers import MAX_KEPT

Groups = Sequence[Sequence[OpenQuestion]]


def page_of(sizes: Iterable[int]) -> int:
    """How many groups of questions, of which these are the sizes, are asked at a time: one at least."""
    return max(1, sum(reached <= MAX_KEPT for reached in accumulate(sizes)))


def answers_to(groups: Groups, timeout: float | None) -> list[tuple[int, list[Any]]]:
    """The groups that are answered, by their places, with their answers: all, or those for which there was room.

    Raises as `Run.ask` does. After a TimeoutError the questions are still open.
    """
    questions = [question for group in groups for question in group]
    ends_at = None if timeout is None else time.monotonic() + timeout
    while True:
        waited_for = _waited_for(questions)
        if (found := _found(groups)) is not None:
            return found
        left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        _expect(questions, True)
        try:
            done, _ = concurrent.futures.wait(waited_for, left, return_when=concurrent.futures.FIRST_COMPLETED)
        finally:
            _expect(questions, False)
        if not done:
            raise not_all_answered(questions)


async def answers_to_async(groups: Groups, timeout: float | None) -> list[tuple[int, list[Any]]]:  # noqa: ASYNC109 as `answers_to` has it
    """As `answers_to`, awaited."""
    questions = [question for group in groups for question in group]
    ends_at = None if timeout is None else time.monotonic() + timeout
    while True:
        waited_for = _waited_for(questions)
        if (found := _found(groups)) is not None:
            return found
        left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
        told = asyncio.Event()
        for one in waited_for:
            one.add_done_callback(partial(_wake, asyncio.get_running_loop(), told))
        _expect(questions, True)
        try:
            async with asyncio.timeout(left):
                await told.wait()
        except TimeoutError:
            raise not_all_answered(questions) from None
        finally:
            _expect(questions, False)


def _wake(loop: asyncio.AbstractEventLoop, told: asyncio.Event, _: Future[Any]) -> None:
    """For another thread. The loop may have ended: nobody waits there then."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(told.set)


def _found(groups: Groups) -> list[tuple[int, list[Any]]] | None:
    """What can be gone on with; None while more is to come. Raises what ends the wait."""
    answers = [[question.answer for question in group if question.answer.done()] for group in groups]
    for one in (one for some in answers for one in some):
        one.result()
    whole = [place for place, some in enumerate(answers) if len(some) == len(groups[place])]
    if len(whole) < len(groups):
        inbox = groups[0][0].run.inbox
        if not inbox.full().done():
            return None
        if not whole:
            inbox.let_oldest_go()
            return None
    return [(place, [question.wait(0) for question in groups[place]]) for place in whole]


def _waited_for(questions: Sequence[OpenQuestion]) -> list[Future[Any]]:
    open_ones = [question.answer for question in questions if not question.answer.done()]
    return [*open_ones, questions[0].run.inbox.full()]


def _expect(questions: Sequence[OpenQuestion], expected: bool) -> None:
    run = questions[0].run
    run.sink.expect(run, expected)
