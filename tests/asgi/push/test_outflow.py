"""The outflow: so much goes out to streams in a turn of the event loop, by organisation and key, and nobody starves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.asgi.push.test_streams import Direct, House, house  # noqa: F401  # a fixture
from tests.support.wait import wait_until_async
from towerlog.asgi.push import outflow as outflow_module
from towerlog.asgi.push import streams as streams_module
from towerlog.asgi.push.outflow import MAX_TURN_BYTES, Outflow

PIECE = 256 * 1024
A_TURN = MAX_TURN_BYTES // PIECE


async def test_who_is_within_a_turn_does_not_wait_and_the_next_turn_is_whole_again() -> None:
    outflow = Outflow()
    assert [outflow.ask("o", "k", PIECE).done() for _ in range(A_TURN + 1)] == [True] * A_TURN + [False]
    await asyncio.sleep(0)
    assert outflow.waiting == 0
    assert outflow.left_bytes == MAX_TURN_BYTES - PIECE


async def test_a_crowd_goes_on_in_turns_and_none_of_it_is_left_waiting() -> None:
    outflow = Outflow()
    asked = [outflow.ask("o", "k", PIECE) for _ in range(10 * A_TURN)]
    done = [sum(one.done() for one in asked)]
    while outflow.waiting:
        await asyncio.sleep(0)
        done.append(sum(one.done() for one in asked))
    assert done == [A_TURN * number for number in range(1, 11)]


async def test_organisations_have_equal_parts_and_so_have_the_keys_of_each() -> None:
    outflow = Outflow()
    outflow.spend(MAX_TURN_BYTES)
    crowd = [outflow.ask("o", f"k{number % 9}", PIECE) for number in range(900)]
    own = [outflow.ask("o", "another key", PIECE) for _ in range(900)]
    others = [outflow.ask("p", "l", PIECE) for _ in range(900)]
    await asyncio.sleep(0)
    done = [sum(one.done() for one in asked) for asked in (crowd, own, others)]
    assert done[2] == done[0] + done[1] == A_TURN // 2
    for _ in range(9):
        await asyncio.sleep(0)
    assert sum(one.done() for one in own) == 10 * A_TURN // 2 // 10


async def test_who_gives_up_leaves_the_line() -> None:
    outflow = Outflow()
    outflow.spend(MAX_TURN_BYTES)
    asked = [outflow.ask(org, "k", PIECE) for org in ("o", "o", "p")]
    for one in asked:
        outflow.leave(one)
        outflow.leave(one)
    assert not outflow.waiting
    assert not outflow._lines
    await asyncio.sleep(0)
    assert outflow.left_bytes == MAX_TURN_BYTES


FRAME = len(b"data: 1\n\n")


class Counting(Direct):
    """A sink that says how much goes out."""

    def __init__(self, sent: list[int]) -> None:
        super().__init__()
        self.sent = sent

    def put(self, chunk: bytes) -> None:
        self.sent[0] += len(chunk)
        super().put(chunk)

    async def send(self, chunk: bytes) -> None:
        self.sent[0] += len(chunk)
        await super().send(chunk)


@pytest.mark.parametrize("kind", ["chunks", "frames larger than a chunk"])
async def test_what_one_commit_brings_to_all_goes_out_in_turns(
    house: House,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """A turn takes ten frames here, and two hundred follow."""
    monkeypatch.setattr(outflow_module, "MAX_TURN_BYTES", 10 * FRAME)
    for module in (outflow_module, streams_module):
        monkeypatch.setattr(module, "COUNTED_FROM_BYTES", 10 * FRAME)
    monkeypatch.setattr(streams_module, "SMALL_BYTES", 0)
    house.streams.outflow = Outflow()
    if kind != "chunks":
        monkeypatch.setattr(streams_module, "MAX_CHUNK_BYTES", 4)
        house.turns = type(house.turns)(200, 200, 200)
    house.ledger.process.bounds.places.clear()
    sent, tasks, followers = [0], list[asyncio.Task[None]](), list[Any]()
    for _ in range(200):
        followers.append(await house.follow())
        stream = house.streams.open(followers[-1], Counting(sent), house.principal, house.place())
        tasks.append(asyncio.create_task(stream.run()))
    await wait_until_async(lambda: all(one._waiter is not None for one in followers), "all to wait")
    house.say()
    steps = []
    while sent[0] < 200 * FRAME and len(steps) < 10_000:
        before = sent[0]
        await asyncio.sleep(0)
        steps.append(sent[0] - before)
    # What a task sends it was allowed to send in the turn before.
    assert max(steps) <= 2 * 10 * FRAME
    assert sent[0] == 200 * FRAME
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert house.is_empty
    assert not house.streams.outflow.waiting


async def test_small_frames_wait_for_nobody_and_wake_no_task(house: House) -> None:  # noqa: F811
    notes = Direct()
    follower = await house.follow()
    task = asyncio.create_task(house.streams.open(follower, notes, house.principal, house.place()).run())
    await wait_until_async(lambda: follower._waiter is not None, "a wait")
    left = house.streams.outflow.left_bytes = -10 * MAX_TURN_BYTES
    house.say()
    await wait_until_async(lambda: ("put", b"data: 1\n\n") in notes.said, "the frame")
    assert house.streams.outflow.left_bytes in {left - FRAME, MAX_TURN_BYTES}
    assert not house.streams.outflow.waiting
    notes.left.set()
    await asyncio.wait_for(task, 60)
