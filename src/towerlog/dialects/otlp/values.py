"""Values of OTLP: attributes, ids, times, as Python values that are JSON."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any

import msgspec

from towerlog.dialects import vocabulary as v
from towerlog.dialects.fields import invalid_field
from towerlog.dialects.structure import is_deeper

MAX_VALUE_DEPTH = 64
"""Levels of an attribute's value; protobuf's own limit is near."""
NANOS_PER_MS = 1_000_000
MAX_NANOS = 2**63 - 1
_HEX = re.compile(r"[0-9a-fA-F]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+=*")


class AnyValue(msgspec.Struct, frozen=True, gc=False):
    """A value of an attribute or the body of a log record: exactly one of these."""

    string_value: Annotated[str | None, v.said("A text.", "chat")] = msgspec.field(default=None, name="stringValue")
    bool_value: Annotated[bool | None, v.said("A truth.", True)] = msgspec.field(default=None, name="boolValue")
    int_value: Annotated[int | str | None, v.said("A 64-bit integer, as a text or a number.", "1200")] = msgspec.field(
        default=None, name="intValue"
    )
    double_value: Annotated[float | str | None, v.said("A number with a fraction.", 0.00265)] = msgspec.field(
        default=None, name="doubleValue"
    )
    array_value: Annotated[ArrayValue | None, v.said("Several values.", {"values": [{"stringValue": "stop"}]})] = (
        msgspec.field(default=None, name="arrayValue")
    )
    kvlist_value: Annotated[
        KeyValueList | None, v.said("An object.", {"values": [{"key": "city", "value": {"stringValue": "Oslo"}}]})
    ] = msgspec.field(default=None, name="kvlistValue")
    bytes_value: Annotated[str | None, v.said("Bytes, in base64.", "AAECAw==")] = msgspec.field(
        default=None, name="bytesValue"
    )


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """An attribute."""

    key: Annotated[str, v.said("Its name.", "gen_ai.operation.name")] = ""
    value: Annotated[AnyValue | None, v.said("Its value.", {"stringValue": "chat"})] = None


class ArrayValue(msgspec.Struct, frozen=True, gc=False):
    """A list of values."""

    values: Annotated[list[AnyValue], v.said("The values.", [{"stringValue": "stop"}])] = []


class KeyValueList(msgspec.Struct, frozen=True, gc=False):
    """An object."""

    values: Annotated[list[KeyValue], v.said("Its members.", [{"key": "city", "value": {"stringValue": "Oslo"}}])] = []


def attributes_of(found: list[KeyValue] | None) -> dict[str, Any]:
    """Attributes as an object; of a name that comes twice the last."""
    if not found:
        return {}
    told: dict[str, Any] = {}
    for one in found:
        value = one.value
        if value is None:
            told[one.key] = None
        else:
            text = value.string_value
            told[one.key] = plain(value) if text is None else text
    return told


def plain(value: AnyValue | None, depth: int = 0) -> Any:
    """The value as JSON has it; a number that does not read as one stays text. Raises Invalid past MAX_VALUE_DEPTH."""
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return whole(value.int_value)
    if value.bool_value is not None:
        return value.bool_value
    if value.double_value is not None:
        return _double(value.double_value)
    if depth >= MAX_VALUE_DEPTH:
        raise invalid_field("attributes", f"have a value that is nested deeper than {MAX_VALUE_DEPTH} levels")
    if value.array_value is not None:
        return [plain(one, depth + 1) for one in value.array_value.values]
    if value.kvlist_value is not None:
        return {one.key: plain(one.value, depth + 1) for one in value.kvlist_value.values}
    return value.bytes_value


def whole(value: int | str) -> int | str:
    """A 64-bit integer, which JSON writes as a text."""
    if type(value) is int:
        return value
    text = str(value)
    digits = text.removeprefix("-")
    return int(text) if len(digits) <= 20 and digits.isascii() and digits.isdigit() else text


def _double(value: float | str) -> float | str | None:
    if isinstance(value, str):
        return None if value in ("NaN", "Infinity", "-Infinity") else value
    return value


def nanos(value: float | str | None) -> int | None:
    """A time in nanoseconds since 1970, 0 where there is none; None for what cannot be one.

    Some writers of JSON make a floating-point number of it.
    """
    if type(value) is str and len(value) == 19 and value.isascii() and value.isdigit():
        return int(value)  # as nearly all are
    if isinstance(value, float):
        value = int(value) if value.is_integer() else str(value)
    found = 0 if value is None or value == "" else whole(value)
    return found if isinstance(found, int) and 0 <= found <= 2 * MAX_NANOS else None


def hex_id(value: str | None, size: int, field: str) -> str:
    """An id of so many bytes in small hex digits, empty where there is none. Raises Invalid.

    Some exporters write base64, as JSON of protobuf usually does: its length tells.
    """
    if not value:
        return ""
    try:
        read = bytes.fromhex(value)
        if len(read) == size and read.hex() == value and any(read):
            return value  # as nearly all are
    except ValueError:
        pass
    if len(value) == 2 * size and _HEX.fullmatch(value):
        found = value.lower()
    elif _BASE64.fullmatch(value) and len(value.rstrip("=")) == -(-size * 8 // 6):
        found = base64.b64decode(value.rstrip("=") + "==").hex()
    else:
        raise invalid_field(field, f"must be {2 * size} hex digits")
    return found if found.strip("0") else ""


MAX_OPENED_CHARS = 512 * 1024
"""Of a text that is JSON: a longer one is left as it is, since it is decoded in one call."""
_BEGINS = ("{", "[", '"')


def opened(value: Any, deepest: int = MAX_VALUE_DEPTH) -> Any:
    """What stands in a text that is JSON; any other value as it is."""
    if not isinstance(value, str) or not value.startswith(_BEGINS) or len(value) > MAX_OPENED_CHARS:
        return value
    try:
        text = value.encode()
        if text.count(b"{") + text.count(b"[") > deepest and is_deeper(text, deepest):
            return value
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return value
