"""Work in threads of which one goes on at a time: they take turns, so that what is short waits for no more than a turn.

Threads that go on together would take the interpreter from each other, and all of them from the event loop. These pass
it on by themselves: work that is told how to pause does so between two of its pieces.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from towerlog.ambient import Clock
from towerlog.dialects.base import Pause
from towerlog.threads import started_threads

TURN_MS = 10
"""After so long work passes its turn on where other work waits, at its next pause."""
T = TypeVar("T")


class ThreadTurns:
    """So many threads."""

    def __init__(self, count: int, name: str, clock: Clock) -> None:
        """They are all there before there is work. Raises RuntimeError where the system allows no more."""
        self._threads = started_threads(count, name)
        self._clock = clock
        self._lock = threading.Lock()
        """Held while who goes on is decided."""
        self._waiting: deque[threading.Lock] = deque(maxlen=count)
        """Of each thread that waits for its turn what it waits for, in their order."""
        self._goes_on = False
        self._began_ms = 0
        """The turn that is under way, by the steady clock."""

    async def run(self, work: Callable[[Pause], T]) -> T:
        """What some work gives, in its turns in one of the threads. The pause that it is given is for that thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._in_turns, work)

    def close(self) -> None:
        """Waits for what is under way."""
        self._threads.shutdown()

    def _in_turns(self, work: Callable[[Pause], T]) -> T:
        with self._lock:
            mine = self._queued() if self._goes_on else None
            self._goes_on = True
        self._wait(mine)
        try:
            return work(self._pause)
        finally:
            with self._lock:
                self._goes_on = bool(self._waiting)
                if self._waiting:
                    self._waiting.popleft().release()

    def _pause(self) -> None:
        if not self._waiting or self._clock.steady_ms() - self._began_ms < TURN_MS:
            return
        with self._lock:
            mine = self._queued()
            self._waiting.popleft().release()
        self._wait(mine)

    def _queued(self) -> threading.Lock:
        """What this thread waits for, at the end of the line: its turn is to release it."""
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append(mine)
        return mine

    def _wait(self, mine: threading.Lock | None) -> None:
        if mine is not None:
            mine.acquire()
        self._began_ms = self._clock.steady_ms()
