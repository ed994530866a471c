"""How a question with a JSON Schema is asked on the page of an answer link: choices, fields, or a box for JSON.

The dashboard does the same in `ui/src/model/answers.ts`. What fits, the engine says: nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

MAX_CHOICES = 50
MAX_MEMBERS = 20
FIELD = "field."
"""Begins the names of an object's fields in the form; the place of the member among the schema's follows."""
_BEYOND = frozenset({"$ref", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "dependentSchemas"})
"""Words that make a schema more than its type says."""
_LONG_CHARS = 200
_DEEPEST = 4
_LIMITS = (
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("format", "{}"),
    ("pattern", "of the form {}"),
)


class Choice(msgspec.Struct, frozen=True):
    """A choice: its words for people, and the JSON that it answers with."""

    words: str
    value: str


class Field(msgspec.Struct, frozen=True):
    """A field: `text`, `long`, `number`, `json`, or `choice` with its `choices`. `name` is its name in the form."""

    name: str
    kind: str
    words: str = ""
    hint: str = ""
    is_required: bool = True
    choices: tuple[Choice, ...] = ()
    member: str = ""
    """The member of the object that it is."""


def fields_of(raw: bytes) -> tuple[Field, ...]:
    """What is asked for a schema: one field named `content`, or one for each member of a flat object."""
    schema = _object(msgspec.json.decode(raw))
    members = _members(schema)
    return members or (_field("content", schema, "Your answer"),)


def content_of(fields: tuple[Field, ...], form: Mapping[str, str]) -> str | None:
    """What was typed into fields of an object, as JSON; None where the form has none of them."""
    if not fields or not fields[0].member or not any(name.startswith(FIELD) for name in form):
        return None
    told = {field.member: _value(field, form.get(field.name, "")) for field in fields}
    return msgspec.json.encode({name: value for name, value in told.items() if value is not None}).decode()


def example_of(raw: bytes) -> str:
    """JSON that shows the form of an answer."""
    return msgspec.json.encode(_example(msgspec.json.decode(raw), 0)).decode()


def _members(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    if schema.get("type") != "object" or _BEYOND & schema.keys():
        return ()
    properties, required = _object(schema.get("properties")), schema.get("required")
    needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    if not 0 < len(properties) <= MAX_MEMBERS or not all(name in properties for name in needed):
        return ()
    return tuple(
        msgspec.structs.replace(_field(f"{FIELD}{at}", _object(inner), name), member=name, is_required=name in needed)
        for at, (name, inner) in enumerate(properties.items())
    )


def _field(name: str, schema: Mapping[str, Any], words: str) -> Field:
    title = schema.get("title")
    words = title if isinstance(title, str) and title else words
    choices = _choices(schema)
    if choices:
        return Field(name, "choice" if len(choices) <= MAX_CHOICES else "json", words, _hint(schema), choices=choices)
    return Field(name, _kind(schema), words, _hint(schema))


def _kind(schema: Mapping[str, Any]) -> str:
    kind, longest = schema.get("type"), schema.get("maxLength")
    if _BEYOND & schema.keys():
        return "json"
    if kind == "string":
        return "long" if isinstance(longest, int | float) and longest > _LONG_CHARS else "text"
    return "number" if kind in ("number", "integer") else "json"


def _choices(schema: Mapping[str, Any]) -> tuple[Choice, ...]:
    listed = schema.get("enum")
    if isinstance(listed, list) and listed:
        return tuple(Choice(_words(value), _json(value)) for value in listed)
    named = schema.get("oneOf", schema.get("anyOf"))
    if isinstance(named, list) and named and all("const" in _object(one) for one in named):
        return tuple(
            Choice(one["title"] if isinstance(one.get("title"), str) else _words(one["const"]), _json(one["const"]))
            for one in named
        )
    if schema.get("type") == "boolean" and not _BEYOND & schema.keys():
        return (Choice("Yes", "true"), Choice("No", "false"))
    return ()


def _hint(schema: Mapping[str, Any]) -> str:
    said = [schema["description"]] if isinstance(schema.get("description"), str) else []
    kind = {"integer": "a whole number", "number": "a number"}.get(str(schema.get("type")))
    limits = [words.format(schema[name]) for name, words in _LIMITS if name in schema]
    return ", ".join([*said, *([kind] if kind else []), *limits])


def _value(field: Field, text: str) -> Any:
    """JSON of what was typed; None for nothing. What is no JSON goes on as a text, and is refused by the schema."""
    if field.kind in ("text", "long"):
        return text if text or field.is_required else None
    if not text.strip():
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return text if field.kind == "number" and not is_number else value


def _example(given: Any, depth: int) -> Any:
    schema = _object(given)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum", "oneOf", "anyOf"):
        listed = schema.get(name)
        if isinstance(listed, list) and listed:
            return listed[0] if name in ("examples", "enum") else _example(listed[0], depth)
    kind = schema.get("type")
    if kind == "array":
        return [] if depth >= _DEEPEST else [_example(schema.get("items"), depth + 1)]
    if kind == "object" or "properties" in schema:
        inner = _object(schema.get("properties")) if depth < _DEEPEST else {}
        return {name: _example(one, depth + 1) for name, one in list(inner.items())[:MAX_MEMBERS]}
    return {"integer": 1, "number": 1.5, "boolean": True, "null": None}.get(str(kind), "…")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
