"""The log of the process: one JSON object a line, also for what is logged by libraries."""

from __future__ import annotations

import json
import subprocess
import sys

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
