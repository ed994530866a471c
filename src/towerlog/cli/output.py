"""Output of commands: JSON for programs, text for people, progress on a terminal.

Answers go to standard output, everything else to standard error. All of it passes through `untrusted` first. A key is
printed on a line of its own, at the only time when it is known.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import click

from towerlog.cli.escapes import json_line, visible, visible_text


def answer(as_json: bool, fields: dict[str, Any], words: Callable[[], None]) -> None:
    """Prints the command's answer: the fields as one JSON object, or what `words` prints."""
    if as_json:
        click.echo(json_line(fields))
    else:
        words()


def say(text: str = "") -> None:
    """Prints lines of the answer."""
    click.echo(visible_text(text))


def cut(line: str, width: int) -> str:
    """The line, or a part of one, cut after so many characters."""
    from rich.cells import cell_len, set_cell_size

    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def tell(sentence: str) -> None:
    """Prints a sentence; on a terminal, its lines are broken between words."""
    for line in broken(visible_text(sentence), screen_width()):
        click.echo(line)


def broken(sentence: str, width: int | None) -> list[str]:
    """A sentence in lines of so many characters at most, but for words that are longer; None: in one."""
    from rich.cells import cell_len

    lines = [""]
    for word in sentence.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width is None or cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def screen_width(stream: TextIO | None = None) -> int | None:
    """Characters of a line on the terminal that standard output, or another stream, leads to; None in a pipe."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def note(text: str) -> None:
    """Prints a line on standard error."""
    click.echo(visible_text(text), err=True)


def show_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Prints names and values, one to a line; unknown ones are left out."""
    known = [(name, str(value)) for name, value in fields if value is not None and value != ""]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{name.ljust(width)}  {visible(value)}")


def show_key(key: str, *, what: str, aside: bool = False) -> None:
    """Prints a new key and a warning; `aside`: on standard error, beside another answer."""
    click.echo(f"{what}, shown only once:\n\n    {key}\n\nKeep it: only its hash is stored.", err=aside)


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes how much is done; a progress bar if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    title_column = TextColumn("{task.description}")
    columns = (SpinnerColumn(), title_column, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(visible(title), total=total)
        yield lambda done: bar.update(task, completed=done)
