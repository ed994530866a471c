"""The program `towerlog`, also as `python -m towerlog`: the command line, or one line about what it needs."""

from __future__ import annotations

import sys
from typing import Any

from towerlog.cli.commands import without_click
from towerlog.cli.exits import explained


def main() -> None:
    """Runs the command line. Without click, prints which extra to install and exits with 69."""
    _command_line()(prog_name="towerlog")


@explained
def _command_line() -> Any:
    try:
        from towerlog.cli.main import main as command_line
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        raise without_click(sys.argv[1:]) from None
    return command_line


if __name__ == "__main__":
    main()
