"""Frameworks of others, each in an environment of its own, in which a program reports to a server of the test.

`environments/NAME.txt` names the packages and the versions that the quick tier uses; the slow tier takes the newest of
each. An environment is a virtual one that sees this checkout; what has been installed stays, for the next run.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server import ADMIN_KEY, NO_LIMITS, Server
from towerlog.sdk.api.client import Client
from towerlog.sdk.api.shapes import Event, RunInfo

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
VENVS = HERE / ".venvs"
INSTALL_DEADLINE_S = 900.0
PROGRAM_DEADLINE_S = 300.0
PINNED, NEWEST = "pinned", "newest"
VERSIONS = [PINNED, pytest.param(NEWEST, marks=pytest.mark.slow)]
"""The versions that a framework is tried in."""


def python_of(framework: str, versions: str = PINNED) -> Path:
    """The interpreter of an environment that has the framework, without the folders that its list does not want."""
    wanted = HERE / "environments" / f"{framework}.txt"
    folder = VENVS / f"{framework}-{versions}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    VENVS.mkdir(exist_ok=True)
    with _lock(folder.name):
        if not (stamp.exists() and stamp.stat().st_mtime >= wanted.stat().st_mtime):
            venv.create(folder, clear=True, symlinks=True)
            packages = re.findall(r"^[a-z]\S*$", wanted.read_text(), re.MULTILINE)
            if versions == NEWEST:
                packages = [package.partition("==")[0] for package in packages]
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
            # Of thousands of files a test imports some, and these are compiled as they are imported.
            _run([*pip, "--root-user-action=ignore", "--no-compile", *packages], {}, INSTALL_DEADLINE_S)
            for unwanted in re.findall(r"^without (.*)", wanted.read_text(), re.MULTILINE):
                for path in folder.glob(unwanted):
                    shutil.rmtree(path)
            stamp.touch()
    return python


def run_program(python: Path, program: Path, env: Mapping[str, str], *arguments: str) -> str:
    """What a program prints that is run in such an environment; fails the test where it fails."""
    return _run(
        [str(python), str(program), *arguments], {**env, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}, PROGRAM_DEADLINE_S
    )


class Told:
    """A server, and what a program has told it."""

    def __init__(self, server: Server, folder: Path) -> None:
        """`folder`: for what the program spools."""
        folder.mkdir()
        self.env = {
            "TOWERLOG_URL": server.base_url,
            "TOWERLOG_API_KEY": ADMIN_KEY,
            "XDG_STATE_HOME": str(folder),
        }
        self._client = Client(server.base_url, ADMIN_KEY)

    def run(self, thread: str) -> RunInfo:
        """The one run of a thread that is no other's child."""
        [found] = [run for run in self.runs(thread) if run.parent_run_id is None]
        return found

    def runs(self, thread: str) -> list[RunInfo]:
        """The runs of a thread, the oldest first."""
        found = [*self._client.list_runs(thread_id=thread)]
        return [self._client.get_run(run.run_id) for run in reversed(found)]

    def all_runs(self) -> list[RunInfo]:
        """All that the server has."""
        return [*self._client.list_runs()]

    def events(self, run: RunInfo, *types: str) -> list[Event]:
        """Events of a run, in order; of these types, if any are named."""
        return [event for event in self._client.list_events(run.run_id) if not types or event.type in types]

    def agents(self, run: RunInfo, kind: str) -> list[int]:
        """Whose each span of a kind is, in order: a number for each agent."""
        return [span["agent"] for span in self._client.get_outline(run.run_id).spans if span["kind"] == kind]

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


@contextmanager
def told_by(folder: Path, framework: str, program: Path, versions: str = PINNED, **env: str) -> Iterator[Told]:
    """A server of a test's own, which a program has reported to."""
    python = python_of(framework, versions)
    with Server(folder / "data", NO_LIMITS) as server:
        told = Told(server, folder / "state")
        try:
            run_program(python, program, {**told.env, **env})
            yield told
        finally:
            told.close()


def _run(command: list[str], env: Mapping[str, str], deadline_s: float) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOWERLOG_", "PYTHON"))}
    done = subprocess.run(
        command, env={**clean, **env}, capture_output=True, text=True, timeout=deadline_s, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Tests run in several processes: one of them installs, the others wait for it."""
    with (VENVS / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
