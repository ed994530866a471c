"""Runs one test on a program with a fault in it, as processes of their own, and says how that ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.faults.changed.replacing import REPLACED
from tests.faults.planted import Fault

ROOT = Path(__file__).parents[2]
CHANGED = Path(__file__).with_name("changed")
DEADLINE_S = 300.0
FAILED = 1
"""How pytest ends when tests have failed, and nothing else went wrong."""
_RAISED = re.compile(r"^\S+:\d+: (\w+)$", re.MULTILINE)
"""Where and by what a test has failed: the last line of what pytest tells of it."""


class Ended(NamedTuple):
    """How a run of tests has ended."""

    code: int
    red: dict[str, str]
    """Test → the class of what it has failed with; empty text where that was before it had begun, or after its end."""
    told: str
    """What pytest has printed."""


def environment(changes: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, str]:
    """This process's, for a process in which these pieces of source (module → (old, new)) are replaced."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**ours, "PYTHONPATH": str(CHANGED), REPLACED: json.dumps(changes)}


def pytest_id(test: str) -> str:
    """Of a test as `planted.py` names it: FILE::TEST or FOLDER::TEST, below `tests`."""
    place, _, name = test.partition("::")
    if not place.endswith(".py"):
        [file] = [one for one in (ROOT / "tests" / place).glob("test_*.py") if f"def {name}(" in one.read_text("utf-8")]
        place = f"{place}/{file.name}"
    return f"tests/{place}::{name}"


def run_tests(tests: Sequence[str], changes: Mapping[str, Sequence[tuple[str, str]]], folder: Path) -> Ended:
    """Runs tests by their ids below `tests`, on a program with these changes."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"--basetemp={folder / 'tmp'}", f"--junitxml={report}", *map(pytest_id, tests)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(changes), capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    return Ended(done.returncode, _red(report) if report.exists() else {}, done.stdout + done.stderr)


def run_with(fault: Fault, folder: Path) -> Ended:
    """Runs the test that has to find a fault."""
    return run_tests([fault.test], {fault.module: [(fault.old, fault.new)]}, folder)


def _red(report: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = str(case.get("name"))
        for failure in case.iter("failure"):
            raised = _RAISED.findall(failure.text or "")
            found[name] = raised[-1] if raised else "unknown"
        if case.find("error") is not None:
            found[name] = ""
    return found
