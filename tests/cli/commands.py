"""Running commands of the command line inside the test's process, on a data folder of the test's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from towerlog.cli.main import main

SETTINGS = ("HOST", "PORT", "DATA_DIR", "DATABASE_URL", "BOOTSTRAP_KEY", "URL", "API_KEY")


def towerlog(*arguments: str | Path, stdin: str | None = None, **env: str) -> Result:
    """What the command printed and exited with; settings come from `env` and the arguments alone."""
    unset = {f"TOWERLOG_{name}": None for name in SETTINGS}
    return CliRunner().invoke(main, [str(argument) for argument in arguments], stdin, env={**unset, **env})


def answered(*arguments: str | Path, **env: str) -> dict[str, Any]:
    """The JSON of a command that must succeed."""
    done = towerlog(*arguments, "--json", **env)
    assert done.exit_code == 0, done.output
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields
