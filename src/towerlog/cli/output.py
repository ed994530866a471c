"""What commands say: JSON for programs, words and tables for people, progress on a terminal.

Answers go to standard output, everything else to standard error. Whatever is said here passes through `foreign`
first. A key is printed whole, on a line of its own, in the one moment in which it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from towerlog.cli.foreign import json_line, visible, visible_text


def answer(as_json: bool, fields: dict[str, Any], words: Callable[[], None]) -> None:
    """The command's answer: the fields as one JSON object, or whatever `words` prints."""
    if as_json:
        click.echo(json_line(fields))
    else:
        words()


def say(text: str = "") -> None:
    """A line of the answer, or several."""
    click.echo(visible_text(text))


def note(text: str) -> None:
    """A line beside the answer."""
    click.echo(visible_text(text), err=True)


def show_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Names and values, one to a line, those that are unknown left out."""
    known = [(name, str(value)) for name, value in fields if value is not None and value != ""]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        click.echo(f"{name.ljust(width)}  {visible(value)}")


def show_key(key: str, *, what: str, aside: bool = False) -> None:
    """A new key and the warning that goes with it; `aside`: on standard error, beside another answer."""
    click.echo(f"{what}, shown only now:\n\n    {key}\n\nKeep it: only its hash is stored.", err=aside)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A table; in a pipe as wide as its contents, so that no id is ever cut."""
    if not rows:
        say(empty)
        return
    rows = [[visible(cell) for cell in row] for row in rows]
    console = Console(soft_wrap=False, highlight=False)
    if not console.is_terminal:
        widths = (max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True))
        console.width = sum(widths) + 3 * len(columns)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name.endswith("ID"), overflow="fold")
    for row in rows:
        # As text: a name that looks like markup is a name.
        table.add_row(*map(Text, row))
    console.print(table)


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Takes how much is done by now; a bar on a terminal's standard error, silent anywhere else."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    title_column = TextColumn("{task.description}")
    columns = (SpinnerColumn(), title_column, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(visible(title), total=total)
        yield lambda done: bar.update(task, completed=done)
