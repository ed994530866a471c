"""Schemas of answers: what fits, and the schemas that nobody may have the server try."""

from __future__ import annotations

import json
from typing import Any

import pytest

from towerlog.model.answer_schema import (
    MAX_ANSWER_STEPS,
    MAX_PATTERNS,
    MAX_SCHEMA_BYTES,
    MAX_SCHEMA_DEPTH,
    UnfitAnswer,
    fault_of,
    fitting,
)


def text(schema: Any) -> bytes:
    return json.dumps(schema).encode()


CHOICE = {"enum": ["send", "wait"]}
FORM = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"amount": {"type": "number", "maximum": 100}, "to": {"$ref": "#/$defs/Address"}},
    "required": ["amount"],
    "additionalProperties": False,
    "$defs": {"Address": {"type": "string", "pattern": "^[a-z]+@[a-z]+$", "format": "email"}},
}


@pytest.mark.parametrize(
    ("schema", "content", "given"),
    [
        (CHOICE, "send", '"send"'),
        (CHOICE, '"send"', '"send"'),
        (FORM, '{"amount": 3, "to": "ada@x"}', '{"amount":3,"to":"ada@x"}'),
        ({"type": "string"}, "42", '"42"'),
        ({"type": "integer"}, "42", "42"),
        ({"type": ["integer", "string"]}, "42", "42"),
        ({"type": "string"}, "{not json", '"{not json"'),
        ({"type": "boolean"}, "true", "true"),
        ({}, "anything", '"anything"'),
    ],
)
def test_an_answer_that_fits_is_given_as_json(schema: Any, content: str, given: str) -> None:
    assert fitting(text(schema), content) == given


@pytest.mark.parametrize(
    ("schema", "content", "said"),
    [
        (CHOICE, "drop", "send"),
        (FORM, '{"amount": 101}', "amount"),
        (FORM, '{"amount": 1, "more": 2}', "more"),
        (FORM, "three", "object"),
        ({"type": "array"}, "[" * 40 + "]" * 40, "nested"),
    ],
)
def test_one_that_does_not_is_refused_and_told_why(schema: Any, content: str, said: str) -> None:
    with pytest.raises(UnfitAnswer, match=said):
        fitting(text(schema), content)


def doubling(levels: int) -> Any:
    """Definitions that each name the next one twice."""
    names = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**names, f"d{levels}": {"type": "string"}}}


def nested(levels: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (doubling(10), "nodes"),
        (nested(MAX_SCHEMA_DEPTH + 1), "nested"),
        ({"$ref": "#"}, "back to itself"),
        (
            {"properties": {"a": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"items": {"$ref": "#/$defs/t"}}}},
            "back to itself",
        ),
        ({"$ref": "http://127.0.0.1:1/schema"}, "does not begin with"),
        ({"$ref": "file:///etc/passwd"}, "does not begin with"),
        ({"$ref": "#/$defs/none"}, "nowhere"),
        ({"$dynamicRef": "#a"}, "dynamicRef"),
        ({"properties": {"a": {"$id": "http://x/y", "$ref": "#/b"}}}, "id"),
        ({"$schema": "http://x/mine"}, "schema"),
        ({"type": "bogus"}, "not a JSON Schema"),
        ({"pattern": "("}, "not a JSON Schema"),
        ({"pattern": "((a{1,100}){1,100}){1,100}"}, "not a JSON Schema"),
        ({"pattern": "(?<=a)b"}, "not a JSON Schema"),
        ({"anyOf": [{"pattern": "a"}] * (MAX_PATTERNS + 1)}, "patterns"),
        ({"description": "x" * MAX_SCHEMA_BYTES}, "larger"),
        ([], "object"),
        ("text", "object"),
    ],
)
def test_a_schema_that_could_do_harm_is_not_used(schema: Any, why: str) -> None:
    assert why in (fault_of(text(schema)) or "it is used")


def test_a_pattern_takes_time_that_is_linear_in_the_text() -> None:
    with pytest.raises(UnfitAnswer):
        fitting(text({"pattern": "^(a+)+$"}), "a" * 30_000 + "b")


def test_a_long_answer_is_not_tried_on_a_large_schema() -> None:
    wide = {"items": {"anyOf": [{"const": number} for number in range(200)]}}
    many = json.dumps(list(range(MAX_ANSWER_STEPS // 200)))
    with pytest.raises(UnfitAnswer, match="too many"):
        fitting(text(wide), many)
