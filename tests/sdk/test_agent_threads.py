"""Agents' code runs apart from the worker's, and however it ends, it ends with one outcome."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from towerlog.sdk.agent_threads import AgentThreads, Outcome, Work
from towerlog.sdk.app import Agent

WAIT_S = 10
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


@pytest.fixture
def threads() -> Iterator[AgentThreads]:
    made = AgentThreads()
    yield made
    made.stop()


def begin(threads: AgentThreads, work: Any, is_async: bool = True) -> tuple[Work, queue.Queue[Outcome]]:
    ended: queue.Queue[Outcome] = queue.Queue(maxsize=9)
    context = contextvars.Context()
    context.run(VARIABLE.set, "set")
    return threads.begin(Agent("a", work, is_async), "run", context, ended.put), ended


def test_a_value_comes_back_from_both_kinds(threads) -> None:
    async def awaited(run: str) -> tuple[str, str, str]:
        await asyncio.sleep(0)
        return run, VARIABLE.get(), threading.current_thread().name

    def called(run: str) -> tuple[str, str, str]:
        return run, VARIABLE.get(), threading.current_thread().name

    assert begin(threads, awaited)[1].get(timeout=WAIT_S) == Outcome(("run", "set", "towerlog-agents"))
    assert begin(threads, called, False)[1].get(timeout=WAIT_S) == Outcome(("run", "set", "towerlog-a"))


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_an_agent_raises_ends_only_itself(threads, error) -> None:
    async def awaited(run: str) -> None:
        raise error

    def called(run: str) -> None:
        raise error

    for work, is_async in ((awaited, True), (called, False), (awaited, True)):
        assert begin(threads, work, is_async)[1].get(timeout=WAIT_S).error is error


def test_an_interrupt_is_a_cancellation_of_the_async_agent(threads) -> None:
    begun = threading.Event()

    async def awaited(run: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    work, ended = begin(threads, awaited)
    assert begun.wait(WAIT_S)
    work.interrupt()
    assert isinstance(ended.get(timeout=WAIT_S).error, asyncio.CancelledError)
    # Again, when it has ended: nothing.
    work.interrupt()
    assert ended.empty()


def test_a_sync_agent_is_not_held_up_by_an_async_one_that_blocks(threads) -> None:
    go_on = threading.Event()

    async def blocks(run: str) -> None:
        go_on.wait(WAIT_S)

    _, blocked = begin(threads, blocks)
    assert begin(threads, lambda run: 1, False)[1].get(timeout=WAIT_S).value == 1
    assert blocked.empty()
    go_on.set()
    assert blocked.get(timeout=WAIT_S).error is None
