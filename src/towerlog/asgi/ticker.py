"""One tick a second for everything with a deadline here: a timer per connection would cost more than the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from towerlog.ambient import Clock

PERIOD_S = 1.0
Listener = Callable[[int], Awaitable[None] | None]
"""Called with the steady time in ms."""

_log = structlog.get_logger("towerlog.ticker")


class Ticker:
    """Calls its listeners once a second, one after the other; one that fails is logged and called again."""

    def __init__(self, clock: Clock, *listeners: Listener) -> None:
        """The listeners are called in this order."""
        self._clock = clock
        self._listeners = listeners
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ticker")

    async def stop(self) -> None:
        """Ends, and waits until it has."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def tick(self) -> None:
        """One tick."""
        steady_ms = self._clock.steady_ms()
        for listener in self._listeners:
            try:
                waiting = listener(steady_ms)
                if waiting is not None:
                    await waiting
            except Exception:
                _log.exception("a listener of the ticker failed")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.tick()
