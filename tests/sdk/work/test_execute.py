"""`towerlog exec` as a process: what it leaves untouched, what it reports, and what it does without a server."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ADMIN_KEY, NO_LIMITS, Server, clean_environment, executable
from tests.support.wait import wait_until
from towerlog.sdk.work.process_tree import send_each, tree_of

DEADLINE_S = 60
HURRIED = """
from towerlog.sdk.record import delivery
delivery.POLL_EVERY_S = 0.2
from towerlog.cli.main import main
main()
"""
"""The program, which asks more often than every five seconds what people want of its run."""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data", NO_LIMITS) as one:
        yield one


def environment(url: str, folder: Path) -> dict[str, str]:
    return clean_environment({"TOWERLOG_API_KEY": ADMIN_KEY, "TOWERLOG_URL": url, "XDG_STATE_HOME": str(folder)})


def start(url: str, folder: Path, *words: str, **options: Any) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", HURRIED, "exec", *words], env=environment(url, folder), **pipes)


def run_of(server: Server, thread: str) -> dict[str, Any]:
    """The one run of a thread, ended, with its events by type."""
    client = server.client()
    found = wait_until(lambda: client.get("/v1/runs", params={"thread_id": thread}).json(), "the run")
    assert len(found) == 1
    run_id = found[0]["run_id"]
    wait_until(lambda: client.get(f"/v1/runs/{run_id}").json()["ended_at"], "the end")
    events = client.get(f"/api/v1/runs/{run_id}/events").json()["data"]
    return {**client.get(f"/v1/runs/{run_id}").json(), "events": {event["type"]: event["data"] for event in events}}


def test_output_and_exit_code_pass_and_are_reported(server, tmp_path) -> None:
    process = start(server.base_url, tmp_path, "--agent", "builder", "--thread", "t-output", "--", "sh", "-c",
                    "printf 'out\\000\\377'; printf wrong >&2; exit 3")  # fmt: skip
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (out, err, process.returncode) == (b"out\x00\xff", b"wrong", 3)
    run = run_of(server, "t-output")
    assert (run["status"], run["agent"], run["error"]) == ("failed", "builder", "exit code 3")
    result = run["events"]["tool.result"]
    assert result["tool"] == "exec"
    assert result["success"] is False
    assert result["result"] == {"exit_code": 3, "signal": None, "stdout_bytes": 5, "stderr_bytes": 5}
    assert result["duration_ms"] >= 0
    assert run["events"]["tool.call"]["arguments"]["command"][:2] == ["sh", "-c"]


def unread(process: subprocess.Popen[bytes]) -> int:
    """Bytes of its output that wait for their reader."""
    assert process.stdout is not None
    return int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize(
    ("command", "left"), [(["yes"], 65_536), (["head", "-c", "100000", "/dev/zero"], 65_536)], ids=["endless", "ended"]
)
def test_a_reader_that_stands_still_keeps_nobody_who_is_told_to_end(server, tmp_path, command, left) -> None:
    """As it keeps no command that writes to it by itself."""
    thread = f"t-still-{command[0]}"
    process = start(server.base_url, tmp_path, "--thread", thread, "--", *command)
    wait_until(lambda: unread(process) >= left, "the pipe to be full")
    if command[0] == "head":
        wait_until(lambda: set(tree_of(process.pid)) <= {process.pid}, "the command to have ended")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == (0 if command[0] == "head" else 128 + signal.SIGTERM)
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    assert run_of(server, thread)["status"] == ("completed" if command[0] == "head" else "failed")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_what_a_command_prints_goes_nowhere_where_the_output_is_closed(server, tmp_path, closed) -> None:
    """The number of a closed file is that of the next one which is opened: a connection, say."""
    thread = f"t-closed{closed}".replace("&", "").replace(">", "o").replace("<", "i").replace(" ", "")
    line = (
        f"exec {sys.executable} -m towerlog exec --thread {thread} -- sh -c 'echo out; echo wrong >&2; sleep 1; echo x'"
    )
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    known = environment(server.base_url, tmp_path)
    process = subprocess.Popen(["sh", "-c", f"{line} {closed}"], env=known, **pipes)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert (out, err) == (b"" if closed.startswith(">") else b"out\nx\n", b"" if "2>" in closed else b"wrong\n")
    assert run_of(server, thread)["events"]["tool.result"]["result"]["exit_code"] == 0


def test_standard_input_passes(server, tmp_path) -> None:
    process = start(server.base_url, tmp_path, "--thread", "t-input", "--", "cat", stdin=subprocess.PIPE)
    text = os.urandom(1_000_000)
    assert process.communicate(text, timeout=DEADLINE_S)[0] == text
    assert process.returncode == 0
    run = run_of(server, "t-input")
    assert run["status"] == "completed"
    assert run["events"]["tool.result"]["result"]["stdout_bytes"] == len(text)


def test_a_signal_is_passed_on(server, tmp_path) -> None:
    script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    process = start(server.base_url, tmp_path, "--thread", "t-signal", "--", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=DEADLINE_S)[0] == b"caught\n"
    assert process.returncode == 5


def test_the_end_by_a_signal_is_told_as_a_shell_does(server, tmp_path) -> None:
    process = start(server.base_url, tmp_path, "--thread", "t-killed", "--", "sh", "-c", "kill -KILL $$")
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + signal.SIGKILL
    run = run_of(server, "t-killed")
    assert run["error"] == "SIGKILL"
    assert run["events"]["tool.result"]["result"]["signal"] == "SIGKILL"


def test_a_command_that_is_not_there(server, tmp_path) -> None:
    process = start(server.base_url, tmp_path, "--thread", "t-none", "--", "no-such-command")
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 127
    assert b"no-such-command" in err
    assert "no-such-command" in run_of(server, "t-none")["error"]


def test_arguments_can_be_kept_back(server, tmp_path) -> None:
    words = ["--thread", "t-hidden", "--hide-arguments", "--", "echo", "s3cret"]
    start(server.base_url, tmp_path, *words).communicate(timeout=DEADLINE_S)
    assert "s3cret" not in str(run_of(server, "t-hidden"))
    assert run_of(server, "t-hidden")["events"]["tool.call"]["arguments"]["command"] == ["echo"]


def test_without_a_server_the_command_runs_and_the_next_program_tells_of_it(tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    process = start(server.base_url, tmp_path, "--thread", "t-away", "--", "echo", "hi")
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert (out, process.returncode) == (b"hi\n", 0)
    try:
        server.start()
        start(server.base_url, tmp_path, "--thread", "t-back", "--", "true").communicate(timeout=DEADLINE_S)
        assert run_of(server, "t-away")["events"]["tool.result"]["result"]["stdout_bytes"] == 3
    finally:
        server.close()


def test_what_can_neither_be_sent_nor_spooled_is_told_as_lost(tmp_path) -> None:
    """The last line says so, with the folder and a way out; no line before it promises more."""
    (tmp_path / "file").touch()
    env = clean_environment({"XDG_STATE_HOME": str(tmp_path / "file")})
    process = subprocess.run([executable(), "exec", "--", "echo", "hi"], env=env, capture_output=True, text=True,
                             timeout=DEADLINE_S, check=False)  # fmt: skip
    assert (process.returncode, process.stdout) == (0, "hi\n")
    *before, last = process.stderr.splitlines()
    assert last.startswith("4 events lost: no API key: set TOWERLOG_API_KEY, and cannot write the spool ")
    assert f"{tmp_path / 'file' / 'towerlog'}" in last
    assert "Set XDG_STATE_HOME" in last
    assert sum("cannot write the spool" in line for line in before) <= 1
    assert not [line for line in before if "retry" in line or "stored" in line]


def steered(server: Server, thread: str, act: str, **body: str) -> None:
    """Asks something of the run of a thread."""
    client = server.client()
    [run] = wait_until(lambda: client.get("/v1/runs", params={"thread_id": thread}).json(), "the run")
    client.post(f"/api/v1/runs/{run['run_id']}:{act}", json=body).raise_for_status()


def status_of(server: Server, thread: str) -> str:
    return str(server.client().get("/v1/runs", params={"thread_id": thread}).json()[0]["status"])


def state_of(process_id: int) -> str:
    """R and S as it goes on, T when it was stopped, Z when it is dead, as is what is not there."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def is_alive(process_id: int) -> bool:
    """Whether it is there and not dead."""
    return state_of(process_id) != "Z"


