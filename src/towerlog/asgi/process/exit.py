"""The end of the process where an orderly one would do harm, or takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
import uvloop

WORDS_SECONDS = 0.3
_log = structlog.get_logger("towerlog.server")


class Ending(threading.Thread):
    """Two threads that end the process when they are told to; they are there before, since a process that lacks memory
    or threads gets no new ones. One for each process, made after any fork."""

    def __init__(self) -> None:
        super().__init__(name="towerlog-end", daemon=True)
        # A signal may be heard while another one is noted, in the same thread: the lock of a Condition allows for that.
        self._changed = threading.Condition()
        self._seconds: float | None = None
        self._code = 0
        self._why = ""
        self._first: Callable[[], None] = flush_all
        self._is_due = threading.Event()
        self._has_spoken = threading.Event()
        self._speaker = threading.Thread(target=self._speak, name="towerlog-last-words", daemon=True)

    def begin(self) -> None:
        """Both threads, waiting."""
        self._speaker.start()
        self.start()

    def end_in(self, seconds: float, code: int, why: str, first: Callable[[], None] = lambda: None) -> None:
        """Ends the process after so long, whatever hangs: neither Python nor SQLite gets to tidy up. `first` is called
        before that, and not waited for longer than `WORDS_SECONDS`. Of two calls the one with the shorter time counts.

        For the cases in which nothing is lost by that: what was acknowledged is on disk, and the next start reads the
        log.
        """
        with self._changed:
            if self._seconds is None or seconds < self._seconds:
                self._seconds, self._code, self._why, self._first = seconds, code, why, first
                self._changed.notify()

    def run(self) -> None:
        """Waits to be told, and then for the time to be over, unless it becomes shorter."""
        with self._changed:
            while self._changed.wait(self._seconds) or self._seconds is None:
                pass
        # Whoever reads what is written here may have gone, or stand still: that must not keep the process from ending.
        self._is_due.set()
        self._has_spoken.wait(WORDS_SECONDS)
        os._exit(self._code)

    def _speak(self) -> None:
        self._is_due.wait()
        try:
            self._first()
            _log.warning(self._why, exit_code=self._code)
            flush_all()
        finally:
            self._has_spoken.set()


def run_in_loop(serving: Coroutine[Any, Any, int]) -> int:
    """What it gives, in a loop of its own.

    It is closed when all is stored and every file is closed: where the system has no thread or descriptor for that
    any more, nothing has failed.
    """
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        return runner.run(serving)
    finally:
        with contextlib.suppress(RuntimeError, OSError):
            runner.close()


def flush_all() -> None:
    """Writes out what was printed and logged."""
    with contextlib.suppress(OSError, ValueError):  # the reader of a pipe may have gone
        for handler in logging.getLogger().handlers:
            handler.flush()
        sys.stdout.flush()
        sys.stderr.flush()
