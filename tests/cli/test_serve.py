"""What `towerlog serve` says to a person; the serving itself is tried with real processes in the acceptance tests."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import towerlog
from tests.support.server import ADMIN_KEY, Server, clean_environment, executable
from towerlog.cli.serve import greet
from towerlog.server import Started


def test_the_first_start_shows_the_key_and_a_line_that_uses_it(capsys) -> None:
    greet(Started("http://h:1", "/data", "tl_adm_x"), "/data/towerlog.db")
    printed = capsys.readouterr().out
    assert "http://h:1/docs" in printed
    assert "/data/towerlog.db" in printed
    assert "tl_adm_x" in [line.strip() for line in printed.splitlines()]
    assert printed.count("tl_adm_x") == 1
    assert 'curl -H "Authorization: Bearer $TOWERLOG_API_KEY" http://h:1/v1/runs' in printed


def test_a_later_start_speaks_of_no_key(capsys) -> None:
    greet(Started("http://h:1", "/data", None), "/data/towerlog.db")
    assert "key" not in capsys.readouterr().out.lower()


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [executable(), "serve", "--port", str(port), "--data-dir", str(tmp_path / "data")]
        done = subprocess.run(
            command, env=clean_environment({}), capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1] == f"towerlog: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert not (tmp_path / "data").exists()


@pytest.fixture
def server(tmp_path: Path):
    """A server of its own, started."""
    own = Server(tmp_path / "data")
    own.start()
    yield own
    own.close()


def test_a_second_server_on_the_folder_is_refused(server) -> None:
    done = server.cli("serve", "--port", "0")
    assert done.returncode == 69
    assert "in use by another towerlog process" in done.stderr


def test_it_says_where_it_is_and_ends_well_with_ctrl_c(server) -> None:
    assert f"listens on {server.base_url}" in server.log
    assert ADMIN_KEY not in server.log
    process = server.process
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_help_names_every_setting_and_exit_code() -> None:
    printed = towerlog("serve", "--help").stdout
    for words in ("TOWERLOG_BOOTSTRAP_KEY", "TOWERLOG_LANES_MIN_LEASE_SECONDS", "Exit codes:", " 78  "):
        assert words in printed
