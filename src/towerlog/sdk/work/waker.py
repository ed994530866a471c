"""Wakes processes that this one has stopped, should it be killed: nobody else could, and they would stand for ever.

A signal at the death of a parent (PR_SET_PDEATHSIG) would not do: only a program can ask for that, of itself, and not
for what it starts. So a shell waits beside us, at a pipe that closes when we end.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

SHELL = "/bin/sh"
SCRIPT = "trap '' HUP INT QUIT TERM; read -r line || kill -CONT \"$@\""
DISMISSED = b"\n"


class Waker:
    """Watches until it is dismissed."""

    def __init__(self, processes: Iterable[int]) -> None:
        """Starts it. Raises OSError."""
        inlet, self._outlet = os.pipe()
        words = ["sh", "-c", SCRIPT, "towerlog-waker", *map(str, processes)]
        # Not our own outputs: who reads those waits until everybody has closed them.
        quiet = [(os.POSIX_SPAWN_OPEN, one, os.devnull, os.O_WRONLY, 0) for one in (1, 2)]
        actions = [(os.POSIX_SPAWN_DUP2, inlet, 0), *quiet]
        try:
            # In a group of its own: whoever kills all of ours is not to kill it.
            self._process_id = os.posix_spawn(
                SHELL, words, os.environ, file_actions=actions, setpgroup=0, setsigmask=[], setsigdef=[signal.SIGPIPE]
            )
        except OSError:
            os.close(self._outlet)
            raise
        finally:
            os.close(inlet)

    def dismiss(self) -> None:
        """Ends it: there is nothing to be woken any more."""
        with contextlib.suppress(BrokenPipeError):  # somebody has killed it
            os.write(self._outlet, DISMISSED)
        os.close(self._outlet)
        os.waitpid(self._process_id, 0)
