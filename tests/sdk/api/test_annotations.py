"""Every field of every reply has its type, whatever a server says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from towerlog.sdk.api import fleet_shapes, shapes
from towerlog.sdk.api.annotations import checks_of
from towerlog.sdk.api.shapes import Shape
from towerlog.sdk.wire.errors import BadAnswer

VALUES: tuple[Any, ...] = (None, True, 7, 1.5, "x", [], [1], ["x"], [[1]], [{}], {}, {"a": 1})


def every_shape() -> list[type[Shape]]:
    """All shapes of the SDK."""
    values = [one for module in (shapes, fleet_shapes) for one in vars(module).values()]
    found = dict.fromkeys(one for one in values if isinstance(one, type) and issubclass(one, Shape))
    return [one for one in found if one is not Shape]


LEASE: dict[str, Any] = {"state": "held", "worker_id": None, "lease_epoch": 1}


def required(shape: type[Shape]) -> dict[str, Any]:
    """Values for the fields without which a shape cannot be."""
    plain = {"str": "x", "int": 7, "Any": 7, "list[str]": ["x"], "list[Json]": [{}], "list[list[int]]": [[1]]}
    more = {"Lease": LEASE, "str | None": "x", "bool | None": True, "float | None": 1.5}
    by_text = {**plain, **more}
    return {
        each.name: by_text[str(each.type)] for each in fields(shape) if each.name != "raw" and str(each.type) in by_text
    }


def spoiled() -> Iterator[tuple[type[Shape], str, Any]]:
    """Each field of each shape with each value."""
    for shape in every_shape():
        for each in fields(shape):
            if each.name != "raw":
                yield from ((shape, each.name, value) for value in VALUES)


def fits(value: Any, kind: str) -> bool:
    """Whether a value is of the type of this text, said a second time in plain words."""
    return any(_is(value, one.strip()) for one in kind.split(" | "))


def _is(value: Any, kind: str) -> bool:
    name, _, inside = kind.partition("[")
    inside = inside.removesuffix("]").removesuffix(", ...")
    match name:
        case "Any":
            return True
        case "None":
            return value is None
        case "str":
            return isinstance(value, str)
        case "bool":
            return value is True or value is False
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "Json":
            return isinstance(value, dict)
        case "list" | "tuple":
            return isinstance(value, list | tuple) and all(_is(one, inside) for one in value)
        case _:
            return type(value).__name__ == name


def test_a_value_that_was_read_has_the_type_of_its_field() -> None:
    read = refused = 0
    for shape, name, value in spoiled():
        try:
            found = shape.read({**required(shape), name: value})
        except BadAnswer:
            refused += 1
            continue
        read += 1
        for each in fields(shape):
            if each.name != "raw":
                assert fits(getattr(found, each.name), str(each.type)), (shape, name, value, each.name)
    assert read > 300
    assert refused > 1000


def test_what_may_be_null_is_and_what_may_not_is_as_good_as_not_there() -> None:
    found = shapes.RunInfo.read({**required(shapes.RunInfo), "questions": None, "attempt": None, "agent": None})
    assert (found.questions, found.attempt, found.agent) == ((), 1, None)
    with pytest.raises(BadAnswer, match="status"):
        shapes.RunInfo.read({**required(shapes.RunInfo), "status": None})


def test_every_field_of_a_type_is_checked() -> None:
    for shape in every_shape():
        unchecked = {name for name, kind in get_type_hints(shape).items() if kind is not Any} - set(checks_of(shape))
        assert unchecked <= {"raw"}, shape
