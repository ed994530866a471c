"""A good JSON body, spoilt in one place at a time: every value replaced by every kind of wrong one, left out, or twice.

Works on text, because much of what is sent to a server is no value that a JSON library would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

WRONG_VALUES: tuple[str, ...] = (
    *("null", "true", "0", "-1", "1.5", "1e400", "-0.0", "NaN", "Infinity", "9007199254740993", "18446744073709551616"),
    *('""', '"x"', '" "', '"\\u0000"', '"\\ud800"', '"a/b"', '"\U0001f469\u200d\U0001f680"', '"2026-13-45T99:00:00Z"'),
    *("[]", "{}", "[[]]", '[null, 1, "x"]', '{"": {"a": null}}', "[" * 200 + "]" * 200),
    '"' + "long" * 1000 + '"',
    "1" * 5000,
)
"""As JSON text, or as what some libraries write for it."""

HERE = "\ue000"
"""Stands in a value's or a name's place until the text is made; no body has it."""


def places_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of everything in a JSON value, the whole of it first."""
    yield path
    if isinstance(value, dict):
        for name, member in value.items():
            yield from places_of(member, (*path, name))
    elif isinstance(value, list):
        for at, member in enumerate(value):
            yield from places_of(member, (*path, at))


def spoilt(body: Any) -> Iterator[bytes]:
    """Every variant, as it is sent."""
    for path in places_of(body):
        marked = json.dumps(_changed(body, path, HERE), ensure_ascii=False)
        for wrong in WRONG_VALUES:
            yield marked.replace(f'"{HERE}"', wrong).encode()
        if path:
            yield json.dumps(_changed(body, path, None, drop=True)).encode()
        if path and isinstance(path[-1], str):
            twice = json.dumps(_changed(body, (*path[:-1], HERE), "again"), ensure_ascii=False)
            yield twice.replace(f'"{HERE}"', json.dumps(path[-1])).encode()


def _changed(value: Any, path: Path, new: Any, *, drop: bool = False) -> Any:
    """A copy with another value at the end of the path, or without it."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        middle = [] if drop and not rest else [_changed(value[int(step)], rest, new, drop=drop)]
        return [*value[: int(step)], *middle, *value[int(step) + 1 :]]
    if drop and not rest:
        return {name: member for name, member in value.items() if name != step}
    return {**value, step: _changed(value.get(step), rest, new, drop=drop)}
