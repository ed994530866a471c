"""What people ask of the run of `towerlog exec`, carried out on its command: by signals to it and all that it started.

A cancel, and the end of the run by somebody else, is SIGTERM, and SIGKILL to what is still there after the grace; a
pause is SIGSTOP, a resume SIGCONT. Whatever else wakes a paused command, it is stopped again. Should this process be
killed, nobody can resume the run: the command goes on then.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from towerlog.sdk.record.commands import RunCancelled
from towerlog.sdk.record.run_handles import Run
from towerlog.sdk.work.process_tree import Processes, living, send, send_each, tree_of
from towerlog.sdk.work.waker import Waker

GRACE_S = 10.0
"""Default for how long a command may take to end after SIGTERM: less than the server waits before it forces the end."""
LOOK_S = 0.2
"""How often it is looked whether something was asked."""
GONE_S = 0.05
"""How often it is looked whether what was told to end has."""
KILLED_S = 2.0
"""How long that may take after SIGKILL: what belongs to somebody else does not get it."""
KEEP_S = 1.0
"""How often a paused command is stopped again, in case somebody else has woken it."""
ENDS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
"""Signals that a stopped command has to be woken for."""


class Steering:
    """Of one command, while it runs; in a thread of its own."""

    def __init__(self, run: Run, grace_s: float, say: Callable[[str], None]) -> None:
        """`say` tells the person at the terminal, a line at a time."""
        self._run, self._grace_s, self._say = run, grace_s, say
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._process_id = 0
        self._told: Processes = {}
        self._kill_at = 0.0
        self._is_stopped = False
        self._awake_until = 0.0
        """By the steady clock: so long a paused command may act on a signal that it was woken for."""
        self.was_cancelled = False
        self._waker: Waker | None = None

    def begin(self, process_id: int) -> None:
        """The command has started."""
        self._process_id = process_id
        threading.Thread(target=self._steer, name="towerlog-steering", daemon=True).start()

    def passed_on(self, number: int) -> None:
        """A signal has reached the command: a stopped one is woken to act on it, for the grace."""
        if self._is_stopped and number in ENDS:
            self._awake_until = time.monotonic() + max(self._grace_s, KEEP_S)
            self._send(signal.SIGCONT)
            self._say(f"towerlog: the command was woken for {signal.Signals(number).name}; the run is still paused")

    def reap(self, process_id: int) -> tuple[int, int]:
        """As `os.waitpid` without waiting. No signal is sent meanwhile, nor later: another process may get the id."""
        with self._lock:
            found, status = os.waitpid(process_id, os.WNOHANG)
            if found:
                self._over.set()
        return found, status

    def end(self) -> None:
        """The command has ended. After a cancel: waits until what it has started is gone as well, which what is left
        after the grace is told by SIGKILL."""
        self._dismiss_waker()
        left = living(self._told)
        while left and (now := time.monotonic()) < self._kill_at + KILLED_S:
            if now >= self._kill_at:
                send_each(signal.SIGKILL, left)
            time.sleep(GONE_S)
            left = living(left)

    def _steer(self) -> None:
        try:
            while not self._over.wait(LOOK_S):
                if self._run.pausing:
                    self._pause()
                self._run.check()
        except RunCancelled as error:
            self._cancel(str(error))

    def _pause(self) -> None:
        self._is_stopped, self._awake_until = True, 0.0
        self._send(signal.SIGSTOP)
        self._set_waker()
        threading.Thread(target=self._keep_stopped, name="towerlog-pause", daemon=True).start()
        self._say("towerlog: the run is paused, and the command stopped")
        self._run.pause_point()
        self._wake()
        self._say("towerlog: the run is resumed, and the command goes on")

    def _keep_stopped(self) -> None:
        while self._is_stopped and not self._over.wait(KEEP_S):
            with self._lock:
                if self._is_to_stop():
                    send(signal.SIGSTOP, self._process_id, {})

    def _is_to_stop(self) -> bool:
        return self._is_stopped and not self._over.is_set() and time.monotonic() >= self._awake_until

    def _wake(self) -> None:
        with self._lock:  # it is not stopped again after this
            self._is_stopped = False
        self._send(signal.SIGCONT)
        self._dismiss_waker()

    def _set_waker(self) -> None:
        with self._lock:
            if self._over.is_set():
                return
            try:
                self._waker = Waker(tree_of(self._process_id))
            except OSError as error:
                self._say(f"towerlog: if this process is killed, the command stays stopped: {error.strerror}")

    def _dismiss_waker(self) -> None:
        with self._lock:
            waker, self._waker = self._waker, None
        if waker is not None:
            waker.dismiss()

    def _cancel(self, reason: str) -> None:
        self._kill_at = time.monotonic() + self._grace_s
        self._send(signal.SIGTERM, ends=True)
        if self.was_cancelled:
            self._say(f"towerlog: {reason}; the command got SIGTERM, and gets SIGKILL after {self._grace_s:g} s")
        if self._is_stopped:
            self._wake()
        if not self._over.wait(self._grace_s):
            self._send(signal.SIGKILL, ends=True)

    def _send(self, number: signal.Signals, *, ends: bool = False) -> None:
        with self._lock:
            if self._over.is_set():
                return
            told = send(number, self._process_id, self._told)
            if ends:
                self.was_cancelled, self._told = True, self._told | told
