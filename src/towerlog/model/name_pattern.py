"""Patterns of names with `*` (any characters) and `?` (one): how many of these marks one may have, and what fits it.

Many patterns are looked at for one name while nobody else is served. So none is a regular expression, and what is
looked for inside a name is plain text: the time grows with the length of the name and no faster.
"""

from __future__ import annotations

MAX_STARS = 4
MAX_QUESTION_MARKS = 4
"""Of a pattern."""


def is_pattern(text: str) -> bool:
    """Whether it has a mark, and so may be of more than one name."""
    return "*" in text or "?" in text


def pattern_fault(text: str) -> str | None:
    """What is wrong with a pattern, to be said after the name of its field; None for nothing."""
    if text.count("*") > MAX_STARS:
        return f"has more than {MAX_STARS} `*`"
    if text.count("?") > MAX_QUESTION_MARKS:
        return f"has more than {MAX_QUESTION_MARKS} `?`"
    if any("?" in part for part in text.split("*")[1:-1]):
        return "has a `?` between two `*`"
    return None


class NamePattern:
    """A pattern without a fault, ready to be compared with names."""

    __slots__ = ("_begin", "_end", "_end_chars", "_inside", "_is_whole", "_least", "_start_chars")

    def __init__(self, text: str) -> None:
        """`text` in the case of the names."""
        begin, *rest = text.split("*")
        *inside, end = rest or [""]
        self._begin, self._start_chars = _pieces(begin), len(begin)
        self._end, self._end_chars = _pieces(end), len(end)
        self._inside = tuple(part for part in inside if part)
        self._is_whole = not rest
        self._least = len(text) - text.count("*")

    def fits(self, name: str) -> bool:
        """Whether the whole name is as the pattern says."""
        chars = len(name)
        if chars < self._least or (self._is_whole and chars > self._least):
            return False
        for at, piece in self._begin:
            if not name.startswith(piece, at):
                return False
        ends_at = chars - self._end_chars
        for at, piece in self._end:
            if not name.startswith(piece, ends_at + at):
                return False
        at = self._start_chars
        for part in self._inside:
            found = name.find(part, at, ends_at)
            if found < 0:
                return False
            at = found + len(part)
        return True


def _pieces(part: str) -> tuple[tuple[int, str], ...]:
    """(where it begins in the part, text) of what stands between the `?` of a part."""
    found, at = [], 0
    for piece in part.split("?"):
        if piece:
            found.append((at, piece))
        at += len(piece) + 1
    return tuple(found)
