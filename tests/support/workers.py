"""The processes that run the tests are forked from one that has imported all test files.

Each of them needs all files: to import these would take each 8 s, and more than twice as long where they have not been
compiled yet, as in a fresh clone. pytest-xdist starts an interpreter for each process; here a relay takes its place
(`relay.py`), and has the one with the imports fork.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def names_of_test_modules() -> list[str]:
    """As pytest names them."""
    files = sorted(file.relative_to(ROOT) for file in (ROOT / "tests").rglob("test_*.py"))
    # The tests of clients install packages of others below their folder, with tests of their own.
    ours = [file for file in files if not any(part.startswith(".") or part == "node_modules" for part in file.parts)]
    return [".".join(file.with_suffix("").parts) for file in ours]


def fork_from_one(config: pytest.Config, specs: list[Any]) -> None:
    """Has the processes of a whole run begin with all imported. Those of a run of some files are left as they are."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    from tests.support.launcher import RELAY

    relayed = shlex.join([sys.executable, "-IS", str(RELAY), _door(), "python"])
    for place, spec in enumerate(specs):
        specs[place] = type(spec)(f"{spec}//python={relayed}")
        specs[place].id = spec.id


@functools.cache
def _door() -> str:
    """Where a process is asked for."""
    from tests.support.launcher import start_beside

    return start_beside("tests.support.workers")[1]


class ImportsAll:
    """In place of a collection: as pytest imports them. A file that cannot be imported is left to whoever runs it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        """Says that it has collected."""
        for name in names_of_test_modules():
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        return True


def read_constants() -> None:
    """hypothesis reads all sources for constants at its first example: 1.6 s where it has not stored them yet."""
    # Imported sooner, its plugin would complain.
    from hypothesis import given, settings
    from hypothesis import strategies as st

    settings(max_examples=1, database=None)(given(st.none())(lambda nothing: None))()


def main() -> None:
    """Imports and forks; in what it has forked, a process of the run."""
    # The module that `make test` loads counts as a plugin: each process would complain of it as imported too early.
    pytest.main(["--collect-only", "-s", "-p", "tests.support.progress", "-p", "no:cacheprovider"], [ImportsAll()])
    read_constants()
    from tests.support import launcher, script

    launcher.launcher()
    assert threading.active_count() == 1, "what is forked would miss a thread that an import has started"
    gc.freeze()
    started = launcher.next_start()
    if started is not None:
        sys.argv = ["python", started[-1]]
        launcher.run_to_its_end(script.program)


if __name__ == "__main__":
    main()
