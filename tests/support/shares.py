"""Each of several test processes imports another share of the test files first.

All of them need all files. Where these have not been compiled yet, as in a fresh clone, the processes would do the same
work at the same time, 20 s of it each; so they divide it, and each finds most files compiled by another.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def names_of_test_modules() -> list[str]:
    """As pytest names them, in an order that all processes agree on."""
    files = sorted(file.relative_to(ROOT) for file in (ROOT / "tests").rglob("test_*.py"))
    # The tests of clients install packages of others below their folder, with tests of their own.
    ours = [file for file in files if not any(part.startswith(".") or part == "node_modules" for part in file.parts)]
    return [".".join(file.with_suffix("").parts) for file in ours]


def rotated(names: list[str], process: int, processes: int) -> list[str]:
    """The names, beginning with the share of this process."""
    first = len(names) * process // processes
    return names[first:] + names[:first]


def import_own_share_first(config: pytest.Config) -> None:
    """Imports what is collected anyway. Does nothing in a run of some files or of one process."""
    worker, count = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if worker is None or count is None or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    for name in rotated(names_of_test_modules(), int(worker.removeprefix("gw")), int(count)):
        importlib.import_module(name)
