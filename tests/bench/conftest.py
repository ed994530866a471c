"""The servers of scenarios are forked, like those of all tests: what is tried here is the load, not their start."""

from __future__ import annotations

import pytest

from bench import servers
from tests.support.launcher import Launched, launch

START = servers.start


@pytest.fixture(autouse=True)
def forked_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `towerlog`; the floor is a program of its own."""

    def start(command: list[str], environment: dict[str, str], log: int) -> object:
        program, *arguments = command
        if program != str(servers.towerlog_program()):
            return START(command, environment, log)
        started: Launched = launch(arguments, environment, log)
        return started

    monkeypatch.setattr(servers, "start", start)
