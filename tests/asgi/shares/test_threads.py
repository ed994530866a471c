"""Work in threads takes turns: one goes on at a time, and what is short is done before what is long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.support.fakes import FakeClock
from tests.support.wait import wait_until_async
from towerlog.asgi.shares.threads import TURN_MS, ThreadTurns

MOST = 1_000_000
"""Pieces of work that is not passed by at all."""


class RunningClock(FakeClock):
    """Time passes whenever it is looked at."""

    def __init__(self, by_ms: int) -> None:
        super().__init__()
        self._by_ms = by_ms

    def steady_ms(self) -> int:
        self.advance(self._by_ms)
        return super().steady_ms()


@pytest.fixture
def turns() -> Iterator[ThreadTurns]:
    """A turn is over at each pause."""
    made = ThreadTurns(4, "test", RunningClock(TURN_MS))
    yield made
    made.close()


def long_work(begun: threading.Event, is_over: threading.Event) -> Callable[[Callable[[], None]], int]:
    """Goes on until something else is done, in pieces: in how many."""

    def work(pause: Callable[[], None]) -> int:
        for pieces in range(MOST):
            begun.set()
            pause()
            if is_over.is_set():
                return pieces
        return MOST

    return work


async def test_what_is_short_is_done_before_what_is_long_and_was_first(turns: ThreadTurns) -> None:
    begun, is_over = threading.Event(), threading.Event()
    long = asyncio.create_task(turns.run(long_work(begun, is_over)))
    await asyncio.to_thread(begun.wait)
    await turns.run(lambda _pause: is_over.set())
    assert await long < MOST


async def test_a_turn_that_is_not_over_is_not_passed_on() -> None:
    turns = ThreadTurns(2, "test", FakeClock())
    begun, is_over = threading.Event(), threading.Event()
    long = asyncio.create_task(turns.run(long_work(begun, is_over)))
    await asyncio.to_thread(begun.wait)
    await turns.run(lambda _pause: is_over.set())
    assert await long == MOST
    turns.close()


async def test_one_goes_on_at_a_time_and_each_has_its_turn(turns: ThreadTurns) -> None:
    inside: set[str] = set()
    order: list[str] = []
    begun, all_there = threading.Event(), threading.Event()

    def work(name: str) -> Callable[[Callable[[], None]], None]:
        def pieces(pause: Callable[[], None]) -> None:
            for piece in count():
                inside.add(name)
                assert inside == {name}
                order.append(name)
                if name == "a" and not piece:
                    begun.set()
                    all_there.wait()
                inside.discard(name)
                if piece == 20:
                    return
                pause()

        return pieces

    tasks = [asyncio.create_task(turns.run(work("a")))]
    await asyncio.to_thread(begun.wait)
    tasks += [asyncio.create_task(turns.run(work(name))) for name in "bc"]
    try:
        await wait_until_async(lambda: len(turns._waiting) == 2 or tasks[-1].done(), "the others to wait")
    finally:
        all_there.set()
    await asyncio.gather(*tasks)
    assert sorted(order[1:4]) == ["a", "b", "c"]
    assert order[1:4] * 20 == order[1:61], "in turns"


async def test_work_that_fails_passes_its_turn_on(turns: ThreadTurns) -> None:
    def fails(_pause: Callable[[], None]) -> None:
        raise ValueError("no")

    for _ in range(10):
        with pytest.raises(ValueError, match="no"):
            await turns.run(fails)
    assert await turns.run(lambda _pause: "done") == "done"
