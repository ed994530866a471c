"""The members of an object that does not fit as a whole: which of them do, why others do not, which there could be."""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import msgspec.inspect

from towerlog.model.usage import MAX_NUMBER

T = TypeVar("T")
_ABSENT = msgspec.Raw(b"")
_NUMBER = re.compile(
    rb'"(?P<digits>[0-9]{1,19}(?:\.0{1,9})?)"|(?P<number>-?[0-9]{1,19}(?:\.[0-9]{1,19})?(?:[eE][+-]?[0-9]{1,3})?)'
)


def read_singly(
    decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, strict: frozenset[str]
) -> tuple[T, list[tuple[str, str]]]:
    """The object with the default of each member that does not fit; and those members' names and why.

    Raises msgspec.ValidationError, as the decoder does, for a member without a default, for one in `strict`, and for
    what is no object.
    """
    type_: Any = decoder.type
    texts_decoder, members = _members_of(type_)
    texts = texts_decoder.decode(data)
    values: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for name, path, is_strict, member in members:
        text = getattr(texts, name)
        if text is _ABSENT:
            continue
        try:
            values[name] = _value(member, text)
        except msgspec.ValidationError as error:
            if is_strict or name in strict:
                place = str(error).partition(" - at `$")
                raise msgspec.ValidationError(f"{place[0]} - at `$.{path}{place[2] or '`'}") from None
            wrong.append((path, str(error)))
    made: T = type_(**values)
    return made, wrong


@functools.lru_cache(maxsize=256)
def _members_of(type_: Any) -> tuple[msgspec.json.Decoder[Any], tuple[tuple[str, str, bool, Any], ...]]:
    """A decoder of the members' texts, and of each its name here and on the wire, whether required, its decoder.

    Only the members that are named are taken out: a dict of all could take many times the memory of their text.
    """
    infos = fields_of(type_)
    texts = msgspec.defstruct(
        f"{type_.__name__}Texts",
        [
            (info.name, msgspec.Raw, msgspec.field(name=info.encode_name))
            if info.required
            else (info.name, msgspec.Raw, msgspec.field(default=_ABSENT, name=info.encode_name))
            for info in infos
        ],
        kw_only=True,
        gc=False,
    )
    members = tuple((info.name, info.encode_name, info.required, msgspec.json.Decoder(info.type)) for info in infos)
    return msgspec.json.Decoder(texts), members


# To look at a type costs milliseconds, and every refusal of a body may ask: whoever has no key as well.


@functools.lru_cache(maxsize=256)
def fields_of(type_: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The members of a struct."""
    return msgspec.structs.fields(type_)


@functools.lru_cache(maxsize=256)
def _info_of(type_: Any) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(type_)


def names_at(type_: Any, path: str) -> tuple[str, ...]:
    """The members that an object may have at a place below a type (`budget`, `items.0`); empty where none is named."""
    found = [_info_of(type_)]
    for step in filter(None, path.split(".")):
        found = [inner for info in found for inner in _below(info, step)]
    return tuple(sorted({name for info in found for name in _names_of(info)}))


def _below(info: msgspec.inspect.Type, step: str) -> list[msgspec.inspect.Type]:
    match info:
        case msgspec.inspect.Metadata(type=inner):
            return _below(inner, step)
        case msgspec.inspect.UnionType(types=types):
            return [inner for one in types for inner in _below(one, step)]
        case msgspec.inspect.StructType(fields=fields):
            return [field.type for field in fields if field.encode_name == step]
        case msgspec.inspect.ListType(item_type=inner) | msgspec.inspect.DictType(value_type=inner):
            return [inner]
        case _:
            return []


def _names_of(info: msgspec.inspect.Type) -> list[str]:
    match info:
        case msgspec.inspect.Metadata(type=inner):
            return _names_of(inner)
        case msgspec.inspect.UnionType(types=types):
            return [name for one in types for name in _names_of(one)]
        case msgspec.inspect.StructType(fields=fields):
            return [field.encode_name for field in fields]
        case _:
            return []


def _value(member: msgspec.json.Decoder[Any], text: msgspec.Raw) -> Any:
    """A member's value. A whole number may be written as a float or as a string of digits."""
    try:
        return member.decode(text)
    except msgspec.ValidationError:
        whole = whole_number(bytes(text))
        if whole is None:
            raise
        try:
            return msgspec.convert(whole, member.type)
        except msgspec.ValidationError:
            pass
        raise


def make_whole(type_: Any, members: dict[str, msgspec.Raw]) -> bool:
    """Makes each whole number what its member takes; whether there was one."""
    changed = False
    for info in fields_of(type_):
        text = members.get(info.encode_name)
        number = None if text is None else whole_number(bytes(text))
        if number is not None and fits_only_as_number(info.type, text, number):
            members[info.encode_name] = msgspec.Raw(b"%d" % number)
            changed = True
    return changed


def fits_only_as_number(type_: Any, text: msgspec.Raw | None, number: int) -> bool:
    """Whether a member of this type takes the number, but not the text that stands for it."""
    try:
        msgspec.json.decode(text or b"null", type=type_)
    except msgspec.ValidationError:
        try:
            msgspec.convert(number, type_)
        except msgspec.ValidationError:
            return False
        return True
    return False


def whole_number(text: bytes) -> int | None:
    """The whole number that a JSON text stands for: `150.0`, `"150"`. None for any other."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    number = Decimal((found["digits"] or found["number"]).decode("ascii"))
    if abs(number) > MAX_NUMBER or number != number.to_integral_value():
        return None
    return int(number)


_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_TYPES, _QUOTED = re.compile(r"\b(?:str|int|float|bool)\b"), re.compile(r"^Expected `[^`]*`(?:, got `[^`]*`)?")


def in_json_words(message: str) -> str:
    """What the decoder says of types, which it calls by Python's names, in the words of JSON."""
    return _QUOTED.sub(lambda types: _TYPES.sub(lambda type_: _WORDS[type_[0]], types[0]), message)


def kind_of(text: bytes) -> str:
    """The kind of a JSON value, for an error message; judged by its first character."""
    first = text[:1]
    kinds = {b"{": "`object`", b"[": "`array`", b'"': "`string`", b"t": "`boolean`", b"f": "`boolean`", b"n": "`null`"}
    return kinds.get(first, "`number`" if first else "nothing")
