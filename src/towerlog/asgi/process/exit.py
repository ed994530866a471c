"""The end of the process where an orderly one would do harm, or takes too long."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable

import structlog

WORDS_SECONDS = 0.3
_log = structlog.get_logger("towerlog.server")


def end_in(seconds: float, code: int, why: str, first: Callable[[], None] = lambda: None) -> None:
    """Ends the process after so long, whatever hangs: neither Python nor SQLite gets to tidy up. `first` is called
    before that, and not waited for longer than `WORDS_SECONDS`.

    For the cases in which nothing is lost by that: what was acknowledged is on disk, and the next start reads the log.
    """

    def end() -> None:
        # Whoever reads what is written here may have gone, or stand still: that must not keep the process from ending.
        words = threading.Thread(target=_last_words, args=(code, why, first), daemon=True)
        words.start()
        words.join(WORDS_SECONDS)
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def flush_all() -> None:
    """Writes out what was printed and logged."""
    with contextlib.suppress(OSError, ValueError):  # the reader of a pipe may have gone
        for handler in logging.getLogger().handlers:
            handler.flush()
        sys.stdout.flush()
        sys.stderr.flush()


def _last_words(code: int, why: str, first: Callable[[], None]) -> None:
    first()
    _log.warning(why, exit_code=code)
    flush_all()
