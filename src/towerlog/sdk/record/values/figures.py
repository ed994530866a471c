"""Figures and names that a program gives, made fit for the wire. Nothing here raises.

What cannot be used is not sent in its place, and never costs the event: it is kept under `towerlog_invalid` in the
event's data.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from towerlog.provider_usage.figures import MAX_COUNT
from towerlog.sdk.record.values.encoding import MAX_NAME_CHARS, fit_text, name_text, plain

MAX_LABELS = 64
INVALID = "towerlog_invalid"


class Fit:
    """Collects what fits (`data`) and what does not (`invalid`), each by its name."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.invalid: dict[str, Any] = {}

    def take(self, name: str, value: object, fit: Any) -> None:
        """`fit` returns the value as the wire has it, or raises. None is unknown, and left out."""
        if value is None:
            return
        try:
            self.data[name] = fit(value)
        except Exception:
            # Whatever a program passes: an object whose `__index__` raises, a mapping without items.
            self.invalid[name] = plain(value)

    def all(self) -> dict[str, Any]:
        """The members for the event's data."""
        return {**self.data, INVALID: self.invalid} if self.invalid else self.data


def milliseconds(value: Any) -> float | int:
    """A duration in milliseconds from 0 on, from a number, its text or a timedelta."""
    if isinstance(value, bool):
        raise TypeError("a boolean is not a number")
    found = value / timedelta(milliseconds=1) if isinstance(value, timedelta) else float(value)
    if not (math.isfinite(found) and 0 <= found <= MAX_COUNT):
        raise ValueError("not a duration")
    return int(found) if found == int(found) else found


def labels(value: Any) -> dict[str, str]:
    """Names and texts; numbers and truth values become text."""
    if len(value) > MAX_LABELS:
        raise ValueError("too many labels")
    return {_label(name): _label(text) for name, text in value.items()}


def _label(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError("not a text")
    return fit_text(str(value))


def items(value: Any) -> list[Any]:
    """The items of a list or another iterable that is not a text or a mapping."""
    if isinstance(value, str | bytes | Mapping):
        raise TypeError("not a list")
    return list(value)


def mapping(value: Any) -> Any:
    """A mapping, as it is."""
    if not isinstance(value, Mapping):
        raise TypeError("not a mapping")
    return value


def thread_of(value: object) -> str | None:
    """A thread's id as the wire allows it: 1 to 200 characters, no control characters, no `/`, not `.` or `..`.

    One that is not allowed gets a suffix made of it, so that two threads stay two. None for an empty one.
    """
    try:
        given = value if isinstance(value, str) else str(value)
    except Exception:
        given = name_text(value)
    fit = "".join("-" if letter == "/" or ord(letter) < 32 or 127 <= ord(letter) < 160 else letter for letter in given)
    fit = fit_text(fit)
    if not given or (fit == given and len(fit) <= MAX_NAME_CHARS and fit not in (".", "..")):
        return given or None
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{fit[: MAX_NAME_CHARS - 9]}-{digest}"
