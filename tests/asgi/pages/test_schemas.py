"""JSON Schema of types: what msgspec would take is what is described."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import pytest

from towerlog.asgi.pages.schemas import Schemas

T = TypeVar("T")


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Node(msgspec.Struct):
    """A node."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=9, pattern="^a")]
    children: list[Node] = []
    body: msgspec.Raw = msgspec.Raw(b"null")
    weight: Annotated[int, msgspec.Meta(ge=0, lt=5)] | None = None
    kind: Literal["x", "y"] = "x"
    colour: Colour = Colour.RED
    anything: Any = None
    shares: dict[str, float] = {}


class Box(msgspec.Struct, Generic[T], rename="camel"):
    """A box."""

    the_content: T


def test_every_kind_of_field() -> None:
    schemas = Schemas([Node])
    assert schemas.of(Node) == {"$ref": "#/components/schemas/Node"}
    described = schemas.resolved(schemas.of(Node))
    assert described["required"] == ["name"]
    assert described["description"] == "A node."
    assert described["properties"] == {
        "name": {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"},
        "children": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
        "body": {},
        "weight": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 5},
        "kind": {"type": "string", "enum": ["x", "y"], "description": 'Default: "x".'},
        "colour": {"type": "string", "enum": ["red", "blue"], "description": 'Default: "red".'},
        "anything": {},
        "shares": {"type": "object", "additionalProperties": {"type": "number"}},
    }


def test_unions_of_simple_types_are_short() -> None:
    assert Schemas([]).of(str | None) == {"type": ["string", "null"]}
    assert Schemas([]).of(bool) == {"type": "boolean"}


def test_a_box_of_something_has_a_name_and_wire_names() -> None:
    schemas = Schemas([Box[Node], list[Box[int]]])
    assert set(schemas.components) == {"NodeBox", "Node", "intBox"}
    assert schemas.components["intBox"]["properties"] == {"theContent": {"type": "integer"}}


def test_two_types_of_one_name_are_told_apart() -> None:
    other = msgspec.defstruct("Node", [("x", int)], module="somewhere.lanes")
    schemas = Schemas([Node, other])
    assert schemas.of(other) == {"$ref": "#/components/schemas/LanesNode"}


def test_a_type_that_has_no_place_in_the_api_is_refused() -> None:
    with pytest.raises(TypeError):
        Schemas([memoryview])
