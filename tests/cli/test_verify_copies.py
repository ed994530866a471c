"""The copy that `verify` makes beside a running server: what ends the command removes it, or whoever comes next."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server

CODE = """
import os, sys
from towerlog.cli import maintenance

async def stopped(store, findings):
    print("copied", flush=True)
    sys.stdin.readline()
    return 0

maintenance.verify_store = stopped
from towerlog.cli.main import main
main()
"""
"""Runs `towerlog ARGUMENTS`; once the copy is there says so, and waits for a line."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    try:
        made.start()
        yield made
    finally:
        made.close()


def verifying(server: Server) -> subprocess.Popen[str]:
    """A `verify` that has made its copy and goes on with a line."""
    command = [sys.executable, "-c", CODE, "verify", "--data-dir", str(server.data_dir)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "copied\n"
    return started


def left(server: Server) -> list[str]:
    return [found.name for found in server.data_dir.iterdir() if ".partial" in found.name]


def end(started: subprocess.Popen[str], number: int) -> int:
    started.send_signal(number)
    started.communicate(timeout=60)
    return started.returncode


def test_sigterm_leaves_nothing_behind(server: Server) -> None:
    started = verifying(server)
    assert left(server)
    assert end(started, signal.SIGTERM) == 128 + signal.SIGTERM
    assert left(server) == []


@pytest.mark.parametrize("by", ["verify", "start"])
def test_what_was_killed_is_removed_by_whoever_comes_next(server: Server, by: str) -> None:
    assert end(verifying(server), signal.SIGKILL) == -signal.SIGKILL
    assert left(server)
    if by == "start":
        server.stop()
        server.start()
    else:
        assert server.cli("verify").returncode == 0
    assert left(server) == []


def test_the_copy_of_a_command_that_lives_is_left_alone(server: Server) -> None:
    started = verifying(server)
    kept = left(server)
    assert server.cli("verify").returncode == 0
    server.stop()
    server.start()
    assert left(server) == kept
    started.communicate("\n", timeout=60)
    assert started.returncode == 0
    assert left(server) == []
