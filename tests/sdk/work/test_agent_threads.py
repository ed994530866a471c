"""Agents' code runs apart from the worker's, and however it ends, it ends with one outcome."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sdk.support.sinks import ListSink
from towerlog.sdk.record.current import current_run
from towerlog.sdk.record.run_handles import Run
from towerlog.sdk.work.agent_threads import AgentResult, AgentThreads, Work
from towerlog.sdk.work.app import Agent

WAIT_S = 60
RUN = Run(ListSink(), "r")


@pytest.fixture
def threads() -> Iterator[AgentThreads]:
    made = AgentThreads()
    yield made
    made.stop()


def begin(threads: AgentThreads, work: Any, is_async: bool = True) -> tuple[Work, queue.Queue[AgentResult]]:
    ended: queue.Queue[AgentResult] = queue.Queue(maxsize=9)
    return threads.begin(Agent("a", work, is_async), RUN, ended.put), ended


def test_a_value_comes_back_from_both_kinds(threads) -> None:
    async def awaited(run: Run) -> tuple[Any, ...]:
        await asyncio.sleep(0)
        return run, current_run(), threading.current_thread().name

    def called(run: Run) -> tuple[Any, ...]:
        return run, current_run(), threading.current_thread().name

    assert begin(threads, awaited)[1].get(timeout=WAIT_S) == AgentResult((RUN, RUN, "towerlog-agents"))
    assert begin(threads, called, False)[1].get(timeout=WAIT_S) == AgentResult((RUN, RUN, "towerlog-a"))


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_an_agent_raises_ends_only_itself(threads, error) -> None:
    async def awaited(run: Run) -> None:
        raise error

    def called(run: Run) -> None:
        raise error

    for work, is_async in ((awaited, True), (called, False), (awaited, True)):
        assert begin(threads, work, is_async)[1].get(timeout=WAIT_S).error is error


def test_an_interrupt_is_a_cancellation_of_the_async_agent(threads) -> None:
    begun = threading.Event()

    async def awaited(run: Run) -> None:
        begun.set()
        await asyncio.Event().wait()

    work, ended = begin(threads, awaited)
    assert begun.wait(WAIT_S)
    work.interrupt()
    assert isinstance(ended.get(timeout=WAIT_S).error, asyncio.CancelledError)
    # Again, when it has ended: nothing.
    work.interrupt()
    assert ended.empty()


def test_an_interrupt_before_the_first_step_is_no_silence(threads) -> None:
    begun = threading.Event()

    async def awaited(run: Run) -> None:
        begun.set()
        await asyncio.Event().wait()

    for _ in range(200):
        work, ended = begin(threads, awaited)
        work.interrupt()
        assert isinstance(ended.get(timeout=WAIT_S).error, asyncio.CancelledError)
    assert begun.is_set()


def test_a_sync_agent_is_not_held_up_by_an_async_one_that_blocks(threads) -> None:
    go_on = threading.Event()

    async def blocks(run: Run) -> None:
        go_on.wait(WAIT_S)

    _, blocked = begin(threads, blocks)
    assert begin(threads, lambda run: 1, False)[1].get(timeout=WAIT_S).value == 1
    assert blocked.empty()
    go_on.set()
    assert blocked.get(timeout=WAIT_S).error is None
