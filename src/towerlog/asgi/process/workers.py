"""Several processes that serve one port: children of one that only looks after them.

They are forked from a process that has no threads and no event loop yet, and share its listening socket. One that is
killed is started again; one that ends by itself with an error ends all, since the others would fail as it did.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import traceback
from collections.abc import Callable
from types import FrameType

import structlog

from towerlog.asgi.process.exit import flush_all

PAUSE_S = 1.0
"""Before a process that was killed is started again."""
_SIGNAL_WITH_PARENT = 1

_log = structlog.get_logger("towerlog.server")


class ServerProcesses:
    """So many processes, by their numbers from 0."""

    def __init__(self, count: int, serve: Callable[[int], int]) -> None:
        """`serve` is called in each, with its number; what it returns is its exit code."""
        self._count = count
        self._serve = serve
        self._running: dict[int, int] = {}
        """Process id → number."""
        self._is_stopping = False
        self._code = 0

    def run(self) -> int:
        """Until all have ended; the exit code."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._stop)
        for number in range(self._count):
            self._start(number)
        while self._running:
            pid, status = os.wait()
            ended = self._running.pop(pid, None)
            if ended is not None:
                self._ended(ended, os.waitstatus_to_exitcode(status))
        return self._code

    def _start(self, number: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._running[pid] = number
            if self._is_stopping:  # the signal came between the two
                os.kill(pid, signal.SIGTERM)
            return
        code = 70
        try:
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, signal.SIG_DFL)
            _end_with(parent)
            code = self._serve(number)
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 1
        except BaseException:  # the last there is: nothing above it may run in this process
            traceback.print_exc()
        finally:
            flush_all()
            os._exit(code)

    def _ended(self, number: int, code: int) -> None:
        if self._is_stopping:
            self._code = self._code or max(code, 0)
        elif code > 0:
            self._code = code
            self._stop(signal.SIGTERM, None)
        else:
            _log.warning("a worker was lost and is started again", worker=number, signal=-code)
            threading.Event().wait(PAUSE_S)
            if not self._is_stopping:
                self._start(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Hands a signal on to all."""
        self._is_stopping = True
        for pid in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _end_with(parent: int) -> None:
    """Has this process told to end when its parent does, whatever ends that."""
    with contextlib.suppress(OSError, AttributeError):  # not every system can
        ctypes.CDLL(None).prctl(_SIGNAL_WITH_PARENT, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)
