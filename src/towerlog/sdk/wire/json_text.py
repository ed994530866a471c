"""JSON that is read and written again as it was: numbers by their text, members that are there twice.

What a program sends and a reader shows is somebody else's data: 1e400 is no float, 3.141592653589793238 has more digits
than one, and an object may have a name twice. Values that Python holds exactly are plain. The others are a `Figure`,
which is a float besides, or a `Doubled`, which is a dict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAX_PLAIN_DIGITS = 300
"""Digits of an integer that is read as one; Python refuses those of more than 4,300."""


class Figure(float):
    """A number whose text says more than its float."""

    text: str

    def __new__(cls, text: str) -> Figure:
        """The nearest float, which may be infinite."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[Figure], tuple[str]]:
        return Figure, (self.text,)


class Doubled(dict[str, Any]):
    """An object in which a name stands more than once; as a dict it has the last value of each."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        """`pairs` are all members, in order."""
        super().__init__(pairs)
        self.pairs = pairs

    def __reduce__(self) -> tuple[type[Doubled], tuple[list[tuple[str, Any]]]]:
        return Doubled, (self.pairs,)


def read(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is not JSON, or is nested too deep to be read."""
    try:
        return json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deep") from None


def write(value: object, *, compact: bool = False) -> str:
    """The JSON text of a value, with the numbers and members that `read` has found. `compact`: without blanks.

    Keeps its own stack: what `read` can read may be nested deeper than Python calls functions.
    """
    comma, colon = (",", ":") if compact else (", ", ": ")
    done: list[str] = []
    # What is still to be written, the next one last; texts stand there as they are.
    left: list[object] = [value]
    while left:
        one = left.pop()
        if isinstance(one, _Verbatim | Figure):
            done.append(one.text)
        elif isinstance(one, dict):
            pairs = one.pairs if isinstance(one, Doubled) else one.items()
            inside = [(f"{_text(str(name))}{colon}", inner) for name, inner in pairs]
            left += _reversed("{", inside, comma, "}")
        elif isinstance(one, list | tuple):
            left += _reversed("[", [("", inner) for inner in one], comma, "]")
        else:
            done.append(_text(one))
    return "".join(done)


@dataclass(frozen=True, slots=True)
class _Verbatim:
    """A piece of the text."""

    text: str


def _reversed(begin: str, inside: list[tuple[str, object]], comma: str, end: str) -> list[object]:
    """The pieces and values of a container, the last one first."""
    pieces: list[object] = [_Verbatim(end)]
    for number in range(len(inside) - 1, -1, -1):
        head, inner = inside[number]
        pieces += (inner, _Verbatim(f"{comma if number else begin}{head}"))
    return pieces if inside else [_Verbatim(begin + end)]


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _float(text: str) -> float:
    value = float(text)
    return value if repr(value) == text else Figure(text)


def _int(text: str) -> int | float:
    return Figure(text) if len(text) > MAX_PLAIN_DIGITS or text == "-0" else int(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Doubled(pairs)
