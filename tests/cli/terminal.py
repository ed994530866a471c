"""Commands on a pseudo-terminal of a given width, as a person runs them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios

from tests.support.launcher import launch
from tests.support.server import ADMIN_KEY, Server, clean_environment

END_DEADLINE_S = 60.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(width: int, *arguments: str, **env: str) -> tuple[int, list[str]]:
    """The exit code of `towerlog ARGUMENTS`, and the lines that it has written on a terminal, without their colours."""
    terminal, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    # The width once more by its variable: a process that was forked asks the terminal of the one it comes from.
    shown_as = {"TERM": "xterm", "COLUMNS": str(width)}
    running = launch(arguments, {**clean_environment(env), **shown_as}, child, child)
    os.close(child)
    shown = b""
    # The terminal of a child that has gone says so with an error.
    with contextlib.suppress(OSError):
        while found := os.read(terminal, 65536):
            shown += found
    os.close(terminal)
    code = running.wait(END_DEADLINE_S)
    text = _ESCAPES.sub("", shown.decode())
    return code, text.replace("\r\n", "\n").splitlines()


def seen(server: Server, width: int, *arguments: str) -> list[str]:
    """What a command that asks this server, and must succeed, shows on a terminal of this width."""
    code, lines = on_terminal(width, *arguments, TOWERLOG_URL=server.base_url, TOWERLOG_API_KEY=ADMIN_KEY)
    assert code == 0, lines
    return lines
