"""Pages of the docs: their code blocks, run as a reader would, and what they say must come back.

A `console` block has commands after `$ ` (continued by `> `) and under each what it prints; `…` stands for anything,
and a command with nothing under it may print what it likes. All commands of a page share one shell.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from tests.support.curl import REFUSALS_FAIL
from tests.support.launcher import put_on_path, run
from tests.support.server import executable

BLOCK = re.compile(r"^```([a-z]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SESSION_S = 300
BEGIN, DONE = "\x1e", "\x1f"


class Block(NamedTuple):
    """A fenced block and the line of the page where its content begins."""

    language: str
    line: int
    text: str


class Command(NamedTuple):
    """A command and what the page says it prints; None where it says nothing."""

    line: int
    script: str
    expected: str | None


def blocks(text: str, language: str) -> list[Block]:
    """The blocks of one language in a page."""
    found = BLOCK.finditer(text)
    return [Block(b[1], text.count("\n", 0, b.start()) + 2, b[2]) for b in found if b[1] == language]


def save_files(text: str, folder: Path) -> None:
    """Writes the Python blocks that begin with a comment of a file's name into the folder, as a reader is told to."""
    for block in blocks(text, "python"):
        if named := re.match(r"# (\w+\.py)\n", block.text):
            (folder / named[1]).write_text(block.text)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    script: list[str] = []
    printed: list[str] = []
    begun = block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            if script:
                yield Command(begun, "\n".join(script), "\n".join(printed) or None)
            script, printed, begun = [line[2:]], [], number
        elif line.startswith("> ") and not printed:
            script.append(line[2:])
        else:
            printed.append(line)
    if script:
        yield Command(begun, "\n".join(script), "\n".join(printed) or None)


def tour(text: str, heading: str) -> list[Command]:
    """The shell blocks below a heading, each with the text block that follows it; the first one only sets variables."""
    part = text.partition(f"\n## {heading}\n")
    below = part[2].partition("\n## ")[0]
    before = part[0].count("\n") + 2
    found = sorted((*blocks(below, "sh"), *blocks(below, "text")), key=lambda block: block.line)[1:]
    pairs = zip(found, [*found[1:], None], strict=True)
    return [
        Command(before + block.line, block.text, after.text if after is not None and after.language == "text" else None)
        for block, after in pairs
        if block.language == "sh"
    ]


def wrong(page: str, text: str, folder: Path, env: Mapping[str, str]) -> list[str]:
    """What the console blocks of a page do other than it says; runs them all, in order, in one shell."""
    given = [command for block in blocks(text, "console") for command in commands(block)]
    return wrong_of(page, given, folder, env)


def wrong_of(page: str, given: list[Command], folder: Path, env: Mapping[str, str]) -> list[str]:
    """What commands do other than their page says; runs them in order, in one shell."""
    script = "".join(f"printf '{BEGIN}'\n{command.script}\nprintf '{DONE}%d' $?\n" for command in given)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SESSION_S,
        check=False,
    )
    told = done.stdout.decode(errors="replace").split(BEGIN)[1:]
    found: list[str] = []
    for command, answer in zip(given, [*told, *[f"{DONE}not run"] * (len(given) - len(told))], strict=True):
        printed, _, code = answer.partition(DONE)
        if code != "0":
            found.append(f"{page}:{command.line}: `{command.script}` ended with {code}: {printed}")
        elif command.expected is not None and not matches(command.expected, printed):
            found.append(f"{page}:{command.line}: the page says\n{command.expected}\nand it was\n{printed}")
    return found


def run_python(page: Path, env: dict[str, str], without: Set[str] = frozenset()) -> None:
    """Runs the Python blocks of a page, each as a program of its own, but for some."""
    for block in blocks(page.read_text(), "python"):
        if block.text in without:
            continue
        done = run([block.text], {**os.environ, **env}, SESSION_S, "python")
        assert done.returncode == 0, f"{page.name}:{block.line}\n{done.stderr}"


def environment(folder: Path, url: str, key: str, **more: str) -> dict[str, str]:
    """The variables that pages speak of, and the programs that they call."""
    tools = folder / "tools"
    tools.mkdir()
    put_on_path(tools)
    path = f"{tools}:{Path(executable()).parent}:{os.environ['PATH']}"
    known = {"TOWERLOG_URL": url, "TOWERLOG_API_KEY": key, "XDG_STATE_HOME": str(folder / "state")}
    return {"PATH": path, REFUSALS_FAIL: "1", **known, **more}


def matches(expected: str, printed: str) -> bool:
    """Whether a text is what a page says it is, `…` standing for anything."""
    pattern = ".*?".join(map(re.escape, expected.strip().split("…")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
