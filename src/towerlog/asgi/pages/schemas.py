"""JSON Schema of our types, by msgspec's own account of them.

(msgspec can write schemas itself, but not of a type with a raw default, and raw is how bodies pass through untouched.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/"

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


class Schemas:
    """Schemas of many types; structs become components, each written once."""

    def __init__(self, types: Iterable[Any]) -> None:
        """All types that will be asked for. Two structs of one name are told apart by their modules."""
        self.components: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}
        for type_ in types:
            self.of(type_)

    def of(self, type_: Any) -> Schema:
        """The schema of a type."""
        return self._schema(inspect.type_info(type_))

    def resolved(self, schema: Schema) -> Schema:
        """The component behind a reference, or the schema itself."""
        reference = schema.get("$ref")
        return schema if reference is None else self.components[reference.removeprefix(REFERENCE)]

    def _schema(self, info: inspect.Type) -> Schema:
        match info:
            case inspect.Metadata(type=inner, extra_json_schema=extra):
                return self._schema(inner) | (extra or {})
            case inspect.StructType():
                return {"$ref": REFERENCE + self._component(info)}
            case inspect.UnionType(types=types):
                return self._union([self._schema(one) for one in types])
            case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
                return {"type": "array", "items": self._schema(item), **_lengths(info, "Items")}
            case inspect.DictType(value_type=value):
                return {"type": "object", "additionalProperties": self._schema(value)}
            case inspect.LiteralType(values=values):
                return {"enum": list(values)}
            case inspect.EnumType(cls=cls):
                return {"enum": [member.value for member in cls]}
            case _:
                return _scalar(info)

    def _union(self, schemas: list[Schema]) -> Schema:
        simple = [schema["type"] for schema in schemas if set(schema) == {"type"}]
        if len(simple) == len(schemas):
            return {"type": simple}
        return {"anyOf": schemas}

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
        properties = {field.encode_name: self._field(field) for field in info.fields}
        required = [field.encode_name for field in info.fields if field.required]
        described = (info.cls.__doc__ or "").strip()
        schema: Schema = {"type": "object", "title": _name_of(info.cls), "description": described}
        return schema | {"properties": properties, "required": required}

    def _field(self, field: inspect.Field) -> Schema:
        schema = self._schema(field.type)
        default = field.default_factory() if field.default_factory in (list, dict) else field.default
        if default is msgspec.NODEFAULT or isinstance(default, msgspec.Raw | msgspec.UnsetType):
            return schema
        return schema | {"default": msgspec.to_builtins(default)}


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
