"""The watch on the loop: what blocks it is seen, whichever thread does it; waiting is no block."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.asgi.http1.hand import Taking, get, linked
from tests.support.server import Server
from tests.support.wait import wait_until, wait_until_async
from towerlog.ambient import ProcessorClock
from towerlog.asgi.guard.pace import Pace
from towerlog.asgi.pages.metrics import LoopCollector
from towerlog.asgi.process.loop_watch import BEAT_S, MAX_BLOCK_MS, LoopWatch

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
    watch = LoopWatch(lambda: False, Pace().rest)
    watch.start()
    await watched(3)
    burn()
    await watched(3)
    watch.stop()
    assert watch.over >= 1
    assert watch.longest_ms > MAX_BLOCK_MS


async def test_a_thread_that_keeps_the_interpreter_to_itself_is_a_block() -> None:
    def spent_ns(text: bytes) -> int:
        began = time.thread_time_ns()
        msgspec.json.decode(text)
        return time.thread_time_ns() - began

    # A single call of the decoder takes as long as that: how large a text this is depends on the machine.
    arrays = 1_000_000
    while spent_ns(b"[" + b"[]," * arrays + b"0]") < SPENT_NS:
        arrays *= 2
    text = b"[" + b"[]," * arrays + b"0]"

    def decode() -> None:
        msgspec.json.decode(text)

    watch = LoopWatch(lambda: False, Pace().rest)
    watch.start()
    await asyncio.to_thread(decode)
    await watched(3)
    watch.stop()
    assert watch.over >= 1


async def test_a_loop_that_waits_is_not_blocked() -> None:
    watch = LoopWatch(lambda: False, Pace().rest)
    watch.start()
    await watched(20)
    watch.stop()
    watch.stop()
    assert watch.over == 0


async def test_a_call_that_waits_on_the_loop_is_not_seen_and_the_metrics_say_so() -> None:
    watch = LoopWatch(lambda: False, Pace().rest)
    watch.start()
    await watched(3)
    threading.Event().wait(3 * MAX_BLOCK_MS / 1000)
    await watched(3)
    watch.stop()
    assert watch.over == 0
    texts = {one.name: one.documentation for one in LoopCollector(watch).collect()}
    assert "waiting for a disk is not seen" in texts["towerlog_loop_blocks"]


class Burning(Taking):
    """Takes its time with everything."""

    def take(self, scope: Any, body: bytes, respond: Any) -> Any:
        burn()
        return super().take(scope, body, respond)


async def test_work_after_a_rest_is_watched_from_its_first_packet_on() -> None:
    app = Burning()
    watch = LoopWatch(app.ledger.is_idle, app.arrivals.pace.rest)
    app.arrivals.pace.when_busy = watch.stir
    watch.start()
    link, transport = linked(app)
    for number in range(1, 4):
        await wait_until_async(lambda: watch.rests, "a rest")
        link.data_received(get("/do"))
        assert not watch.rests
        await wait_until_async(lambda count=number: watch.over >= count, "the block to be seen")
    assert transport.statuses == [200] * 3
    link.connection_lost(None)
    watch.stop()
    watch.stir()
    assert watch.rests, "it is stopped"


@pytest.mark.parametrize("work", ["a task", "a timer"])
async def test_other_work_after_a_rest_is_watched_too(work: str) -> None:
    pace = Pace()
    watch = LoopWatch(lambda: True, pace.rest)
    pace.when_busy = watch.stir
    watch.start()
    await wait_until_async(lambda: watch.rests, "a rest")
    if work == "a task":
        await pace.turn(0, "who")
    else:
        watch.stir()
    burn()
    await wait_until_async(lambda: watch.over, "the block to be seen")
    watch.stop()


async def test_while_something_is_in_hand_it_does_not_rest() -> None:
    app = Taking()
    watch = LoopWatch(app.ledger.is_idle, app.arrivals.pace.rest)
    app.ledger.take_bytes((app.ledger.process,), 1)
    read = app.ledger.reads.ask("o", "k")
    watch.start()
    await watched(20)
    assert not watch.rests
    app.ledger.give_bytes((app.ledger.process,), 1)
    await watched(20)
    assert not watch.rests
    app.ledger.reads.end(read)
    await wait_until_async(lambda: watch.rests, "a rest")
    watch.stop()


def test_an_idle_server_is_woken_a_few_times_a_second(tmp_path: Path) -> None:
    def wakes_a_second(pid: int, seconds: float) -> float:
        before, began_at = wakes(pid), time.monotonic()
        threading.Event().wait(seconds)
        return (wakes(pid) - before) / (time.monotonic() - began_at)

    with Server(tmp_path / "data") as server:
        assert server.process is not None
        pid = server.process.pid
        # Its first seconds are no rest; after them, a beat each 10 ms would be a hundred.
        wait_until(lambda: wakes_a_second(pid, 2.0) < 60, "it to be left alone")


def wakes(pid: int) -> int:
    """How often the main thread of a process has waited for something."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")).split()[1])


def test_processor_time_is_told_apart_from_waiting() -> None:
    clock = ProcessorClock()
    before = clock.spent_ns()
    burn()
    assert clock.spent_ns() - before >= SPENT_NS
    assert clock.waited_ns() >= 0
    clock.close()
    assert clock.waited_ns() == 0
