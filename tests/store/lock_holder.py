"""A process that takes the writer's place of a database and keeps it until it is killed.

`python -m tests.store.lock_holder PATH`: prints a line once it holds the place, then waits on its input.
"""

from __future__ import annotations

import sys
from pathlib import Path

from towerlog.store.lock import take_writer_place

if __name__ == "__main__":
    lock = take_writer_place(Path(sys.argv[1]))
    lock.take_database()
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()
