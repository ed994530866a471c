"""Processes of one port end in time, whatever one of them does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.wait import wait_until
from towerlog.asgi.process import workers

PROGRAM = r"""
import os, signal, sys, threading
from towerlog.ambient import SystemClock
from towerlog.asgi.process import workers
from towerlog.asgi.process.workers import ServerProcesses

workers.KILL_MS = int(sys.argv[1])

def serve(number):
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    os.write(1, f"serves {os.getpid()}\n".encode())
    told.wait()
    return 0

sys.exit(ServerProcesses(2, serve, SystemClock().steady_ms).run())
"""
NEVER_MS = 3_600_000
"""No kill comes to anybody's help: who does not end by what the test does is there until the deadline of the test."""


class Served:
    """A parent of two processes, each of which ends when it is told to."""

    def __init__(self, kill_ms: int) -> None:
        """`kill_ms`: after which a child that stands is killed."""
        command = [sys.executable, "-c", PROGRAM, str(kill_ms)]
        self.parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.children = [self.next_child(), self.next_child()]

    def next_child(self) -> int:
        """The id of the process that has begun to serve."""
        return int(self.says("serves ").split()[1])

    def says(self, words: str) -> str:
        """The next line that has these words."""
        assert self.parent.stdout is not None
        return next(line for line in self.parent.stdout if words in line)

    def ended_after(self) -> float:
        """Seconds until the parent has ended, and it has ended well."""
        began = time.monotonic()
        wait_until(lambda: self.parent.poll() is not None, "the end of the parent")
        assert self.parent.returncode == 0
        return time.monotonic() - began

    def is_there(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        for pid in (self.parent.pid, *self.children) if self.parent.poll() is None else self.children:
            if self.is_there(pid):
                os.kill(pid, signal.SIGKILL)
        self.parent.wait()
        assert self.parent.stdout is not None
        self.parent.stdout.close()


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served(NEVER_MS)
    yield made
    made.close()


@pytest.fixture
def hurried() -> Iterator[Served]:
    """What stands is killed after one second instead of nine."""
    made = Served(1000)
    yield made
    made.close()


def test_all_end_when_their_parent_is_told_to(served: Served) -> None:
    served.parent.terminate()
    served.ended_after()
    assert not any(map(served.is_there, served.children))


def test_a_child_that_stands_is_killed_when_the_stop_is_over(hurried: Served) -> None:
    assert workers.KILL_MS < 10_000, "a stop takes ten seconds at most"
    os.kill(hurried.children[0], signal.SIGSTOP)
    hurried.parent.terminate()
    assert hurried.ended_after() >= 0.9
    assert not any(map(hurried.is_there, hurried.children))


def test_a_second_signal_ends_a_child_that_stands_at_once(served: Served) -> None:
    os.kill(served.children[1], signal.SIGSTOP)
    served.parent.terminate()
    wait_until(lambda: not served.is_there(served.children[0]), "the first signal is heard")
    served.parent.terminate()
    served.ended_after()
    assert not any(map(served.is_there, served.children))


def test_a_child_that_was_killed_is_started_again(served: Served) -> None:
    os.kill(served.children[0], signal.SIGKILL)
    served.children.append(served.next_child())
    assert served.is_there(served.children[1]), "the other goes on"
    served.parent.terminate()
    served.ended_after()


def test_a_signal_ends_a_wait_for_a_child_that_is_to_be_started_again(served: Served) -> None:
    os.kill(served.children[0], signal.SIGKILL)
    served.says("a worker was lost")
    served.parent.terminate()
    served.ended_after()
