"""What `towerlog serve` says to a person; the serving itself is tried with real processes in the acceptance tests."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.cli.commands import towerlog
from tests.support.browser import OWN
from tests.support.browser import SIGN_IN as SIGN_IN_PATH
from tests.support.launcher import launch
from tests.support.ports import HeldPort
from tests.support.samples import first
from tests.support.server import ADMIN_KEY, STOP_DEADLINE_S, Server, clean_environment, executable
from tests.support.wait import wait_until
from towerlog.cli.serve import greet
from towerlog.server import Started


def test_the_first_start_shows_the_key_and_a_line_that_uses_it(capsys) -> None:
    greet(Started("http://h:1", "/data", "tl_adm_x"), Path("/data/towerlog.db"))
    printed = capsys.readouterr().out
    assert "http://h:1/docs" in printed
    assert "/data/towerlog.db" in printed
    assert "tl_adm_x" in [line.strip() for line in printed.splitlines()]
    assert printed.count("tl_adm_x") == 1
    assert 'curl -H "Authorization: Bearer $TOWERLOG_API_KEY" http://h:1/v1/runs' in printed


def test_the_way_in_that_a_first_start_names_works_as_it_is_printed(capsys) -> None:
    greet(Started("http://h:1", "/my data", "tl_adm_x", "http://h:1/sign-in#token=x"), Path("/my data/towerlog.db"))
    assert "`towerlog open --print --data-dir '/my data'`" in capsys.readouterr().out


def test_a_later_start_speaks_of_no_key(capsys) -> None:
    greet(Started("http://h:1", "/data", None), Path("/data/towerlog.db"))
    assert "key" not in capsys.readouterr().out.lower()


def test_a_key_is_kept_out_of_the_journal(tmp_path: Path) -> None:
    log = (tmp_path / "journal").open("wb")
    found = os.fstat(log.fileno())
    env = clean_environment({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}", "TOWERLOG_BOOTSTRAP_KEY": ""})
    with log:
        serving = launch(["serve", "--port", "0", "--data-dir", str(tmp_path / "data")], env, log.fileno())
        try:
            wait_until(lambda: "docs" in (tmp_path / "journal").read_text(), "the server has started")
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(STOP_DEADLINE_S)
    said, file = (tmp_path / "journal").read_text(), tmp_path / "data" / "admin.key"
    key = file.read_text().strip()
    assert key.startswith("tl_adm_")
    assert key not in said
    assert str(file) in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


SIGN_IN = re.compile(r"(http\S+)/sign-in#token=(\S+)")


def first_start(data: Path, *, on_a_terminal: bool, key: str = "") -> str:
    """What a first start prints: on a terminal or into a pipe, with a key of the operator's own or without."""
    reading, writing = pty.openpty() if on_a_terminal else os.pipe()
    env = clean_environment({"TOWERLOG_BOOTSTRAP_KEY": key})
    serving = launch(["serve", "--port", "0", "--data-dir", str(data)], env, writing)
    os.close(writing)
    said = b""
    try:
        while b"First start" not in said or (on_a_terminal and not key and b"/v1/runs" not in said):
            found = os.read(reading, 65536)
            assert found, said
            said += found
        link = SIGN_IN.search(said.decode())
        if link is not None:
            posted = httpx2.post(
                f"{link[1]}{SIGN_IN_PATH}", json={"token": link[2]}, headers={"Origin": link[1], **OWN}
            )
            assert posted.status_code == 204, posted.text
    finally:
        serving.send_signal(signal.SIGTERM)
        os.close(reading)
        serving.wait(STOP_DEADLINE_S)
    return said.decode()


def test_a_link_that_signs_in_is_printed_on_a_terminal_and_kept_out_of_logs(tmp_path: Path) -> None:
    assert SIGN_IN.search(first_start(tmp_path / "a", on_a_terminal=True))
    for data, on_a_terminal, key in (("b", False, ""), ("c", True, ADMIN_KEY), ("d", False, ADMIN_KEY)):
        said = first_start(tmp_path / data, on_a_terminal=on_a_terminal, key=key)
        assert "sign-in" not in said
        assert "towerlog open --print" in said


def test_the_folder_and_its_files_become_private_also_when_they_were_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = Server(data)
    try:
        server.start().stop()
        data.chmod(0o755)
        for file in data.iterdir():
            file.chmod(0o644)
        server.start()
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in data.iterdir() if "towerlog.db" in file.name}
        assert set(modes.values()) == {0o600}, modes
    finally:
        server.close()


