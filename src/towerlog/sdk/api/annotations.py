"""Whether a value of a reply has the type of its field: what a server says may be of any type.

The types are the annotations of the fields themselves, so that they are said once.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

MAX_SHAPES = 128
"""Shapes whose checks are remembered; there are fewer."""
Check = Callable[[Any], bool]


def anything(_value: Any) -> bool:
    """The check of a field that may have any value."""
    return True


@lru_cache(maxsize=MAX_SHAPES)
def checks_of(shape: type[Any]) -> Mapping[str, Check]:
    """A check for each field of a shape that may not have any value."""
    hints = get_type_hints(shape)
    return {name: check for name, kind in hints.items() if (check := _check_of(kind)) is not None}


def _check_of(kind: Any) -> Check | None:
    """Whether a value is of a type; None for a type that all values have."""
    origin = get_origin(kind)
    if kind is Any:
        return None
    if origin is Union or origin is types.UnionType:
        return _any_of([_check_of(one) for one in get_args(kind)])
    if origin in (list, tuple):
        return _all_in(origin, _check_of(get_args(kind)[0]))
    if kind is int:
        # A truth value is an int to Python.
        return lambda value: type(value) is int
    if kind is float:
        return lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    plain = dict if origin is not None else kind
    return lambda value: isinstance(value, plain)


def _any_of(checks: list[Check | None]) -> Check | None:
    known = [check for check in checks if check is not None]
    return None if len(known) < len(checks) else lambda value: any(check(value) for check in known)


def _all_in(container: type[Any], check: Check | None) -> Check:
    if check is None:
        return lambda value: isinstance(value, container)
    return lambda value: isinstance(value, container) and all(map(check, value))
