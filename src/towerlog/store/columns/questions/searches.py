"""Searches for runs: which need a look into each row, in which stretches they go back, and what they find words in."""

from __future__ import annotations

from collections.abc import Iterator

from towerlog.model.run_text import MAX_PART_CHARS, RunText
from towerlog.store.columns.rows import Row

MAX_SEARCH_MS = 1000
"""A search that needs longer would keep one of the few readers from everybody else's questions: it ends, and says how
far it has come."""
FIRST_STRETCH = 1000
MAX_STRETCH = 8000
"""Numbers of runs that are looked through at once: what the end of the time breaks off is little."""
TEXT_PARTS = ("given", "produced", "talk", "about")
TEXT_COLUMNS = f"run, org, {', '.join(TEXT_PARTS)}"
MAX_TEXT_CHARS = MAX_PART_CHARS


def stretches(top: int, lowest: int) -> Iterator[tuple[int, int]]:
    """(first, end) of the numbers of runs from below `top` down to `lowest`, the newest stretch first."""
    length = FIRST_STRETCH
    while top > lowest:
        first = max(lowest, top - length)
        yield first, top
        top, length = first, min(2 * length, MAX_STRETCH)


def text_row(text: RunText) -> Row:
    """Values for TEXT_COLUMNS; None for a part of which nothing is told."""
    return (text.run, text.org, *text.parts())


def text_value(row: Row) -> RunText:
    """A run's text from TEXT_COLUMNS."""
    return RunText(*row)
