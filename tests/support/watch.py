"""A test that hangs ends the run with the stack of every thread.

pytest's own watch (`faulthandler_timeout`) starts a thread for each test and waits for its end: on a busy machine that
takes longer than most tests. This one begins anew once a minute.
"""

from __future__ import annotations

import faulthandler
import os
import time

import pytest

HANGS_S = 600.0
"""What a test may take at least."""
AGAIN_S = 60.0


class Watch:
    """Over the tests of a process, one after the other."""

    def __init__(self, hangs_s: float = HANGS_S, again_s: float = AGAIN_S) -> None:
        """Made before pytest catches what tests print: there the stacks are told."""
        self._told = os.dup(2)
        self._within_s = hangs_s + again_s
        self._again_s = again_s
        self._began: float | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """A test begins."""
        now = time.monotonic()
        if self._began is None or now - self._began > self._again_s:
            self._began = now
            faulthandler.dump_traceback_later(self._within_s, file=self._told, exit=True)

    def pytest_exception_interact(self) -> None:
        """pytest has ended the watch, so that one may look into a test that has failed."""
        self._began = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """The last test has ended."""
        faulthandler.cancel_dump_traceback_later()

    def pytest_unconfigure(self) -> None:
        """The run is over."""
        os.close(self._told)
