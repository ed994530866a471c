"""What the launcher starts is the program, with what it was given and nothing else, and ends as the program does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.sdk.talker import reply, talking
from tests.support.launcher import ROOT, Launched, launch, launch_python, put_on_path, run
from tests.support.ports import HeldPort
from tests.support.server import clean_environment, executable, is_ready
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


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--version",), marks=SLOW),
        pytest.param(("serve", "--help"), marks=SLOW),
        ("nonsense",),
        ("serve", "--port", "x"),
    ],
)
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


def test_what_is_printed_and_what_is_complained_of_are_told_apart() -> None:
    good, bad = (
        run(["--version"], clean_environment({}), DEADLINE_S),
        run(["nonsense"], clean_environment({}), DEADLINE_S),
    )
    assert (good.returncode, good.stdout.split()[0], good.stderr) == (0, "towerlog", "")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "No such command" in bad.stderr


CODE = """
import __main__, atexit, os, sys
atexit.register(print, "at the end", flush=True)
print(sys.argv, __main__.CHOSEN if hasattr(__main__, "CHOSEN") else None, os.environ.get("GIVEN"), flush=True)
CHOSEN = 5
print(__main__.CHOSEN, __name__, flush=True)
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 1 / 0)
"""


@pytest.mark.parametrize("arguments", [("3", "x"), ()])
def test_code_runs_as_in_an_interpreter_of_its_own(tmp_path, arguments) -> None:
    """Its arguments, its module, its environment, what it does at its end, its exit code, its traceback."""
    env = clean_environment({"GIVEN": "this"})
    command = [sys.executable, "-c", CODE, *arguments]
    alone = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    with (tmp_path / "out").open("wb") as output, (tmp_path / "errors").open("wb") as errors:
        started = launch_python(CODE, arguments, env, output.fileno(), errors.fileno())
        code = started.wait(DEADLINE_S)
    assert (code, (tmp_path / "out").read_text()) == (alone.returncode, alone.stdout)
    last = alone.stderr.splitlines()[-1:]
    assert (tmp_path / "errors").read_text().splitlines()[-1:] == last


SERVES = """
import atexit, sys
from towerlog.__main__ import main
before = set(sys.modules)
atexit.register(lambda: print("late:", sorted(set(sys.modules) - before), flush=True))
sys.argv = ["towerlog", "serve", *sys.argv[1:]]
main()
"""


def test_a_server_imports_nothing_that_its_launcher_has_not(tmp_path) -> None:
    """Hundreds of servers of a run would each pay for it: the list of prices alone takes a fifth of a second."""
    with HeldPort() as port, (tmp_path / "said").open("wb") as output:
        arguments = ["--port", str(port.number), "--data-dir", str(tmp_path / "data")]
        started = launch_python(SERVES, arguments, clean_environment({}), output.fileno(), output.fileno())
        try:
            with httpx2.Client(base_url=port.url, trust_env=False) as client:
                wait_until(lambda: is_ready(client), "the server to be ready")
            started.send_signal(signal.SIGTERM)
            assert started.wait(DEADLINE_S) == 0
        finally:
            started.kill()
    assert (tmp_path / "said").read_text().splitlines()[-1] == "late: []"


def in_shell(folder: Path, script: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """What comes of a script that has the programs on its path."""
    put_on_path(folder)
    env = {**clean_environment({}), "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=env, input=given, capture_output=True, text=True, check=False
    )


def test_a_shell_has_it_with_its_pipes_its_folder_and_its_exit_code(tmp_path) -> None:
    said = in_shell(tmp_path, "towerlog --version | tr t T; towerlog nonsense; echo $?")
    assert said.stdout.startswith("Towerlog ")
    assert said.stdout.endswith("\n2\n")
    assert "No such command" in said.stderr
    (tmp_path / "here").write_text("of the folder")
    with talking(reply(), reply()) as talker:
        in_shell(tmp_path, f"echo given | curl -d @/dev/stdin {talker.url}; curl -d @here {talker.url}")
    assert [body for _, body in talker.requests] == [b"given", b"of the folder"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_shell_that_ends_it_learns_how_it_has_ended(tmp_path, number) -> None:
    """SIGTERM is handed on; what has ended by a signal is seen by the shell to have done so."""
    with HeldPort() as port:
        ended = "kill $!" if number == signal.SIGTERM else "kill -9 $(cat here/towerlog.db.lock | tr -dc 0-9)"
        script = f"""towerlog serve --port {port.number} --data-dir here >said 2>&1 &
            until grep -q 'listens on' said; do sleep 0.05; done
            {ended}; wait $!; echo $?"""
        said = in_shell(tmp_path, script)
    assert int(said.stdout) == (0 if number == signal.SIGTERM else 128 + number), said.stderr


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
