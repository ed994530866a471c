"""The log of the process: one JSON object a line, also for what is logged by libraries."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = r"""
import logging, structlog
from towerlog.asgi.process.logs import set_up_logging
set_up_logging("info")
structlog.get_logger("towerlog.store").info("ours", figure=1)
logging.getLogger("library").warning("theirs")
logging.getLogger("library").info("not worth a line")
"""


def test_each_line_is_an_object() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    ours, theirs = (json.loads(line) for line in done.stderr.splitlines())
    assert (ours["event"], ours["figure"], ours["logger"]) == ("ours", 1, "towerlog.store")
    assert (theirs["event"], theirs["level"]) == ("theirs", "warning")


TOLD = r"""
from towerlog.asgi.process.logs import set_up_logging
import logging, structlog
set_up_logging("info")
text = "told\n{}\r\x1b[2J\x9b2J\x85\u2028\u202e"
structlog.get_logger("towerlog.store").info(text, path=text)
logging.getLogger("library").warning(text)
"""


def test_nothing_that_is_told_makes_a_line_or_moves_a_cursor() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, timeout=60, check=True)
    *lines, last = done.stderr.decode().split("\n")
    assert (len(lines), last) == (2, "")
    assert all(line.isprintable() for line in lines)
    assert {json.loads(line)["event"].partition("\n")[0] for line in lines} == {"told"}


STUCK = r"""
import os, sys, time, logging
from towerlog.asgi.process.logs import set_up_logging
set_up_logging("info")
log, began = logging.getLogger("library"), time.monotonic()
for number in range(4000):
    log.warning("%d %s", number, "x" * 1000)
os.write(1, b"%d\n" % (time.monotonic() - began))
sys.stdin.read()
log.warning("one more")
"""


def test_who_logs_does_not_wait_for_who_reads_and_what_has_no_room_is_counted() -> None:
    command = [sys.executable, "-c", STUCK]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert int(process.stdout.readline()) < 30, "4 MB were logged, and nobody has read any of it"
        first = [json.loads(process.stderr.readline())["event"] for _ in range(900)]
        process.stdin.close()
        rest = [json.loads(line)["event"] for line in process.stderr.read().splitlines()]
    assert process.returncode == 0
    told = first + rest
    [count] = [int(event.split()[0]) for event in told if "lines of the log were dropped" in event]
    kept = [event for event in told if event.endswith("x")]
    assert kept == [f"{number} {'x' * 1000}" for number in range(len(kept))], "in their order, and none between"
    assert len(kept) + count == 4000
    assert told[-1] == "one more"


def test_an_end_does_not_wait_for_a_log_that_nobody_reads() -> None:
    """Neither an orderly one nor another."""
    for last in ("sys.exit(3)", "one = Ending(); one.begin(); one.end_in(0.1, 3, 'why'); time.sleep(600)"):
        program = STUCK.replace("sys.stdin.read()", f"from towerlog.asgi.process.exit import Ending; {last}")
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.wait(20) == 3


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_standard_files_that_are_closed_are_opened_on_nothing(closed: tuple[int, ...]) -> None:
    """What is opened next would be written to by whoever prints or logs."""
    program = (
        f"import os\nfor one in {closed}: os.close(one)\n"
        "from towerlog.asgi.process.logs import open_standard_files\n"
        "open_standard_files()\nend = os.open('/dev/zero', os.O_RDONLY)\n"
        f"os._exit(10 + all(os.readlink(f'/proc/self/fd/{{one}}') == '/dev/null' for one in {closed}) + (end > 2))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert done.returncode == 12
