"""A test that hangs ends the run."""

from __future__ import annotations

from pathlib import Path

from tests.support import launcher
from tests.support.server import clean_environment

HANGING = """
import threading
def test_one_that_ends(): pass
def test_one_that_hangs(): threading.Event().wait()
"""
RUN = """
import sys
import pytest
from tests.support.watch import Watch
sys.exit(pytest.main(sys.argv[1:], [Watch(0.2, again_s=0.2)]))
"""


def test_a_test_that_hangs_ends_the_run_with_its_stack(tmp_path: Path) -> None:
    file, none = tmp_path / "test_hanging.py", tmp_path / "none.toml"
    file.write_text(HANGING)
    none.touch()
    arguments = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        "-c",
        str(none),
        "--rootdir",
        str(tmp_path),
        str(file),
    ]
    done = launcher.run([RUN, *arguments], clean_environment({}), 60, "python")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_one_that_hangs" in done.stderr, done.stderr
