"""The table of commands is true, and whoever calls one command loads no other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.cli.terminal import on_terminal
from tests.support.server import clean_environment
from towerlog.cli import commands, exits
from towerlog.cli.commands import CLI, COMMANDS, SERVER, NotInstalled
from towerlog.cli.main import main

HEAVY = (
    "apsw",
    "msgspec",
    "rich",
    "structlog",
    "uvicorn",
    "towerlog.server",
    "towerlog.engine",
    "towerlog.store.base",
    "towerlog.store.sqlite",
)
HELP_TIMES = 4
PROBE = """
import json, sys
sys.argv = ["towerlog", *sys.argv[1:]]
from towerlog.__main__ import main
try:
    main()
except SystemExit as ended:
    code = ended.code
print(json.dumps([code, sorted(sys.modules)]))
"""


def loaded_by(*arguments: str, **env: str) -> tuple[int, set[str]]:
    """The exit code of a command, and the modules that it has imported."""
    command = [sys.executable, "-c", PROBE, *arguments]
    done = subprocess.run(command, env=clean_environment(env), capture_output=True, text=True, check=True, timeout=60)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_table_says_what_the_command_says(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(1000) == COMMANDS[name].help


@pytest.mark.parametrize("name", ["", *sorted(COMMANDS)])
def test_the_help_of_a_command_fits_a_narrow_terminal_and_is_whole(name: str) -> None:
    code, lines = on_terminal(80, *name.split(), "--help")
    assert code == 0
    assert not [line for line in lines if len(line) > 80]
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage")]


def test_the_list_of_commands_loads_none_of_them() -> None:
    code, modules = loaded_by("--help")
    assert code == 0
    assert not modules & set(HEAVY)
    assert not [name for name in modules if name.startswith(("towerlog.cli.runs", "towerlog.sdk.api"))]


def test_to_ask_a_server_loads_nothing_of_one() -> None:
    env = {"TOWERLOG_URL": "http://127.0.0.1:9", "TOWERLOG_API_KEY": "tl_x"}
    code, modules = loaded_by("runs", "ls", **env)
    assert code == exits.UNAVAILABLE
    assert "towerlog.sdk.api.client" in modules
    assert not modules & set(HEAVY)


def test_what_a_worker_runs_with_is_the_sdk(tmp_path: Path) -> None:
    env = {"TOWERLOG_URL": "http://127.0.0.1:9", "TOWERLOG_API_KEY": "tl_x", "XDG_STATE_HOME": str(tmp_path)}
    assert not loaded_by("worker", "--app", "nothing_here:app", **env)[1] & set(HEAVY)
    code, modules = loaded_by("exec", "--", "true", **env)
    assert code == 0
    assert not modules & set(HEAVY)


def test_the_server_of_a_folder_is_looked_for_without_opening_its_store(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path))
    assert loaded_by("orgs", "create", "acme", "--init", *data)[0] == 0
    code, modules = loaded_by("threads", *data)
    assert code == exits.UNAVAILABLE
    assert not modules & set(HEAVY)


def test_the_help_is_quick() -> None:
    """CPU time, since wall time on a busy machine says nothing, beside that of a program that has loaded click and does
    nothing; the best of three, since caches are cold at first."""
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )

    def taken(*program: str) -> float:
        command = [sys.executable, "-c", script, *program]
        return min(float(subprocess.check_output(command, text=True)) for _ in range(3))

    assert taken("-m", "towerlog", "--help") <= HELP_TIMES * taken("-c", "import click")


def test_a_missing_package_is_told_in_one_line_by_the_extra_that_brings_it(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "rich_or_apsw", None)
    monkeypatch.setattr(commands.importlib, "import_module", lambda name: __import__("rich_or_apsw"))
    with pytest.raises(SystemExit) as ended:
        main.get_command(click.Context(main), "serve")
    assert ended.value.code == exits.UNAVAILABLE
    words = "towerlog: `towerlog serve` needs packages that are not installed: pip install '.[server]' in a checkout\n"
    assert capsys.readouterr().err == words


def test_a_module_of_our_own_that_is_missing_is_a_defect(monkeypatch) -> None:
    monkeypatch.setattr(commands, "COMMANDS", {})
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        commands.load("no_such", SERVER, "this")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [([], CLI), (["--help"], CLI), (["serve"], SERVER), (["runs", "ls"], CLI), (["nothing"], CLI), (["keys"], SERVER)],
)
def test_without_a_command_line_the_extra_of_the_command_is_named(arguments, extra) -> None:
    said = commands.without_click(arguments)
    assert isinstance(said, NotInstalled)
    assert str(said).endswith(f"pip install '.[{extra}]' in a checkout")