@pytest.mark.parametrize("act", ["cancel", "kill"])
def test_a_cancel_reaches_the_command_and_what_it_has_started(server, tmp_path, act: str) -> None:
    thread, script = f"t-{act}", "sleep 3600 & echo $!; sh -c 'echo $$; sleep 3600'; echo never"
    process = start(server.base_url, tmp_path, "--thread", thread, "--", "sh", "-c", script)
    assert process.stdout is not None
    started = [int(process.stdout.readline()) for _ in range(2)]
    steered(server, thread, act, reason="it floods the disk")
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (out, process.returncode) == (b"", 128 + signal.SIGTERM)
    assert b"it floods the disk; the command got SIGTERM" in err
    assert not any(map(is_alive, started))
    run = run_of(server, thread)
    assert (run["status"], run["cancel"]["reason"]) == ("cancelled", "it floods the disk")


def test_a_command_that_does_not_end_is_killed_after_the_grace(server, tmp_path) -> None:
    script = "trap '' TERM; sh -c 'echo $$; while :; do sleep 0.05; done' & echo ready; while :; do sleep 0.05; done"
    words = ["--thread", "t-grace", "--grace-seconds", "1", "--", "sh", "-c", script]
    process = start(server.base_url, tmp_path, *words)
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    below = int(first if first != b"ready\n" else second)
    steered(server, "t-grace", "cancel")
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + signal.SIGKILL
    assert not is_alive(below)
    assert run_of(server, "t-grace")["status"] == "cancelled"