def test_requests_are_logged_when_asked_for_without_their_queries(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", {"TOWERLOG_ACCESS_LOG": "true"})
    try:
        client = server.start().client()
        assert client.get("/v1/runs?agent=secret").status_code == 200
        assert server.client(key=None).get("/v1/runs").status_code == 401
        assert (
            client.post("/api/ingest", json={"event_type": "step", "sdk_run_id": "r", "payload": {}}).status_code == 200
        )
        # A thread writes them, after the reply.
        told = server.says('"/api/ingest"')
        lines = [json.loads(line) for line in told.splitlines() if '"towerlog.access"' in line]
    finally:
        server.close()
    seen = [(one["method"], one["path"], one["status"], one["key_id"] is not None) for one in lines]
    for expected in (
        ("GET", "/v1/runs", 200, True),
        ("GET", "/v1/runs", 401, False),
        ("POST", "/api/ingest", 200, True),
    ):
        assert expected in seen, seen
    assert "secret" not in str(lines)
    assert all(one["address"] == "127.0.0.1" and one["ms"] >= 0 and one["trace_id"] for one in lines)


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


def test_what_needs_the_folder_alone_is_refused_beside_a_server(server, tmp_path) -> None:
    copy = tmp_path / "copy.db"
    server.cli_json("backup", str(copy))
    for command in (("serve", "--port", "0"), ("rebuild",), ("restore", str(copy))):
        done = server.cli(*command)
        assert done.returncode == 69, (command, done.stderr)
        assert "in use by another towerlog process: stop that server or command first" in done.stderr


def test_it_says_where_it_is_and_ends_well_with_ctrl_c(server) -> None:
    assert ADMIN_KEY not in server.says(f"listens on {server.base_url}")
    process = server.process
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_help_names_every_setting_and_exit_code() -> None:
    printed = towerlog("serve", "--help").stdout
    for words in ("TOWERLOG_BOOTSTRAP_KEY", "TOWERLOG_LANES_MIN_LEASE_SECONDS", "Exit codes:", " 78  "):
        assert words in printed


def test_a_start_imports_no_rich_though_it_is_installed() -> None:
    """A tenth of a start was rich, which the log of a server never uses."""
    command = [sys.executable, "-X", "importtime", "-m", "towerlog", "serve", "--help"]
    imported = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    names = {line.rpartition("|")[2].strip() for line in imported.splitlines()}
    assert {"structlog.dev", "towerlog.cli.main"} <= names
    assert not [name for name in names if name.startswith("rich.")]
    found = "import towerlog.__main__ as program; program._import_structlog(); import rich; print(rich.__name__)"
    said = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True).stdout
    assert said == "rich\n", "who wants it has it"


@pytest.mark.parametrize("closed", first(["<&- >&- 2>&-", ">/dev/null", "<&-", ">&-", "2>&-", "<&- >&-"], quick=2))
def test_with_standard_files_that_are_closed_it_serves_and_its_key_is_not_lost(tmp_path: Path, closed: str) -> None:
    words = tmp_path / "words"
    env = clean_environment({"TOWERLOG_BOOTSTRAP_KEY": ""})
    with HeldPort() as port:
        command = (
            f"exec {executable()} serve --port {port.number} --data-dir {tmp_path / 'data'} >{words} 2>&1 {closed}"
        )
        with subprocess.Popen(["sh", "-c", command], env=env) as serving:
            try:
                wait_until(lambda: is_ready(port.url) or serving.poll() is not None, "the server is ready")
                file = tmp_path / "data" / "admin.key"
                key = file.read_text().strip() if ">" in closed.replace("2>", "") else shown_key(words)
                bearer = {"Authorization": f"Bearer {key}"}
                assert httpx2.get(f"{port.url}/v1/runs", headers=bearer).status_code == 200
                if file.exists() and "2>" not in closed:
                    assert str(file) in words.read_text(), "where it is is said on standard error"
            finally:
                serving.send_signal(signal.SIGTERM)
        assert serving.returncode == 0, words.read_text()


@pytest.mark.parametrize("output", first([">/dev/full", "| true", "2>&1 | true"], quick=2))
def test_whoever_reads_standard_output_may_go_and_the_key_is_not_lost(tmp_path: Path, output: str) -> None:
    words, data = tmp_path / "words", tmp_path / "data"
    with HeldPort() as port:
        serve = f"{executable()} serve --port {port.number} --data-dir {data}"
        shell = f"echo $$ >{tmp_path}/pid; exec {serve}"
        told = output if "2>&1" in output else f"2>{words} {output}"
        command = f"sh -c '{shell}' {told}; echo ${{PIPESTATUS[0]}} >{tmp_path}/code"
        env = clean_environment({"TOWERLOG_BOOTSTRAP_KEY": ""})
        with subprocess.Popen(["bash", "-c", command], env=env, stdout=subprocess.DEVNULL) as serving:
            try:
                wait_until(lambda: is_ready(port.url) or serving.poll() is not None, "the server is ready")
                key = (data / "admin.key").read_text().strip()
                bearer = {"Authorization": f"Bearer {key}"}
                assert httpx2.get(f"{port.url}/v1/runs", headers=bearer).status_code == 200
            finally:
                if serving.poll() is None:
                    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    assert (tmp_path / "code").read_text() == "0\n"
    if "2>&1" not in output:
        assert "standard output cannot be written" in words.read_text()
        assert str(data / "admin.key") in words.read_text()


def test_what_fails_once_it_listens_is_told_in_a_line(tmp_path: Path) -> None:
    taken = tmp_path / "data" / "towerlog.db.server"
    taken.mkdir(parents=True)
    command = [executable(), "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    env = clean_environment({"TOWERLOG_BOOTSTRAP_KEY": ADMIN_KEY})
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (69, f"towerlog: {taken}: Is a directory\n")
    taken.rmdir()
    with Server(tmp_path / "data"):  # the store was closed
        pass


def shown_key(words: Path) -> str:
    found = re.search(r"tl_adm_\w+", words.read_text())
    assert found is not None
    return found[0]


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False
