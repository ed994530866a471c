"""Signals to stop that come within a start, before the server listens for them, and within the end of a process.

The first one lets the step that is under way end, for a bounded time; the next ends the process at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from towerlog.asgi.process.exit import Ending

STOPS = (signal.SIGTERM, signal.SIGINT)
LATE = "the stop takes too long"
SECOND = "the process ends at once, as it was told to stop again"


class StopSignals:
    """Whether the process was told to stop."""

    def __init__(self, ending: Ending, seconds: float, last_words: Callable[[], None]) -> None:
        """`seconds`: after the first signal the process ends, whatever hangs. `last_words`: called before it does."""
        self._ending = ending
        self.is_asked = False
        self._seconds = seconds
        self._last_words = last_words

    def listen(self) -> None:
        """Takes signals, as long as nobody else does."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                signal.signal(number, lambda number, frame: self.note())

    def note(self) -> None:
        """One was heard."""
        seconds, why = (0.0, SECOND) if self.is_asked else (self._seconds, LATE)
        self._ending.end_in(seconds, 0, f"{why}; what was acknowledged is on disk", self._last_words)
        self.is_asked = True
