"""The hard end: it comes although the process hangs, and nothing of an orderly end runs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, sys, threading
from towerlog.asgi.process.exit import Ending
atexit.register(print, "tidied up")
print("said before")
ending = Ending()
ending.begin()
ending.end_in(0.1, 70, "too long")
threading.Event().wait()
"""


def test_it_ends_a_process_that_hangs_without_tidying_up() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 70
    assert done.stdout.startswith("said before\n")
    assert "too long" in done.stdout + done.stderr
    assert "tidied up" not in done.stdout


SHORT = """
import resource, threading
from towerlog.asgi.process.exit import Ending
ending = Ending()
ending.begin()
room = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    pass
else:
    raise SystemExit("a thread was to be had")
ending.end_in(600, 1, "too late")
ending.end_in(0.1, 70, "too long", lambda: print("first", flush=True))
ending.end_in(300, 2, "later")
threading.Event().wait()
"""


def test_it_needs_no_new_thread_and_the_shorter_time_counts() -> None:
    """As in a process whose memory, or whose threads, are all taken."""
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.partition("\n")[0]) == (70, "first"), done.stderr
    assert "too long" in done.stdout + done.stderr
