"""The ticker: one beat for all, and one that stumbles does not stop the others."""

from __future__ import annotations

import pytest

from tests.asgi.conversation import START_MS, HandClock
from tests.support.wait import wait_until_async
from towerlog.asgi import ticker
from towerlog.asgi.ticker import Ticker


async def test_all_are_called_in_order_with_the_steady_time(clock: HandClock) -> None:
    heard: list[tuple[str, int]] = []

    async def second(steady_ms: int) -> None:
        heard.append(("b", steady_ms))

    def broken(steady_ms: int) -> None:
        raise ValueError(steady_ms)

    beat = Ticker(clock, lambda steady_ms: heard.append(("a", steady_ms)), broken, second)
    await beat.tick()
    clock.move(1)
    await beat.tick()
    assert heard == [("a", START_MS), ("b", START_MS), ("a", START_MS + 1000), ("b", START_MS + 1000)]


async def test_it_beats_until_it_is_stopped(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker, "PERIOD_S", 0.001)
    heard: list[int] = []
    beat = Ticker(clock, heard.append)
    beat.start()
    await wait_until_async(lambda: len(heard) > 2, "three beats")
    await beat.stop()
    count = len(heard)
    await beat.stop()
    assert len(heard) == count
