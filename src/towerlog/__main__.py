"""The program `towerlog`, also as `python -m towerlog`: the command line, or one line about what it needs.

It imports what it needs once it hears of signals: that can take seconds on a busy machine.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Runs the command line. Without click, prints which extra to install and exits with 69."""
    _open_standard_files()
    if sys.argv[1:2] == ["serve"]:  # whoever asks a server loads nothing of one
        _leave_when_told()
        _import_structlog()
    _command_line()(prog_name="towerlog")


def _open_standard_files() -> None:
    """Of those that this process was started without, each is the null device: a file or socket that is opened later
    would get the number, and what is printed would go there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _leave_when_told() -> None:
    """From now on, and until the server takes them, signals to stop end the process with 0: it has made nothing yet.

    Without a handler the first process of a container would not hear of them at all.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: os._exit(0))


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


def _command_line() -> Any:
    from towerlog.cli.exits import explained

    return explained(_imported)()


def _imported() -> Any:
    try:
        from towerlog.cli.main import main as command_line
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        from towerlog.cli.commands import without_click

        raise without_click(sys.argv[1:]) from None
    return command_line


if __name__ == "__main__":
    main()
