"""What is called when a process ends, also one that was forked by `multiprocessing`.

Such a child leaves without the exit handlers of the interpreter: it runs the finalizers of `multiprocessing.util` and
then ends at once. A process that is killed, or ends by `os._exit`, runs neither.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any

PRIORITY = 0
"""Finalizers of 0 and more run before a child waits for its own children."""


class ProcessExit:
    """Calls a function at the end of this process, and of each forked child in which `arm` was called."""

    def __init__(self, leave: Callable[[], None]) -> None:
        """Armed at once."""
        self._leave = leave
        self._finalizer: Any = None
        self.arm()

    def arm(self) -> None:
        """In a process that has begun: its end is noticed from now on."""
        atexit.unregister(self._leave)
        atexit.register(self._leave)
        # Imported by the program, or there is no such child.
        util, process = (sys.modules.get(f"multiprocessing.{name}") for name in ("util", "process"))
        if util is None or process is None:
            return
        if process.parent_process() is not None:
            self._arm_child()
        # Where this is the beginning of such a child's work, it forgets all finalizers next; then it calls this.
        util.register_after_fork(self, ProcessExit._arm_child)

    def disarm(self) -> None:
        """Nothing is called any more."""
        atexit.unregister(self._leave)
        if self._finalizer is not None:
            self._finalizer.cancel()

    def _arm_child(self) -> None:
        util: Any = sys.modules["multiprocessing.util"]
        if self._finalizer is not None:
            self._finalizer.cancel()
        self._finalizer = util.Finalize(None, self._left, exitpriority=PRIORITY)

    def _left(self) -> None:
        atexit.unregister(self._leave)
        self._leave()
