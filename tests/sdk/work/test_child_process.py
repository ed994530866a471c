"""Running a command: outputs, terminals, and what is left in the background."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

from tests.support.wait import wait_until

SCRIPT = """
import dataclasses, json, sys
from towerlog.sdk.work.child_process import block_signals, run_command
finished = run_command(sys.argv[2:], block_signals())
open(sys.argv[1], "w").write(json.dumps(dataclasses.asdict(finished)))
"""
DEADLINE_S = 60
FULL = Path("/dev/full")


def run(told: Path, *command: str, **streams: object) -> tuple[subprocess.CompletedProcess[bytes], dict[str, object]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    words = [sys.executable, "-c", SCRIPT, str(told), *command]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, timeout=DEADLINE_S, check=False, **pipes)  # type: ignore[call-overload]
    return done, json.loads(told.read_text())


def test_one_place_for_both_outputs_keeps_their_order(tmp_path) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out$i; echo err$i >&2; done"
    done, finished = run(tmp_path / "told", "sh", "-c", script, stderr=subprocess.STDOUT)
    assert done.stdout.decode().split() == [f"{kind}{number}" for number in range(1, 10) for kind in ("out", "err")]
    assert finished["stdout_bytes"] == len(done.stdout)
    assert finished["stderr_bytes"] is None


def test_a_reader_that_goes_away_ends_the_command(tmp_path) -> None:
    told = tmp_path / "told"
    words = [sys.executable, "-c", SCRIPT, str(told), "yes"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    process.wait(DEADLINE_S)
    assert json.loads(told.read_text())["signal"] == "SIGPIPE"


def test_output_that_finds_no_room_is_no_good_end(tmp_path) -> None:
    with FULL.open("wb") as full:
        _, finished = run(tmp_path / "told", "echo", "x", stdout=full)
        assert (finished["exit_code"], finished["stdout_bytes"]) == (1, 0)
        assert finished["error"] == "standard output: No space left on device"
        _, finished = run(tmp_path / "told", "sh", "-c", "echo x >&2; exit 4", stderr=full)
        assert (finished["exit_code"], finished["error"]) == (4, "standard error: No space left on device")
        _, finished = run(tmp_path / "told", "yes", stdout=full)
        assert (finished["signal"], finished["error"]) == ("SIGPIPE", "standard output: No space left on device")


def test_an_output_that_does_not_block_is_waited_for(tmp_path) -> None:
    """As one is that is shared with a program of Node."""
    outlet, inlet = os.pipe()
    os.set_blocking(inlet, False)
    told = tmp_path / "told"
    words = [sys.executable, "-c", SCRIPT, str(told), "head", "-c", "400000", "/dev/zero"]
    with subprocess.Popen(words, stdout=inlet) as process, open(outlet, "rb") as read:
        os.close(inlet)
        wait_until(lambda: held_by(outlet) >= 65_536, "the pipe to be full")
        assert len(read.read()) == 400_000
        process.wait(DEADLINE_S)
    assert json.loads(told.read_text())["exit_code"] == 0


def held_by(pipe: int) -> int:
    """How many bytes wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_what_stays_in_the_background_holds_nothing_up(tmp_path) -> None:
    done, finished = run(tmp_path / "told", "sh", "-c", "sleep 600 & echo $!; yes >&2 &")
    sleeper = int(done.stdout)
    try:
        # It is there still, and we have not been waiting for it.
        assert f"/proc/{sleeper}" in map(str, Path("/proc").glob("[0-9]*"))
    finally:
        os.kill(sleeper, signal.SIGKILL)
    assert finished["exit_code"] == 0


def test_a_terminal_stays_a_terminal_of_its_size(tmp_path) -> None:
    told = tmp_path / "told"
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    size = f"stty -F /dev/fd/{slave} rows 33 cols 77"
    subprocess.run(["sh", "-c", size], pass_fds=[slave], check=True)
    script = "test -t 1 && echo terminal; stty size <&1"
    words = [sys.executable, "-c", SCRIPT, str(told), "sh", "-c", script]
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL)
    shown = b""

    def whole() -> bool:
        nonlocal shown
        try:
            shown += os.read(master, 4096)
        except BlockingIOError:
            return False
        return shown.count(b"\n") == 2

    wait_until(whole, "two lines")
    process.wait(DEADLINE_S)
    # One carriage return for each line: the real terminal's own.
    assert shown == b"terminal\r\n33 77\r\n"
    os.close(master)
    os.close(slave)


def test_what_cannot_be_run_is_told_from_what_is_not_there(tmp_path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    assert run(tmp_path / "told", str(plain))[1]["exit_code"] == 126
    assert run(tmp_path / "told", str(tmp_path / "nothing"))[1]["exit_code"] == 127
    finished = run(tmp_path / "told", "")[1]
    assert (finished["exit_code"], finished["error"]) == (127, '"": No such file or directory')
