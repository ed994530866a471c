"""The watch on the event loop: how long one piece of work has kept everybody else waiting, for the metrics.

A beat is due every few milliseconds; how late it comes is how long the loop was blocked. Of that, the time in which
the machine gave this process no processor does not count: it is no work of ours. Work of another thread that holds
the interpreter's lock counts: the loop stands still for it as well.
"""

from __future__ import annotations

import asyncio

from towerlog.ambient import ProcessorClock

BEAT_S = 0.01
"""Between two beats; a block may be longer by so much than it is measured."""
MAX_BLOCK_MS = 50
"""Longer than this no piece of work may block the loop, whatever a request says."""


class LoopWatch:
    """Measures the loop that it was started on."""

    def __init__(self) -> None:
        """Not started."""
        self.longest_ms = 0.0
        """The longest block so far."""
        self.over = 0
        """How many blocks were longer than MAX_BLOCK_MS."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._beat(), name="loop-watch")

    def stop(self) -> None:
        """Ends; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _beat(self) -> None:
        clock = ProcessorClock()
        try:
            while True:
                spent_ns, waited_ns = clock.spent_ns(), clock.waited_ns()
                due_ns = clock.steady_ns() + int(BEAT_S * 1e9)
                await asyncio.sleep(BEAT_S)
                late_ns = clock.steady_ns() - due_ns - (clock.waited_ns() - waited_ns)
                # A process that did nothing has blocked nothing, however late its beat is.
                block_ms = min(late_ns, clock.spent_ns() - spent_ns) / 1e6
                self.longest_ms = max(self.longest_ms, block_ms)
                self.over += block_ms > MAX_BLOCK_MS
        finally:
            clock.close()
