"""The program `towerlog`, also as `python -m towerlog`: the command line, or one line about what it needs."""

from __future__ import annotations

import sys

from towerlog.cli.commands import without_click
from towerlog.cli.exits import UNAVAILABLE


def main() -> None:
    """Runs the command line. Where click is not installed, says which extra to install and ends with 69."""
    try:
        from towerlog.cli.main import main as command_line
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit(_missing())
    command_line(prog_name="towerlog")


def _missing() -> int:
    sys.stderr.write(f"towerlog: {without_click(sys.argv[1:])}\n")
    return UNAVAILABLE


if __name__ == "__main__":
    main()
