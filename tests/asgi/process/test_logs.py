"""The log of the process: one JSON object a line, also for what is logged by libraries."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
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
