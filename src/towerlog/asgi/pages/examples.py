"""Examples for the OpenAPI document: of every field from its type, of every body from its fields and a conversation.

A golden conversation of the project's tests gives what is sent and what comes back; what it leaves open (ids, times)
comes from the fields. So an example is whole, and says nothing that a field does not say.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec

from towerlog.asgi.pages.schemas import REFERENCE, Schema, Schemas

CONVERSATIONS = "examples.json"
"""Endpoint → `{"request", "reply"}` of a golden conversation, without what differs each time; `make docs` writes it."""


def conversations() -> dict[str, dict[str, Any]]:
    """What the golden conversations say, by the name of the endpoint."""
    text = files("towerlog.asgi.pages").joinpath("assets", CONVERSATIONS).read_bytes()
    found: dict[str, dict[str, Any]] = msgspec.json.decode(text)
    return found


class Examples:
    """Makes examples of schemas."""

    def __init__(self, schemas: Schemas) -> None:
        """`schemas` knows the components."""
        self._schemas = schemas

    def of(self, schema: Schema) -> Any:
        """An example of a schema; None where its fields say too little for one, and where null is all there is."""
        return self._of(schema, ())

    def completed(self, schema: Schema, said: Any) -> Any:
        """What a conversation says, with what it leaves open."""
        if isinstance(said, list):
            items = self._inside(schema).get("items", {})
            return [self.completed(items, one) for one in said]
        inside = self._inside(schema)
        # An example that a type names itself is whole; more members might contradict it.
        if not isinstance(said, dict) or "properties" not in inside or "examples" in inside:
            return said
        whole = self.of(schema)
        known = inside["properties"]
        return {**whole, **{name: self.completed(known.get(name, {}), value) for name, value in said.items()}}

    def _inside(self, schema: Schema) -> Schema:
        """The object or array that a schema means, if it is one or null."""
        for option in schema.get("anyOf", ()):
            if option != {"type": "null"}:
                return self._inside(option)
        return self._schemas.resolved(schema)

    def _of(self, schema: Schema, within: tuple[str, ...]) -> Any:
        if schema.get("examples"):
            return schema["examples"][0]
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(REFERENCE)
            return None if name in within else self._of(self._schemas.resolved(schema), (*within, name))
        if schema.get("enum"):
            return schema["enum"][0]
        if "anyOf" in schema:
            return next((found for one in schema["anyOf"] if (found := self._of(one, within)) is not None), None)
        if "properties" in schema:
            return {name: self._of(field, within) for name, field in schema["properties"].items()}
        if "items" in schema:
            one = self._of(schema["items"], within)
            return [] if one is None else [one]
        return None
