"""Which version of the folds has made the rows that follow from the log.

A row that another version folded may say something else than this one's rebuild, and is not damaged. Each organisation
has the version noted with which all its rows were made: at its beginning, and by a rebuild.
"""

from __future__ import annotations

FOLDS = 4
"""Goes up by one with every change that makes another row of the same events; `tests/simulation/test_folds.py` holds
it."""
UNKNOWN_FOLDS = 0
"""Rows of a version before this was noted."""
NOTE = "folds"
"""Beginning of the note's name, with the number of the organisation behind it and a colon between."""


def note_name(org: int) -> str:
    """The name of the note of an organisation."""
    return f"{NOTE}:{org}"


def read_folds(text: str | None) -> int:
    """The version that a note names; none, or one that is no number, is unknown."""
    return int(text) if text is not None and text.isdecimal() else UNKNOWN_FOLDS
