"""The acceptance tests with their stores in PostgreSQL: what is promised of one backend is promised of the other.

Each file of tests runs in a process of its own, with servers whose databases lie in a PostgreSQL of that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import STORE_VARIABLE

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OF_FILES = {
    "test_cli.py::test_a_backup_can_be_named_by_its_database_url": "a dump is no store that could be opened",
    "test_cli.py::test_a_second_server_on_the_same_folder_is_refused_in_words": "several servers may share a database",
    "test_kill.py": "measures the write-ahead log beside the file",
    "test_worker_runs.py::test_a_worker_beside_its_server_needs_no_key_and_neither_do_the_runs_in_it": "the worker is"
    " given the data folder alone, and not the database in which its key would be made",
    "test_worker_questions.py::test_a_server_that_stood_still_ends_no_lease": "leases go by the database's clock, which"
    " goes on for all nodes while one stands still",
}
"""Tests, and a file of tests, that are about a SQLite file, or about its one process; and why."""
LEFT_OUT = {name for name in OF_FILES if "::" not in name} | {Path(__file__).name}
FILES = sorted(path.name for path in HERE.glob("test_*.py") if path.name not in LEFT_OUT)
DEADLINE_S = 1500


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_it_holds_on_postgres(name: str) -> None:
    deselected = [f"--deselect={HERE.relative_to(ROOT) / one}" for one in OF_FILES if one.startswith(f"{name}::")]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *deselected, str(HERE / name)]
    environ = {**os.environ, STORE_VARIABLE: "postgres"}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:]
