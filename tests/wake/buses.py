"""What every bus does, tried on two of its ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.support.wait import wait_until_async
from towerlog.wake.base import Bus


class Ear:
    """What one end has heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.healed = 0

    def heal(self) -> None:
        """A connection was made anew."""
        self.healed += 1


@asynccontextmanager
async def opened(make: Callable[[], Bus], count: int = 2) -> AsyncIterator[list[tuple[Bus, Ear]]]:
    """So many ends, each with its ear."""
    ends = [(make(), Ear()) for _ in range(count)]
    try:
        for bus, ear in ends:
            await bus.open(ear.heard.append, ear.heal)
        yield ends
    finally:
        for bus, _ in ends:
            await bus.close()


async def check_all_hear_in_order(ends: list[tuple[Bus, Ear]]) -> None:
    """Messages of one end come once, in their order, to all; also such that are as long as may be."""
    sent = [b"%d " % number + b"x" * 100 for number in range(50)] + [b"y" * ends[0][0].max_bytes]
    for message in sent:
        await ends[0][0].send(message)
    for _, ear in ends:
        await wait_until_async(lambda ear=ear: len(ear.heard) >= len(sent), "all messages")
        assert ear.heard == sent
