"""What the launcher starts is the program, with what it was given and nothing else, and ends as the program does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launcher import ROOT, Launched, launch
from tests.support.ports import HeldPort
from tests.support.server import clean_environment, executable
from tests.support.wait import wait_until

DEADLINE_S = 60.0


def told(path: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """The exit code of a command and what it has printed."""
    with path.open("wb") as output:
        started = launch(arguments, clean_environment(env), output.fileno())
        return started.wait(DEADLINE_S), path.read_text()


def serving(path: Path, port: int) -> Launched:
    """A server that says that it listens."""
    arguments = ["serve", "--port", str(port), "--data-dir", str(path.with_suffix(".data"))]
    with path.open("wb") as output:
        started = launch(arguments, clean_environment({}), output.fileno())
    wait_until(lambda: "listens on" in path.read_text(), "the server to listen")
    return started


@pytest.mark.parametrize("arguments", [("--version",), ("serve", "--help"), ("nonsense",), ("serve", "--port", "x")])
def test_a_command_prints_and_exits_as_in_an_interpreter_of_its_own(tmp_path, arguments) -> None:
    command = [executable(), *arguments]
    alone = subprocess.run(
        command, env=clean_environment({}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert told(tmp_path / "said", *arguments) == (alone.returncode, alone.stdout)


def test_it_has_the_environment_and_the_folder_that_it_is_given(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = told(tmp_path / "said", "verify", TOWERLOG_DATA_DIR="here", TOWERLOG_MAX_STREAMS="many")
    assert code != 0
    assert "TOWERLOG_MAX_STREAMS" in said
    _, said = told(tmp_path / "said", "verify", TOWERLOG_DATA_DIR="here")
    assert str(Path("here", "towerlog.db")) in said
    assert not (ROOT / "here").exists()


def test_each_tells_its_own_end(tmp_path) -> None:
    with HeldPort() as one, HeldPort() as other:
        first, second = serving(tmp_path / "first", one.number), serving(tmp_path / "second", other.number)
        assert (first.poll(), second.poll()) == (None, None)
        assert os.getsid(first.pid) == first.pid
        with pytest.raises(subprocess.TimeoutExpired):
            first.wait(0.01)
        second.kill()
        assert second.wait(DEADLINE_S) == -signal.SIGKILL
        assert first.poll() is None
        first.send_signal(signal.SIGTERM)
        assert first.wait(DEADLINE_S) == 0
        assert (first.returncode, first.poll()) == (0, 0)
        first.kill()


def test_it_has_nothing_of_who_starts_it_and_does_not_outlive_it(tmp_path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tests.support.test_launcher import serving\n"
        "os.environ['TOWERLOG_MAX_STREAMS'] = 'no number'\n"
        "print(serving(Path(sys.argv[1]), int(sys.argv[2])).pid, flush=True); os._exit(0)"
    )
    with HeldPort() as port:
        command = [sys.executable, "-c", script, str(tmp_path / "said"), str(port.number)]
        pid = int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=DEADLINE_S).stdout)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the server")
