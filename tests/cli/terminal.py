"""Commands on a pseudo-terminal of a given width, as a person runs them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from tests.support.server import ADMIN_KEY, Server, clean_environment, executable

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(width: int, arguments: list[str], env: dict[str, str], timeout_s: float = 60) -> tuple[int, list[str]]:
    """The exit code of a program, and the lines that it has written on the terminal, without their colours."""
    terminal, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    running = subprocess.Popen(arguments, stdin=child, stdout=child, stderr=child, env={**env, "TERM": "xterm"})
    os.close(child)
    shown = b""
    # The terminal of a child that has gone says so with an error.
    with contextlib.suppress(OSError):
        while found := os.read(terminal, 65536):
            shown += found
    os.close(terminal)
    code = running.wait(timeout_s)
    text = _ESCAPES.sub("", shown.decode())
    return code, text.replace("\r\n", "\n").splitlines()


def seen(server: Server, width: int, *arguments: str) -> list[str]:
    """What a command that asks this server, and must succeed, shows on a terminal of this width."""
    env = clean_environment({"TOWERLOG_URL": server.base_url, "TOWERLOG_API_KEY": ADMIN_KEY})
    code, lines = on_terminal(width, [executable(), *arguments], env)
    assert code == 0, lines
    return lines
