"""A program for tests that kill it: `python reporter.py URL SPOOL COUNT PAUSE_S` tells numbers, and says which.

A line is `told N` after a number was told, and `safe N` once all of them are on disk or acknowledged. For that it waits
after every tenth number: while it goes on telling, there is nearly always something under way.
"""

import os
import sys
import threading

from towerlog.sdk.record.recorder import Recorder

url, spool, count, pause_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
recorder = Recorder(url, os.environ["TOWERLOG_API_KEY"], spool_dir=spool, longest_pause_seconds=0.2)
idle = threading.Event()
with recorder.record_run(agent="reporter", run_key=f"run-{os.getpid()}") as run:
    for number in range(count):
        run.step("n", {"number": number})
        # One write, so that a kill never leaves half a line.
        os.write(1, f"told {number}\n".encode())
        idle.wait(pause_s)
        if number % 10 == 9:
            while recorder.status().queued:
                idle.wait(0.001)
            os.write(1, f"safe {number}\n".encode())
