"""The watch on the event loop: how long one piece of work has kept everybody else waiting, for the metrics.

A beat is due every few milliseconds; how late it comes is how long the loop was blocked. Of that, the time in which
the machine gave this process no processor does not count: it is no work of ours. Work of another thread that holds
the interpreter's lock counts: the loop stands still for it as well.

While nothing is in hand and nothing is done, there is nothing to watch, and it rests: a beat costs an idle server more
than all the rest. Whatever begins work then calls `stir` first: the pace, for packets and for tasks, and the timers.

Blocks are measured in processor time of this process. A call that waits for the disk or the network on the loop spends
none and is not seen: from here it cannot be told from a machine that woke the process late, and counting both would
count every busy machine. Nothing on the loop may wait in that way; the store's threads do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from towerlog.ambient import ProcessorClock

BEAT_S = 0.01
"""Between two beats; a block may be longer by so much than it is measured."""
_BEAT_NS = int(BEAT_S * 1e9)
MAX_BLOCK_MS = 50
"""Longer than this no piece of work may block the loop, whatever a request says."""


REST_AFTER_BEATS = 5
"""After so many beats in a row in which less than QUIET_NS was done, it rests."""
QUIET_NS = 1_000_000


class LoopWatch:
    """Measures the loop that it was started on."""

    def __init__(self, is_idle: Callable[[], bool], when_resting: Callable[[], None]) -> None:
        """Not started. `is_idle` says whether nothing is in hand that may go on by itself, such as a commit.

        `when_resting` is called when it begins to rest: from then on, work has to begin with `stir`.
        """
        self.longest_ms = 0.0
        """The longest block so far."""
        self.over = 0
        """How many blocks were longer than MAX_BLOCK_MS."""
        self._is_idle = is_idle
        self._when_resting = when_resting
        self._clock: ProcessorClock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._due_ns = self._spent_ns = self._waited_ns = 0
        """When the next beat is due, and what the processor had done before it."""
        self._quiet_beats = 0

    @property
    def rests(self) -> bool:
        """Whether no beat is due."""
        return self._task is None

    def start(self) -> None:
        """Begins; needs a running event loop."""
        self._loop, self._clock = asyncio.get_running_loop(), ProcessorClock()
        self.stir()

    def stop(self) -> None:
        """Ends; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._clock is not None:
            self._clock.close()
            self._clock = None

    def stir(self) -> None:
        """Work begins. From here on it is seen how long that takes."""
        self._quiet_beats = 0
        if self._task is None and self._clock is not None and self._loop is not None:
            # From now on, and not from when the task begins: the work may be done before that.
            self._look(self._clock)
            self._task = self._loop.create_task(self._beats(self._clock), name="loop-watch")

    async def _beats(self, clock: ProcessorClock) -> None:
        while self._quiet_beats < REST_AFTER_BEATS or not self._is_idle():
            await asyncio.sleep(BEAT_S)
            self._beat(clock)
        self._task = None
        self._when_resting()

    def _beat(self, clock: ProcessorClock) -> None:
        due_ns, spent_ns, waited_ns = self._due_ns, self._spent_ns, self._waited_ns
        late_ns = self._look(clock) - due_ns - (self._waited_ns - waited_ns)
        done_ns = self._spent_ns - spent_ns
        # A process that did nothing has blocked nothing, however late its beat is.
        block_ms = min(late_ns, done_ns) / 1e6
        self.longest_ms = max(self.longest_ms, block_ms)
        self.over += block_ms > MAX_BLOCK_MS
        self._quiet_beats = self._quiet_beats + 1 if done_ns < QUIET_NS else 0

    def _look(self, clock: ProcessorClock) -> int:
        """Reads the clocks for the beat to come; the time now, in ns."""
        self._spent_ns, self._waited_ns = clock.spent_ns(), clock.waited_ns()
        now_ns = clock.steady_ns()
        self._due_ns = now_ns + _BEAT_NS
        return now_ns
