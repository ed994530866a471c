"""Counts and money from any number or its text. Raises where a value is none."""

from __future__ import annotations

import operator
from typing import Any

MAX_COUNT = 2**53
MAX_DOLLARS = 1_000_000


def count(value: Any) -> int:
    """A whole number from 0 on: also a float or a text that is one, and the integers of other libraries."""
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    if isinstance(value, bool):
        raise TypeError("a boolean is not a number")
    if isinstance(value, str):
        value = value.strip()
        found = int(value) if value.isascii() and value.isdigit() else float(value)
    else:
        found = operator.index(value) if hasattr(type(value), "__index__") else float(value)
    if found != int(found) or not 0 <= found <= MAX_COUNT:
        raise ValueError("not a count")
    return int(found)


def dollars(value: Any) -> float:
    """An amount of money in dollars from 0 on, from any number or its text."""
    if isinstance(value, bool):
        raise TypeError("a boolean is not a number")
    # The text of another number may say more than its float would: a Decimal, say.
    found = value if type(value) is float else float(str(value))
    if not 0 <= found <= MAX_DOLLARS:
        raise ValueError("not an amount")
    return found
