"""Records `towerlog runs tail` with an answer, of a real run, as the SVG of the README.

    make recording

Starts a server with an empty store, a worker with `recorded_agent.py`, and two terminals: one follows the run, the
other answers its question. What they show, and when, becomes `docs/assets/tail.svg`: an image that needs no script.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
HOST = socket.gethostname()
TARGET = HERE.parent / "docs" / "assets" / "tail.svg"
TOWERLOG = str(Path(sys.executable).with_name("towerlog"))
KEY = "recording_" + "0" * 30
COLUMNS, CELL, LINE, PAD = 80, 8.43, 20, 16
READY_S = 30.0
THINKING_S = 1.5
END_S = 60.0
TYPING_S = 0.045
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Shown(NamedTuple):
    """A piece of text and when it appeared, in seconds."""

    at: float
    text: str


class Terminal:
    """A command on a pseudo-terminal; what it shows is kept with its time."""

    def __init__(self, arguments: list[str], env: dict[str, str], began_at: float) -> None:
        """Starts it."""
        self.shown: list[Shown] = []
        self._began_at = began_at
        self._terminal, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self._process = subprocess.Popen(arguments, stdin=child, stdout=child, stderr=child, env=env)
        os.close(child)

    def read_until(self, words: str | None) -> None:
        """Reads until these words were shown, or to its end. Raises SystemExit when that takes too long."""
        ends_at = time.monotonic() + END_S
        while words is None or words not in "".join(piece.text for piece in self.shown):
            if time.monotonic() > ends_at:
                raise SystemExit(f"not seen: {words}")
            ready, _, _ = select.select([self._terminal], [], [], 0.1)
            if not ready:
                continue
            found = b""
            # The terminal of a child that has gone says so with an error.
            with contextlib.suppress(OSError):
                found = os.read(self._terminal, 4096)
            if not found:
                break
            text = ESCAPES.sub("", found.decode(errors="replace")).replace("\r\n", "\n")
            text = text.replace(HOST, "desk")  # the id of a worker begins with its machine's name
            self.shown.append(Shown(time.monotonic() - self._began_at, text))
        if words is None and self._process.wait(END_S) != 0:
            raise SystemExit("".join(piece.text for piece in self.shown))


def main() -> None:
    """Records, and writes the image."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        env = {**os.environ, "TOWERLOG_BOOTSTRAP_KEY": KEY, "TOWERLOG_API_KEY": KEY, "TERM": "xterm", "TZ": "UTC"}
        serve = [TOWERLOG, "serve", "--port", "0", "--data-dir", f"{folder}/data"]
        started(stack, serve, env, f"{folder}/server.log")
        env["TOWERLOG_URL"] = wait_for_words(Path(folder) / "server.log", r"listens on (\S+)")[1]
        worker = [TOWERLOG, "worker", "--app", "recorded_agent:app"]
        started(stack, worker, {**env, "XDG_STATE_HOME": folder}, f"{folder}/worker.log")
        wait_for_words(Path(folder) / "worker.log", "serves releaser")
        run_id = subprocess.run(
            [TOWERLOG, "runs", "create", "release", "--agent", "releaser", "--id"],
            env=env, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        short = run_id[:13]
        began_at = time.monotonic()
        first = Terminal([TOWERLOG, "runs", "tail", short], env, began_at)
        first.read_until("Publish version")
        asked_at = time.monotonic() - began_at + THINKING_S
        time.sleep(THINKING_S)
        second = Terminal([TOWERLOG, "runs", "answer", short, "yes"], env, began_at)
        second.read_until(None)
        first.read_until(None)
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(
            image(
                [
                    [*typed(0.0, f"towerlog runs tail {short}"), *first.shown],
                    [*typed(asked_at - 1, f"towerlog runs answer {short} yes"), *second.shown],
                ]
            )
        )


def started(stack: contextlib.ExitStack, command: list[str], env: dict[str, str], log: str) -> subprocess.Popen[bytes]:
    """A process that ends with the recording."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=env, cwd=HERE, stdout=out, stderr=out)

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(READY_S)

    stack.callback(end)
    return process


def wait_for_words(log: Path, pattern: str) -> re.Match[str]:
    """What a process has said, once it has. Raises SystemExit when that takes too long."""
    ends_at = time.monotonic() + READY_S
    while time.monotonic() < ends_at:
        if found := re.search(pattern, log.read_text()):
            return found
        time.sleep(0.05)
    raise SystemExit(log.read_text())


def typed(at: float, command: str) -> list[Shown]:
    """A prompt and a command that is typed behind it."""
    letters = [Shown(at + (number + 1) * TYPING_S, letter) for number, letter in enumerate(command)]
    return [Shown(at, "$ "), *letters, Shown(letters[-1].at, "\n")]


def image(panes: list[list[Shown]]) -> str:
    """The SVG: the panes below each other, every piece of text shown from its time on."""
    body: list[str] = []
    top = 0.0
    width = COLUMNS * CELL + 2 * PAD
    for pane in panes:
        lines, texts = laid_out(pane, top + PAD + LINE * 0.8)
        height = lines * LINE + 2 * PAD
        body.append(f'<rect y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="8"/>')
        body += texts
        top += height + PAD
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top - PAD:.0f}" role="img"'
        ' aria-label="Two terminals: one follows a run live, the other answers its question, and the run goes on.">\n'
        "<style>rect{fill:#16181d}text{fill:#d8dee9;font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;"
        "white-space:pre;animation:s 0s both}@keyframes s{from{visibility:hidden}to{visibility:visible}}"
        "@media(prefers-reduced-motion:reduce){text{animation:none}}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def laid_out(pane: list[Shown], top: float) -> tuple[int, list[str]]:
    """How many lines a pane has, and its pieces of text in their places."""
    row, column = 0, 0
    texts: list[str] = []
    for piece in pane:
        for number, part in enumerate(piece.text.split("\n")):
            if number:
                row, column = row + 1, 0
            while part:
                part, rest = part[: COLUMNS - column], part[COLUMNS - column :]
                x, y = PAD + column * CELL, top + row * LINE
                length = f' textLength="{len(part) * CELL:.1f}"' if len(part) > 1 else ""
                texts.append(
                    f'<text x="{x:.1f}" y="{y:.0f}"{length} xml:space="preserve"'
                    f' style="animation-delay:{piece.at:.2f}s">{escape(part)}</text>'
                )
                column += len(part)
                if rest:
                    row, column = row + 1, 0
                part = rest
    return row + (column > 0), texts


if __name__ == "__main__":
    main()
