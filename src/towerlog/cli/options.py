"""The options that every command has, and the settings made from them."""

from __future__ import annotations

import os
import textwrap
import tomllib
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from towerlog.cli.exits import MAX_LINE_CHARS, explained
from towerlog.config import MEANINGS, BadFlag, BadSetting, Settings, load_settings

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the answer as one JSON object on standard output."
)
"""Option of every command with an answer."""


Checks = Mapping[str, Callable[[str], object]]
"""Setting → who reads its text; for `load_settings`."""


def with_settings(
    *names: str, checks: Checks = MappingProxyType({})
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command its first argument, `settings`, and the options behind it: these, the store's, `--config`.

    `names` are settings beside `data_dir` and `database_url` that this command takes as flags. Known errors of the
    command, or of reading the settings, end in a line of words and an exit code. Commands that run the server's code
    have `with_server_settings`.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        flags = (*names, "data_dir", "database_url")

        @wraps(command)
        def run(config: Path | None, **values: Any) -> Any:
            given = {name: values.pop(name) for name in flags}
            return command(_load(given, config, checks), **values)

        options = [_option(name) for name in flags]
        options.append(
            click.option(
                "--config",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="A TOML file of settings; the environment and flags override it.",
            )
        )
        decorated = explained(run)
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _load(flags: dict[str, Any], file: Path | None, checks: Checks) -> Settings:
    try:
        return load_settings(flags, file=file, checks=checks)
    except BadFlag as error:
        raise click.UsageError(str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{file}: {error}") from None


def _option(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    default = getattr(Settings(), name)
    shown = f"  [default: {default}]" if default != "" else ""
    # The default itself comes from the settings, so that the environment and the file can be told from a flag.
    return click.option("--" + name.replace("_", "-"), name, type=type(default), help=MEANINGS[name] + shown)


class NewFile(click.Path):
    """A path at which nothing is yet, in a folder that is there. What is wrong with it is found before any work."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Fails as for every argument that is wrong."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if os.path.lexists(path):
            self.fail(f"{path}: this file exists already; choose another name", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{path.parent}: no such folder", param, ctx)
        return path


def settings_table() -> str:
    """Every setting, its variable, default and meaning, as lines of text for `--help`."""
    defaults = Settings()
    lines: list[str] = []
    for name, meaning in MEANINGS.items():
        default = getattr(defaults, name)
        shown = f" [{str(default).lower() if isinstance(default, bool) else default}]" if default != "" else ""
        said = textwrap.fill(meaning, MAX_LINE_CHARS, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines.append(f"  TOWERLOG_{name.upper()}{shown}\n{said}")
    return "\n".join(lines)
