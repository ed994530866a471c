"""Running a command: outputs, terminals, and what is left in the background."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.wait import wait_until

SCRIPT = """
import dataclasses, json, sys
from towerlog.sdk.work.child_process import block_signals, run_command
finished = run_command(sys.argv[2:], block_signals())
open(sys.argv[1], "w").write(json.dumps(dataclasses.asdict(finished)))
"""
DEADLINE_S = 60


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
