"""The program `towerlog`, also as `python -m towerlog`: the command line, or one line about what it needs."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any

from towerlog.cli.commands import without_click
from towerlog.cli.exits import explained


def main() -> None:
    """Runs the command line. Without click, prints which extra to install and exits with 69."""
    if sys.argv[1:2] == ["serve"]:  # whoever asks a server loads nothing of one
        _import_structlog()
    _command_line()(prog_name="towerlog")


def _import_structlog() -> None:
    """Imports structlog as it is where rich is not installed.

    Rich was an eighth of what a start imports, for tracebacks with the values of local variables, which may be secrets.
    """
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]  # what stands there as None cannot be imported
        try:
            # Without the extra `server` there is none.
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module("structlog")
        finally:
            del sys.modules["rich"]


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
