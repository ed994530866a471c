"""Tables: one row of a list on one line, whatever the width of the terminal.

On a terminal, ids are shortened to a beginning that no other id has, times are relative to now, and what does not fit
is left out by its rank or cut with an ellipsis. In a pipe, and with `--wide`, everything is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import click

from towerlog.ambient import SystemClock
from towerlog.cli.escapes import visible
from towerlog.cli.formatting import ago
from towerlog.cli.output import say, screen_width
from towerlog.model.times import format_ms, parse_ms

GAP = 2
SHORT_ID_CHARS = 23
"""Characters of a shortened id. Commands look among all ids, not only those of the table, and a program may begin many
runs in one millisecond: beside the time, this has 26 random bits, so that of 1000 such ids two begin alike once in 134
times. With the time alone all of them did."""
Kind = Literal["text", "id", "ids", "time", "hour", "number"]
"""`ids` are several in a cell, `hour` an hour that is named by its beginning."""
IDS_BETWEEN = ", "


@dataclass(frozen=True)
class Column:
    """A column. Where the screen is too narrow, those with the highest rank go first; rank 0 stays."""

    title: str
    kind: Kind = "text"
    rank: int = 0
    least: int = 8
    """Characters that a text keeps when it is cut."""


@dataclass(frozen=True)
class View:
    """How a table was asked for."""

    wide: bool = False
    utc: bool = False


Row = Sequence[str | None]


def with_view(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of a table, as its argument `view`."""

    def run(*args: Any, wide: bool, utc: bool, **values: Any) -> Any:
        return command(*args, view=View(wide, utc), **values)

    # Not `wraps`: that would hand on the options, which this adds to.
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    utc = click.option("--utc", is_flag=True, help="Show times in UTC, as they are in a pipe.")
    wide = click.option("--wide", is_flag=True, help="Show every column and whole ids, however long the lines.")
    decorated: Callable[..., Any] = wide(utc(run))
    return decorated


def show_table(columns: Sequence[Column], rows: Sequence[Row], *, empty: str, view: View | None = None) -> None:
    """Prints a table, or `empty` where there are no rows. Times are RFC 3339, as the API gives them."""
    if not rows:
        say(empty)
        return
    view = view or View()
    width = None if view.wide else screen_width()
    is_narrow = width is not None
    cells = [
        _column(column, [row[place] or "" for row in rows], view, is_narrow) for place, column in enumerate(columns)
    ]
    # Here, so that a command that shows no table does not load it.
    from rich.cells import cell_len

    widths = [max(map(cell_len, (column.title, *texts))) for column, texts in zip(columns, cells, strict=True)]
    shown = list(range(len(columns)))
    if width is not None:
        shown = fitted(columns, widths, [place for place in shown if not any(cells[place])], width)
    titles = (_padded(columns[place], columns[place].title, widths[place]) for place in shown)
    click.echo(click.style((" " * GAP).join(titles).rstrip(), bold=True))
    for number in range(len(rows)):
        line = (_padded(columns[place], cells[place][number], widths[place]) for place in shown)
        click.echo((" " * GAP).join(line).rstrip())


def fitted(columns: Sequence[Column], widths: list[int], empty: Sequence[int], room: int) -> list[int]:
    """The places of the columns that fit into so many characters; `widths` of those that are cut become smaller.

    Columns without a value go first, then text is cut, then the columns go by their rank.
    """
    shown = list(range(len(columns)))
    leaving = sorted((place for place in shown if columns[place].rank), key=lambda place: -columns[place].rank)
    leaving = [place for place in leaving if place in empty] + [place for place in leaving if place not in empty]
    while True:
        excess = sum(widths[place] for place in shown) + GAP * (len(shown) - 1) - room
        texts = [place for place in shown if columns[place].kind in ("text", "ids")]
        slack = sum(max(widths[place] - columns[place].least, 0) for place in texts)
        if excess <= 0 or not leaving or (excess <= slack and leaving[0] not in empty):
            _cut(columns, widths, texts, excess)
            return shown
        shown.remove(leaving.pop(0))


def _cut(columns: Sequence[Column], widths: list[int], texts: Sequence[int], excess: int) -> None:
    """Takes so many characters from the widest texts, none below its least."""
    while excess > 0:
        wide = [place for place in texts if widths[place] > columns[place].least]
        if not wide:
            return
        widths[max(wide, key=lambda place: widths[place])] -= 1
        excess -= 1


def _column(column: Column, texts: list[str], view: View, is_narrow: bool) -> list[str]:
    """The cells of a column, safe to show."""
    texts = [visible(text) for text in texts]
    if column.kind == "id" and is_narrow:
        return shortened(texts)
    if column.kind == "ids" and is_narrow:
        return _shortened_lists(texts)
    if column.kind == "hour" and is_narrow:
        return [_hour(text, view.utc) for text in texts]
    if column.kind == "time" and is_narrow:
        return [_time(text, view.utc) for text in texts]
    return texts


def _time(text: str, utc: bool) -> str:
    time_ms = time_in(text)
    if time_ms is None:
        return text
    return format_ms(time_ms)[:19].replace("T", " ") + "Z" if utc else ago(SystemClock().now_ms() - time_ms)


def time_in(text: str) -> int | None:
    """A point in time in milliseconds since 1970; None for a text that is none, which is shown as it is."""
    try:
        return parse_ms(text)
    except ValueError:
        return None


def moment(text: str, utc: bool) -> str:
    """A point in time: on a terminal in this machine's zone, or in UTC if asked for; in a pipe as the API gives it."""
    time_ms = time_in(text)
    if screen_width() is None or time_ms is None:
        return text
    found = datetime.fromtimestamp(time_ms / 1000, UTC)
    shown, zone = (found, "Z") if utc else (found.astimezone(), "")
    return f"{shown:%Y-%m-%d %H:%M:%S}.{found.microsecond // 1000:03}{zone}"


def _hour(text: str, utc: bool) -> str:
    """The date and the hour, in this machine's zone or in UTC."""
    time_ms = time_in(text)
    if time_ms is None:
        # A row that belongs to no hour.
        return text
    found = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{found:%Y-%m-%d %H:%M}Z" if utc else f"{found.astimezone():%Y-%m-%d %H:%M}"


def _shortened_lists(cells: Sequence[str]) -> list[str]:
    """Cells of several ids each, all of them shortened to one length."""
    lists = [cell.split(IDS_BETWEEN) if cell else [] for cell in cells]
    short = iter(shortened([one for ids in lists for one in ids]))
    return [IDS_BETWEEN.join(next(short) for _ in ids) for ids in lists]


def shortened(ids: Sequence[str]) -> list[str]:
    """The beginnings of ids: as long as tells them from ids that are not shown, and those apart which are."""
    length = SHORT_ID_CHARS
    distinct = set(ids)
    while len({one[:length] for one in distinct}) < len(distinct):
        length += 1
    # A dash at the end says nothing.
    return [one[:length].rstrip("-") for one in ids]


def _padded(column: Column, text: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    length = cell_len(text)
    if length > width:
        return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)
    return " " * (width - length) + text if column.kind == "number" else text + " " * (width - length)
