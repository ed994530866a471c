"""JSON Schemas of answers: which ones are used, and whether an answer fits one.

A schema comes from an agent and is tried on what a person wrote, in the process that serves everybody. So it has to be
short, may name its own definitions alone and none of them in a circle, and the work of trying it is bounded before it
is done. Patterns are tried by an engine whose time is linear in the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

MAX_SCHEMA_BYTES = 16 * 1024
MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_NODES = 2000
"""Objects and arrays of a schema, each definition counted as often as it is named."""
MAX_PATTERNS = 20
"""Patterns of a schema, counted the same way."""
MAX_PATTERN_BYTES = 32 * 1024
"""Of a pattern, compiled."""
MAX_ANSWER_STEPS = 500_000
"""Nodes of a schema times values of an answer."""
MAX_ANSWER_DEPTH = 32
MAX_FAULT_CHARS = 300

_DRAFTS: Mapping[str, Any] = {
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "http://json-schema.org/draft-07/schema": jsonschema_rs.Draft7Validator,
    "http://json-schema.org/draft-06/schema": jsonschema_rs.Draft6Validator,
}
_NEWEST = "https://json-schema.org/draft/2020-12/schema"
_OPTIONS = jsonschema_rs.RegexOptions(size_limit=MAX_PATTERN_BYTES, dfa_size_limit=4 * MAX_PATTERN_BYTES)
_ELSEWHERE = ("$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor")


class UnusableSchema(Exception):
    """A schema that answers are not checked against; the text says why."""


class UnfitAnswer(Exception):
    """An answer that its schema does not allow; the text says what would."""


def fault_of(text: bytes) -> str | None:
    """Why a schema cannot be used; None for one that can."""
    try:
        _compiled(text)
    except UnusableSchema as error:
        return str(error)
    return None


def fitting(text: bytes, content: str) -> str:
    """The answer as compact JSON. Raises UnfitAnswer, UnusableSchema.

    An answer is the JSON that it is; where it is none, or its JSON does not fit, it is a text.
    """
    validator, nodes = _compiled(text)
    value: Any = None
    try:
        value, is_json = msgspec.json.decode(content), True
    except (msgspec.MsgspecError, RecursionError):
        is_json = False
    if is_json and (values := _count(value)) * nodes > MAX_ANSWER_STEPS:
        raise UnfitAnswer(f"has {values} values, too many for its schema")
    if is_json and validator.is_valid(value):
        return msgspec.json.encode(value).decode()
    if validator.is_valid(content):
        return msgspec.json.encode(content).decode()
    raise UnfitAnswer(_why(validator, value if is_json else content))


def _why(validator: Any, value: Any) -> str:
    for fault in validator.iter_errors(value):
        where = ".".join(map(str, fault.instance_path))[:MAX_FAULT_CHARS]
        said = str(fault.message)
        said = said if len(said) <= MAX_FAULT_CHARS else said[:MAX_FAULT_CHARS] + "…"
        return f"does not fit the schema of the question: {said}" + (f" (at {where})" if where else "")
    return "does not fit the schema of the question"


def _compiled(text: bytes) -> tuple[Any, int]:
    """The validator, and how many nodes it goes through for one value at the most."""
    if len(text) > MAX_SCHEMA_BYTES:
        raise UnusableSchema(f"is larger than {MAX_SCHEMA_BYTES} bytes")
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableSchema(f"is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise UnusableSchema("must be an object")
    draft = schema.get("$schema", _NEWEST)
    made = _DRAFTS.get(draft.removesuffix("#")) if isinstance(draft, str) else None
    if made is None:
        raise UnusableSchema(f"has a $schema that is none of {', '.join(_DRAFTS)}")
    nodes = _Size(schema).of_all()
    try:
        return made(schema, pattern_options=_OPTIONS, validate_formats=False, retriever=_nothing), nodes
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        said = str(getattr(error, "message", error))
        raise UnusableSchema(f"is not a JSON Schema: {said[:MAX_FAULT_CHARS]}") from None


def _nothing(uri: str) -> Any:
    raise ValueError(f"{uri[:100]} is not part of the schema")


class _Size:
    """How large a schema is with each definition in each place where it is named."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._known: dict[str, tuple[int, int]] = {}
        """Of definitions: (nodes, patterns)."""
        self._open: set[str] = set()
        """Definitions that are being looked at: one that is named again names itself."""

    def of_all(self) -> int:
        """The nodes. Raises UnusableSchema."""
        nodes, patterns = self._of(self._schema, 0)
        if patterns > MAX_PATTERNS:
            raise UnusableSchema(f"has more than {MAX_PATTERNS} patterns")
        return nodes

    def _of(self, node: Any, depth: int) -> tuple[int, int]:
        if depth > MAX_SCHEMA_DEPTH:
            raise UnusableSchema(f"is nested more than {MAX_SCHEMA_DEPTH} levels deep")
        nodes, patterns = 1, 0
        if isinstance(node, dict):
            patterns += isinstance(node.get("pattern"), str)
            found = node.get("patternProperties")
            patterns += len(found) if isinstance(found, dict) else 0
            _check_names(node, depth)
            if isinstance(ref := node.get("$ref"), str):
                more = self._of_definition(ref, depth)
                nodes, patterns = nodes + more[0], patterns + more[1]
            inside: list[Any] = list(node.values())
        else:
            inside = node if isinstance(node, list) else []
        for one in inside:
            if isinstance(one, dict | list):
                more = self._of(one, depth + 1)
                nodes, patterns = nodes + more[0], patterns + more[1]
        if nodes > MAX_SCHEMA_NODES:
            raise UnusableSchema(f"has more than {MAX_SCHEMA_NODES} nodes")
        return nodes, patterns

    def _of_definition(self, ref: str, depth: int) -> tuple[int, int]:
        if ref in self._open or ref == "#":
            raise UnusableSchema(f"has a $ref that leads back to itself: {ref[:100]}")
        if ref not in self._known:
            self._open.add(ref)
            self._known[ref] = self._of(self._target(ref), depth + 1)
            self._open.discard(ref)
        return self._known[ref]

    def _target(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            raise UnusableSchema(f"has a $ref that does not begin with #/: {ref[:100]}")
        found: Any = self._schema
        for part in ref[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, dict | bool):
            raise UnusableSchema(f"has a $ref that leads nowhere: {ref[:100]}")
        return found


def _check_names(node: dict[str, Any], depth: int) -> None:
    """What would have a `$ref` mean another place than the one that was looked at."""
    for name in _ELSEWHERE:
        if isinstance(node.get(name), str):
            raise UnusableSchema(f"has {name}, which is not used here")
    if depth and isinstance(node.get("$id"), str):
        raise UnusableSchema("has an $id inside")


def _count(value: Any) -> int:
    """How many values an answer has. Raises UnfitAnswer for one that is too deep."""
    count, level = 0, [value]
    for _ in range(MAX_ANSWER_DEPTH + 1):
        count += len(level)
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return count
    raise UnfitAnswer(f"is nested more than {MAX_ANSWER_DEPTH} levels deep")
