"""JSON Schema of our types, by msgspec's own account of them. A struct may name an `example` of the whole.

(msgspec can write schemas itself, but not of a type with a raw default, and raw is how bodies pass through untouched.)
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

from towerlog.asgi.pages.field_docs import field_docs

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/"

_SAID = ("description", "examples")
"""What a type may say of itself in `Meta`, beside what a value of it must be."""
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


class Schemas:
    """Schemas of many types; structs become components, each written once."""

    def __init__(self, types: Iterable[Any]) -> None:
        """All types that will be asked for. Two structs of one name are told apart by their modules."""
        self.components: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}
        asked = list(dict.fromkeys(types))
        # All at once: what several types share is looked at only once.
        infos = inspect.multi_type_info(asked)
        self._known: dict[Any, Schema] = {type_: self._schema(info) for type_, info in zip(asked, infos, strict=True)}

    def of(self, type_: Any) -> Schema:
        """The schema of a type."""
        if type_ not in self._known:
            self._known[type_] = self._schema(inspect.type_info(type_))
        return dict(self._known[type_])

    def resolved(self, schema: Schema) -> Schema:
        """The component behind a reference, or the schema itself."""
        reference = schema.get("$ref")
        return schema if reference is None else self.components[reference.removeprefix(REFERENCE)]

    def _schema(self, info: inspect.Type) -> Schema:
        match info:
            case inspect.Metadata(type=inner, extra_json_schema=extra):
                return _open(self._schema(inner) | (extra or {}))
            case inspect.StructType():
                return {"$ref": REFERENCE + self._component(info)}
            case inspect.UnionType(types=types):
                return self._union([self._schema(one) for one in types])
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                return {"type": "array", "items": self._schema(item), **_lengths(info, "Items")}
            case inspect.DictType(value_type=value):
                return {"type": "object", "additionalProperties": self._schema(value) or True}
            case inspect.LiteralType(values=values):
                return {"type": "string", "enum": list(values)}
            case inspect.EnumType(cls=cls):
                return {"type": "string", "enum": [member.value for member in cls]}
            case _:
                return _scalar(info)

    def _union(self, schemas: list[Schema]) -> Schema:
        """One of several; of a type or null as briefly as it can be said. What is said of one is said of the whole."""
        said: Schema = {}
        for schema in schemas:
            said |= {word: schema.pop(word) for word in _SAID if word in schema}
        if {} in schemas:
            return said
        types = [schema.get("type") for schema in schemas]
        with_more = [schema for schema in schemas if set(schema) != {"type"}]
        # Several types of one schema must share what else it says: an enum would have to list null as well.
        if all(isinstance(type_, str) for type_ in types) and len(with_more) <= 1 and "enum" not in str(with_more):
            return {"type": types} | {**(with_more[0] if with_more else {}), "type": types} | said
        return {"anyOf": schemas} | said

    def _component(self, info: inspect.StructType) -> str:
        known = self._names.get(info.cls)
        if known is not None:
            return known
        name = _name_of(info.cls)
        if name in self.components:
            module = (get_origin(info.cls) or info.cls).__module__.rpartition(".")[2]
            name = f"{module.title().replace('_', '')}{name}"
        assert name not in self.components, f"two types are called {name}"
        self._names[info.cls] = name
        # Entered before its fields, so that a type may hold itself.
        self.components[name] = {}
        self.components[name] = self._object(info)
        return name

    def _object(self, info: inspect.StructType) -> Schema:
        docs = field_docs(info.cls)
        properties = {field.encode_name: self._field(field, docs.get(field.name)) for field in info.fields}
        required = [field.encode_name for field in info.fields if field.required]
        described = text_of(info.cls)
        schema: Schema = {"type": "object", "title": _name_of(info.cls), "description": described}
        example = vars(get_origin(info.cls) or info.cls).get("example")
        schema |= {} if example is None else {"examples": [example]}
        schema |= {"properties": properties, "required": required}
        return schema | ({"additionalProperties": False} if info.forbid_unknown_fields else {})

    def _field(self, field: inspect.Field, described: str | None) -> Schema:
        """A field's schema: described by the text below it, else by its type."""
        schema = dict(self._schema(field.type))
        if described:
            schema["description"] = described
        # In words: of a field with a `default` generators make one that must be there. Null, empty and false are what a
        # field is without its value.
        if isinstance(field.default, str | int | float) and field.default:
            default = msgspec.json.encode(field.default).decode()
            schema["description"] = f"{schema.get('description', '')} Default: {default}.".lstrip()
        return schema


def _open(schema: Schema) -> Schema:
    """Says of an object of which nothing is known that it may have any member: generators take it for an empty one."""
    if "object" in schema.get("type", ()) and "properties" not in schema:
        schema = {"additionalProperties": True} | schema
    inner = {name: _open(one) for name, one in schema.get("properties", {}).items()}
    schema = schema | ({"properties": inner} if inner else {})
    return schema | ({"items": _open(schema["items"])} if "items" in schema else {})


def text_of(cls: Any) -> str:
    """A class's docstring."""
    return cleandoc((get_origin(cls) or cls).__doc__ or "")


def _scalar(info: inspect.Type) -> Schema:
    match info:
        case inspect.NoneType():
            return {"type": "null"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", **_bounds(info)}
        case inspect.FloatType():
            return {"type": "number", **_bounds(info)}
        case inspect.StrType(pattern=pattern):
            return {"type": "string", **_lengths(info, "Length"), **({"pattern": pattern} if pattern else {})}
        case inspect.AnyType() | inspect.RawType():
            return {}
        case _:
            raise TypeError(f"{type(info).__name__} has no place in the API")


def _bounds(info: inspect.IntType | inspect.FloatType) -> Schema:
    found = {word: getattr(info, name) for name, word in _BOUNDS.items()}
    return {word: bound for word, bound in found.items() if bound is not None}


def _lengths(info: inspect.StrType | inspect.ListType | inspect.VarTupleType, what: str) -> Schema:
    found = {f"min{what}": info.min_length, f"max{what}": info.max_length}
    return {word: bound for word, bound in found.items() if bound is not None}


def _name_of(cls: Any) -> str:
    """`Listing[Agent]` is called `AgentListing`; a type whose name in the API is not its own says so."""
    arguments = "".join(_name_of(argument) for argument in get_args(cls))
    plain = get_origin(cls) or cls
    name: str = vars(plain).get("schema_name", plain.__name__)
    return f"{arguments}{name}"
