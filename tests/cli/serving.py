"""A server for the tests of commands, and commands that ask it, inside the test's process or as one of their own."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

from click.testing import Result

from tests.cli.commands import towerlog
from tests.support.server import ADMIN_KEY, Server, clean_environment, executable


def asking(server: Server, *arguments: str, stdin: str | None = None, **env: str) -> Result:
    """What a command that asks this server printed and exited with."""
    state = str(server.data_dir.parent / "state")
    known = {"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY, "XDG_STATE_HOME": state, **env}
    return towerlog(*arguments, stdin=stdin, **known)


def told_json(server: Server, *arguments: str) -> dict[str, Any]:
    """The JSON of a command that must succeed."""
    done = asking(server, *arguments, "--json")
    assert done.exit_code == 0, done.output
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields


def lines(server: Server, *arguments: str) -> list[str]:
    """The lines of a command that must succeed."""
    done = asking(server, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def process(server: Server, *arguments: str) -> subprocess.Popen[str]:
    """A command as a process of its own, its output to be read."""
    env = clean_environment({"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY})
    # A shell that runs the tests in its background has them ignore Ctrl-C, and they would hand that on.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [executable(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True
        )
    finally:
        signal.signal(signal.SIGINT, usual)