def test_what_the_command_has_started_ends_with_it(server, tmp_path) -> None:
    """It ignores the SIGTERM by which the command itself ends."""
    script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done' & wait"
    words = ["--thread", "t-left", "--grace-seconds", "0.5", "--", "sh", "-c", script]
    process = start(server.base_url, tmp_path, *words)
    assert process.stdout is not None
    below = int(process.stdout.readline())
    steered(server, "t-left", "cancel")
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert not is_alive(below)


def test_a_command_that_ends_well_after_a_cancel_is_complete(server, tmp_path) -> None:
    script = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    process = start(server.base_url, tmp_path, "--thread", "t-saved", "--", "sh", "-c", script)
    assert process.stdout is not None
    process.stdout.readline()
    steered(server, "t-saved", "cancel")
    assert process.communicate(timeout=DEADLINE_S)[0] == b"saved\n"
    assert (process.returncode, run_of(server, "t-saved")["status"]) == (0, "completed")


def test_a_pause_stops_the_command_until_somebody_resumes_it(server, tmp_path) -> None:
    """And what it has started."""
    script = f"sh -c 'echo $$; while [ ! -e {tmp_path}/enough ]; do sleep 0.02; done' & echo $$; wait"
    process = start(server.base_url, tmp_path, "--thread", "t-pause", "--", "sh", "-c", script)
    assert process.stdout is not None
    both = [int(process.stdout.readline()) for _ in range(2)]
    assert "T" not in map(state_of, both)
    steered(server, "t-pause", "pause", reason="lunch")
    wait_until(lambda: status_of(server, "t-pause") == "paused", "the pause")
    wait_until(lambda: [*map(state_of, both)] == ["T", "T"], "both to be stopped")
    (tmp_path / "enough").touch()
    assert process.poll() is None
    steered(server, "t-pause", "resume")
    process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, run_of(server, "t-pause")["status"]) == (0, "completed")


@pytest.mark.parametrize("how", ["cancel", "signal"])
def test_a_command_that_is_stopped_can_be_ended(server, tmp_path, how: str) -> None:
    thread = f"t-stopped-{how}"
    script = "echo ready; while :; do sleep 0.05; done"
    process = start(server.base_url, tmp_path, "--thread", thread, "--", "sh", "-c", script)
    assert process.stdout is not None
    process.stdout.readline()
    steered(server, thread, "pause")
    wait_until(lambda: status_of(server, thread) == "paused", "the pause")
    if how == "cancel":
        steered(server, thread, "cancel")
    else:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + signal.SIGTERM


def is_stopped(process_id: int) -> bool:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("how", ["signal", "elsewhere"])
def test_a_paused_command_that_was_woken_is_stopped_again(server, tmp_path, how: str) -> None:
    """By a signal for `towerlog exec` that it survives, and by somebody else, as a shell does with a job."""
    thread, woken = f"t-woken-{how}", tmp_path / "woken"
    script = f"trap 'echo x > {woken}' HUP CONT; echo $$; while :; do sleep 0.05; done"
    words = ["--thread", thread, "--grace-seconds", "1", "--", "sh", "-c", script]
    process = start(server.base_url, tmp_path, *words)
    assert process.stdout is not None
    command = int(process.stdout.readline())
    steered(server, thread, "pause")
    wait_until(lambda: status_of(server, thread) == "paused", "the pause")
    wait_until(lambda: is_stopped(command), "that it is stopped")
    if how == "signal":
        process.send_signal(signal.SIGHUP)
    else:
        os.killpg(os.getpgid(command), signal.SIGCONT)  # a shell acts on it once what it waits for goes on too
    wait_until(woken.exists, "that the command goes on")
    wait_until(lambda: is_stopped(command), "that it is stopped again")
    assert status_of(server, thread) == "paused"
    steered(server, thread, "resume")
    wait_until(lambda: not is_stopped(command), "the resume")
    steered(server, thread, "cancel")
    process.communicate(timeout=DEADLINE_S)


def test_a_paused_command_goes_on_where_who_has_stopped_it_is_killed(server, tmp_path) -> None:
    """And what it has started."""
    script = f"sh -c 'echo $$; while [ ! -e {tmp_path}/enough ]; do sleep 0.02; done' & echo $$; wait"
    process = start(server.base_url, tmp_path, "--thread", "t-left-paused", "--", "sh", "-c", script)
    assert process.stdout is not None
    both = [int(process.stdout.readline()) for _ in range(2)]
    steered(server, "t-left-paused", "pause")
    wait_until(lambda: status_of(server, "t-left-paused") == "paused", "the pause")
    process.kill()
    try:
        wait_until(lambda: "T" not in map(state_of, both), "both to go on")
    finally:
        (tmp_path / "enough").touch()
        send_each(signal.SIGCONT, dict.fromkeys(both, ""))
        process.communicate(timeout=DEADLINE_S)
