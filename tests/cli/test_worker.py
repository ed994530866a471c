"""What `towerlog worker` and `towerlog exec` make of their command lines. What they do is in tests/sdk."""

from __future__ import annotations

import logging
import subprocess

import click
import pytest
from click.testing import CliRunner

from tests.support.launcher import run
from tests.support.server import NO_LIMITS, Server, clean_environment
from towerlog.cli import exits
from towerlog.cli.main import main
from towerlog.cli.worker import VisibleFormatter, load_app, read_labels
from towerlog.sdk.work.app import App


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a module in it."""
    (tmp_path / "served_here.py").write_text(
        "from towerlog.sdk.work.app import App\napp = App()\napp.add('a', print)\n\n\nclass Deep:\n    inner = app\n"
    )
    (tmp_path / "broken_here.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_app_is_found_in_the_working_folder(folder) -> None:
    found = load_app("served_here:app")
    assert isinstance(found, App)
    assert load_app("served_here:Deep.inner") is found


@pytest.mark.parametrize(
    ("target", "words"),
    [("nothing_here:app", "no module"), ("served_here:nothing", "has no 'nothing'"), ("served_here:Deep", "App")],
)
def test_what_is_no_app_is_told_in_words(folder, target, words) -> None:
    with pytest.raises(click.UsageError, match=words):
        load_app(target)


def test_a_module_that_misses_another_shows_its_own_error(folder) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        load_app("broken_here:app")


@pytest.mark.parametrize("target", ["served_here", ":app", "served_here:"])
def test_a_target_has_two_parts(folder, target) -> None:
    with pytest.raises(click.UsageError):
        load_app(target)


def test_a_line_of_the_log_cannot_control_the_terminal() -> None:
    record = logging.LogRecord("towerlog.worker", logging.INFO, "x.py", 1, "run %s: \x1b[2J", ("\u202er\ud800",), None)
    assert VisibleFormatter("%(levelname)s %(message)s").format(record) == "INFO run \\u202er\\ud800: \\x1b[2J"


def test_labels_are_names_and_values() -> None:
    assert read_labels(("gpu=a100", "note=a=b", "empty=")) == {"gpu": "a100", "note": "a=b", "empty": ""}
    for wrong in ("gpu", "=x", ""):
        with pytest.raises(click.UsageError):
            read_labels((wrong,))


def test_a_command_is_reported_to_the_local_server_with_its_key_as_other_commands_ask_it(tmp_path) -> None:
    data = tmp_path / "data"
    known = {"TOWERLOG_DATA_DIR": str(data), "XDG_STATE_HOME": str(tmp_path / "state")}
    shown = ["sh", "-c", "echo key:$TOWERLOG_API_KEY"]
    with Server(data, NO_LIMITS) as server:
        done = run_command("exec", "--agent", "nightly", "--", *shown, **known)
        assert (done.returncode, done.stdout) == (0, "key:\n"), "the command itself is not given the key"
        assert "no API key" not in done.stderr
        [run] = server.client().get("/api/v1/runs", params={"agent": "nightly"}).json()["data"]
        assert run["status"] == "completed"
        wrong = run_command("exec", "--", "true", **known, TOWERLOG_PORT="many")
        assert wrong.returncode == 0, "whatever is wrong with the settings, the command is run"
        server.stop()
        away = run_command("exec", "--agent", "nightly", "--", "true", **known)
        assert away.returncode == 0
        assert "start it with `towerlog serve`" in away.stderr
        assert "`towerlog spool ls` shows what is spooled" in away.stderr, (
            "kept, and for nobody until it is said for whom"
        )
    nowhere = run_command("exec", "--", "true", **{**known, "TOWERLOG_DATA_DIR": str(tmp_path / "none")})
    assert (nowhere.returncode, (tmp_path / "none").exists()) == (0, False)
    assert "no API key" in nowhere.stderr


def run_command(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    return run(arguments, clean_environment(env), 120)


def test_settings_that_cannot_be_end_with_words(folder, monkeypatch) -> None:
    # The command sets both, for the agents in its process.
    monkeypatch.setenv("TOWERLOG_API_KEY", "a key with spaces")
    monkeypatch.setenv("TOWERLOG_URL", "http://127.0.0.1:9")
    done = CliRunner().invoke(main, ["worker", "--app", "served_here:app"])
    assert done.exit_code == 78
    assert "a key with spaces" not in done.output
    assert CliRunner().invoke(main, ["worker", "--app", "served_here:app", "--concurrency", "0"]).exit_code == 2
    assert CliRunner().invoke(main, ["exec"]).exit_code == 2


def test_a_key_that_the_server_does_not_know_ends_a_worker_with_its_own_code(folder, monkeypatch, tmp_path) -> None:
    server = Server(tmp_path / "data", NO_LIMITS)
    try:
        monkeypatch.setenv("TOWERLOG_URL", server.start().base_url)
        monkeypatch.setenv("TOWERLOG_API_KEY", "tl_lane_nobody")
        done = CliRunner().invoke(main, ["worker", "--app", "served_here:app"])
    finally:
        server.close()
    assert done.exit_code == exits.NO_PERMISSION, done.output
    assert "tl_lane_nobody" not in done.output
