"""The watch on the loop: what blocks it is seen, whichever thread does it; waiting is no block."""

from __future__ import annotations

import asyncio
import time

import msgspec

from towerlog.ambient import ProcessorClock
from towerlog.asgi.guard.loop_watch import BEAT_S, MAX_BLOCK_MS, LoopWatch

SPENT_NS = 3 * MAX_BLOCK_MS * 1_000_000


def burn() -> None:
    """Takes so much processor time, however long that lasts."""
    until = time.thread_time_ns() + SPENT_NS
    while time.thread_time_ns() < until:
        pass


async def watched(beats: int) -> None:
    """Lets the loop turn for a while."""
    for _ in range(beats):
        await asyncio.sleep(BEAT_S)


async def test_work_on_the_loop_is_a_block() -> None:
    watch = LoopWatch()
    watch.start()
    await watched(3)
    burn()
    await watched(3)
    watch.stop()
    assert watch.over >= 1
    assert watch.longest_ms > MAX_BLOCK_MS


async def test_a_thread_that_keeps_the_interpreter_to_itself_is_a_block() -> None:
    text = b"[" + b"[]," * 1_000_000 + b"0]"

    def decode() -> None:
        until = time.thread_time_ns() + SPENT_NS
        while time.thread_time_ns() < until:
            msgspec.json.decode(text)

    watch = LoopWatch()
    watch.start()
    await asyncio.to_thread(decode)
    await watched(3)
    watch.stop()
    assert watch.over >= 1


async def test_a_loop_that_waits_is_not_blocked() -> None:
    watch = LoopWatch()
    watch.start()
    await watched(20)
    watch.stop()
    watch.stop()
    assert watch.over == 0


def test_processor_time_is_told_apart_from_waiting() -> None:
    clock = ProcessorClock()
    before = clock.spent_ns()
    burn()
    assert clock.spent_ns() - before >= SPENT_NS
    assert clock.waited_ns() >= 0
    clock.close()
    assert clock.waited_ns() == 0
