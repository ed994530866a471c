"""The end of the process where an orderly one would do harm, or takes too long."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

import structlog

_log = structlog.get_logger("towerlog.server")


def end_in(seconds: float, code: int, why: str) -> None:
    """Ends the process after so long, whatever hangs: neither Python nor SQLite gets to tidy up.

    For the cases in which nothing is lost by that: what was acknowledged is on disk, and the next start reads the log.
    """

    def end() -> None:
        _log.warning(why, exit_code=code)
        with contextlib.suppress(OSError, ValueError):  # a pipe whose reader has gone must not keep it from ending
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
