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
    "test_cli.py": "copies, restores and spoils the database file",
    "test_audit.py": "changes the audit behind the server's back",
    "test_bounds_in_bytes.py": "measures the database file",
    "test_keys_and_orgs.py": "looks for secrets in the database file",
    "test_provider_keys.py": "the same",
    "test_retention.py": "looks for erased words in the database file",
    "test_kill.py": "measures the write-ahead log",
}
"""Tests that are about a SQLite file."""
FILES = sorted(
    path.name for path in HERE.glob("test_*.py") if path.name not in OF_FILES and path.name != Path(__file__).name
)
DEADLINE_S = 1500


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_it_holds_on_postgres(name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", str(HERE / name)]
    environ = {**os.environ, STORE_VARIABLE: "postgres"}
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:]
