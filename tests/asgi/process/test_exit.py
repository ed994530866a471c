"""The hard end: it comes although the process hangs, and nothing of an orderly end runs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, sys, threading
from towerlog.asgi.process.exit import end_in
atexit.register(print, "tidied up")
print("said before")
end_in(0.1, 70, "too long")
threading.Event().wait()
"""


def test_it_ends_a_process_that_hangs_without_tidying_up() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 70
    assert done.stdout.startswith("said before\n")
    assert "too long" in done.stdout + done.stderr
    assert "tidied up" not in done.stdout
