"""Settings reach a command from flags, the environment and a file, in that order of weight."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.support.tables import table
from towerlog.cli.main import main
from towerlog.cli.options import settings_table, with_settings
from towerlog.config import MEANINGS, Settings

UNSET = {f"TOWERLOG_{name.upper()}": None for name in MEANINGS}


@click.command()
@with_settings("port")
@click.option("--own")
def show(settings: Settings, own: str | None) -> None:
    """Prints what it was given."""
    click.echo(f"{settings.port} {settings.data_dir} {own}")


def shown(*arguments: str, **env: str) -> str:
    done = CliRunner().invoke(show, list(arguments), env={**UNSET, **env})
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_a_flag_wins_over_the_environment_and_that_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "towerlog.toml"
    file.write_text('port = 1\ndata_dir = "/from/file"\n')
    assert shown("--config", str(file)) == "1 /from/file None"
    assert shown("--config", str(file), TOWERLOG_PORT="2") == "2 /from/file None"
    assert shown("--config", str(file), "--port", "3", TOWERLOG_PORT="2", TOWERLOG_DATA_DIR="/d") == "3 /d None"


def test_without_any_the_defaults_hold_and_own_options_pass(tmp_path: Path) -> None:
    expected = f"{Settings().port} {tmp_path}/towerlog x"
    assert shown("--own", "x", XDG_DATA_HOME=str(tmp_path)) == expected


@table("name, value", [("EGRESS_ALLOW", "10.0.0.1/8"), ("SMTP_URL", "smtp://u:hunter2@mail")])
@table("command", ["serve", "doctor", "verify", "orgs ls"])
def test_a_way_out_that_cannot_be_is_refused_by_where_it_was_given(
    tmp_path: Path, command: str, name: str, value: str
) -> None:
    env = {**UNSET, f"TOWERLOG_{name}": value}
    done = CliRunner().invoke(main, [*command.split(), "--data-dir", str(tmp_path)], env=env)
    assert (done.exit_code, list(tmp_path.iterdir())) == (78, [])
    assert f"TOWERLOG_{name}: {name.lower()}: " in done.stderr
    assert "hunter2" not in done.output


@pytest.mark.parametrize(
    ("arguments", "env", "code", "words"),
    [
        ([], {"TOWERLOG_PORT": "many"}, 78, "port"),
        ([], {"TOWERLOG_LANES_MIN_LEASE_SECONDS": "0"}, 78, "lanes_min_lease_seconds"),
        (["--port", "70000"], {}, 2, "--port must be between"),
        (["--database-url", "mysql://x"], {}, 2, "--database-url"),
        (["--port", "many"], {}, 2, "'many'"),
        (["--config", "/nowhere.toml"], {}, 2, "/nowhere.toml"),
    ],
)
def test_a_wrong_setting_ends_in_words(arguments, env, code, words) -> None:
    done = CliRunner().invoke(show, arguments, env={**UNSET, **env})
    assert done.exit_code == code, done.output
    assert words in done.stderr


def test_a_file_that_is_no_toml_ends_in_words(tmp_path: Path) -> None:
    file = tmp_path / "towerlog.toml"
    file.write_text("port: 1")
    done = CliRunner().invoke(show, ["--config", str(file)], env=UNSET)
    assert done.exit_code == 78, done.output
    assert str(file) in done.stderr


def test_the_table_names_every_setting() -> None:
    table = settings_table()
    words = " ".join(table.split())
    assert all(f"TOWERLOG_{name.upper()}" in words and meaning in words for name, meaning in MEANINGS.items())


def parameters(command: click.Command, context: click.Context, path: str = "") -> Iterator[tuple[str, str]]:
    """(command, option or argument) of it and of all commands below it."""
    yield from ((path, name) for one in command.params for name in (*one.opts, *one.secondary_opts))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from parameters(below, click.Context(below, parent=context), f"{path} {name}".strip())


def test_no_command_takes_a_key() -> None:
    """What stands on a command line is seen by everybody on the machine, and kept in the history of the shell."""
    taken = list(parameters(main, click.Context(main)))
    assert ("serve", "--port") in taken
    assert ("runs tail", "--url") in taken
    secret = {"key", "keys", "token", "secret", "password", "credential", "bearer"}
    found = [one for one in taken if secret & set(re.split("[-_]", one[1]))]
    assert found == [("budgets reservations", "--key"), ("keys revoke", "key_id")], "its id is no secret"
