"""Several processes that serve one port: children of one that only looks after them.

They are forked from a process that has no threads and no event loop yet, and share its listening socket. One that is
killed is started again; one that ends by itself with an error ends all, since the others would fail as it did. A stop
has its deadlines here as well: a child that stands still hears of none.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import traceback
from collections.abc import Callable

import structlog

from towerlog.asgi.process.exit import flush_all

PAUSE_MS = 1000
"""Before a process that was killed is started again."""
KILL_MS = 9300
"""After the first signal to stop, what has not ended is killed: later than each process ends itself."""
SECOND_KILL_MS = 300
"""The same after the second one, which they hear of as well."""
LEAVE_MS = 300
"""After that it is not waited for: what waits for a disk may not end by being killed."""
_STOPS = frozenset({signal.SIGTERM, signal.SIGINT})
_HEARD = _STOPS | {signal.SIGCHLD}
_SIGNAL_WITH_PARENT = 1

_log = structlog.get_logger("towerlog.server")


class ServerProcesses:
    """So many processes, by their numbers from 0."""

    def __init__(self, count: int, serve: Callable[[int], int], steady_ms: Callable[[], int]) -> None:
        """`serve` is called in each, with its number; what it returns is its exit code."""
        self._count = count
        self._serve = serve
        self._steady_ms = steady_ms
        self._running: dict[int, int] = {}
        """Process id → number."""
        self._lost: dict[int, int] = {}
        """Number → when it is started again."""
        self._kill_at: int | None = None
        """When those that are left are killed; None while nobody stops."""
        self._is_killed = False
        self._code = 0

    def run(self) -> int:
        """Until all have ended, or a stop is over; the exit code."""
        # Taken up one by one: a handler would not be run while something is waited for.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        for number in range(self._count):
            self._start(number)
        while self._running or self._lost:
            heard = signal.sigtimedwait(_HEARD, self._wait_ms() / 1000)
            if heard is not None and heard.si_signo in _STOPS:
                self._stop(heard.si_signo)
            self._reap()
            if self._is_late() and not self._kill():
                break
            self._start_again()
        return self._code

    def _wait_ms(self) -> int:
        """Until there is something to do without a signal."""
        due = [*self._lost.values(), *(() if self._kill_at is None else (self._kill_at,))]
        return max(0, min(due) - self._steady_ms()) if due else 60_000

    def _is_late(self) -> bool:
        return bool(self._running) and self._kill_at is not None and self._steady_ms() >= self._kill_at

    def _kill(self) -> bool:
        """Kills those that are left; False where that was done before."""
        if self._is_killed:
            _log.error("a worker does not end though it was killed", processes=sorted(self._running))
            return False
        _log.warning("a worker does not end and is killed", workers=sorted(self._running.values()))
        self._is_killed, self._kill_at = True, self._steady_ms() + LEAVE_MS
        self._tell(signal.SIGKILL)
        return True

    def _start_again(self) -> None:
        for number in [number for number, at in self._lost.items() if self._steady_ms() >= at]:
            del self._lost[number]
            self._start(number)

    def _start(self, number: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._running[pid] = number
            return
        code = 70
        try:
            for one in _STOPS:
                signal.signal(one, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            _end_with(parent)
            code = self._serve(number)
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else 1
        except BaseException:  # the last there is: nothing above it may run in this process
            traceback.print_exc()
        finally:
            flush_all()
            os._exit(code)

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            ended = self._running.pop(pid, None)
            if ended is not None:
                self._ended(ended, os.waitstatus_to_exitcode(status))

    def _ended(self, number: int, code: int) -> None:
        if self._kill_at is not None:
            self._code = self._code or max(code, 0)
        elif code > 0:
            self._code = code
            self._stop(signal.SIGTERM)
        else:
            _log.warning("a worker was lost and is started again", worker=number, signal=-code)
            self._lost[number] = self._steady_ms() + PAUSE_MS

    def _stop(self, number: int) -> None:
        """Hands a signal on to all, and gives them so long."""
        self._lost = {}
        pause_ms = KILL_MS if self._kill_at is None else SECOND_KILL_MS
        kill_at = self._steady_ms() + pause_ms
        self._kill_at = kill_at if self._kill_at is None else min(kill_at, self._kill_at)
        self._tell(number)

    def _tell(self, number: int) -> None:
        for pid in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _end_with(parent: int) -> None:
    """Has this process told to end when its parent does, whatever ends that."""
    with contextlib.suppress(OSError, AttributeError):  # not every system can
        ctypes.CDLL(None).prctl(_SIGNAL_WITH_PARENT, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)
