"""Text that others wrote, made fit to be shown elsewhere: without control characters, within a length."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that are not seen and change what is: control, format (direction too), surrogates …"""
_JOINER = "\u200d"
"""Of the category Cf, and part of many emoji."""
_TAB, _LINE_FEED = "\t", "\n"
ELLIPSIS = "…"


def one_line(text: str, max_units: int) -> str:
    """On one line, single spaces, nothing hidden, cut to `max_units` (see `cut`)."""
    return cut(" ".join(_seen(text[: max_units * 8]).split()), max_units)


def lines(text: str, max_units: int) -> str:
    """The same with its line feeds and tabs, which are all the control characters that are left."""
    return cut(_seen(text.replace("\r\n", _LINE_FEED), _LINE_FEED + _TAB), max_units)


def units(text: str) -> int:
    """The length in UTF-16 code units: no limit that counts in characters is exceeded by what fits in these."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, max_units: int) -> str:
    """The beginning that fits, ending in an ellipsis where something is left out."""
    if units(text) <= max_units:
        return text
    end, left = 0, max_units - units(ELLIPSIS)
    while (left := left - units(text[end])) >= 0:
        end += 1
    return text[:end] + ELLIPSIS


def _seen(text: str, kept: str = "") -> str:
    return "".join(
        one if one in kept or one == _JOINER or unicodedata.category(one) not in _HIDDEN else " " for one in text
    )
