"""Details of events: read where they can be used, else kept as they were sent and named in a warning.

What identifies and places an event is checked strictly (`fields.py`). What only describes it never costs the event: a
figure of the wrong type, a time that no calendar has, a text that is too long stays in the payload, and the reply names
it. A good event is decoded once (`fields.read`); only where something does not fit, each member is read on its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import msgspec

from towerlog.dialects import fields
from towerlog.dialects.fields import Warnings
from towerlog.dialects.members import kind_of
from towerlog.errors import Invalid, TooLarge, TowerlogError
from towerlog.model.event import FieldWarning, Item, Refusal
from towerlog.model.run import MAX_METADATA_BYTES
from towerlog.model.times import parse_ms
from towerlog.model.usage import MAX_EVENT_DOLLARS

E = TypeVar("E")
S = TypeVar("S", bound=msgspec.Struct)
Label = Annotated[str, msgspec.Meta(max_length=200)]
"""A name of something: a tool, a model."""
Phase = Annotated[str, msgspec.Meta(max_length=200)]
"""What a worker is doing, in its own words."""
LogLine = Annotated[str, msgspec.Meta(max_length=2000)]
"""The newest line of a worker's log."""
ForeignId = Annotated[str, msgspec.Meta(max_length=8192)]
"""An id that a third party made, such as a model provider's for a tool call: any text."""
Time = Annotated[Any, msgspec.Meta(extra_json_schema={"type": ["string", "null"], "format": "date-time"})]
"""A sender's time as it may come: a text, or anything else; `timed` reads it."""
INVALID = "towerlog_invalid"
"""Member of an event's data with what could not be used and has no place of its own there, as it was sent."""
MAX_KEPT_BYTES = 8192
"""Longest text that `INVALID` keeps."""

_ABSENT = msgspec.Raw(b"")
_LEAP_SECOND = re.compile(r"(?P<minute>[Tt ]\d\d:?\d\d:?)60(?=\D|$)", re.ASCII)


def cost_nanos(raw: msgspec.Raw, field: str, warnings: Warnings) -> int | None:
    """Nano-dollars of a JSON number, or of a string that holds one; None for null and for what is no sum of money."""
    if raw is fields.NULL:
        return None
    text = bytes(raw)
    try:
        return fields.cost_nanos_of(raw if text[:1] != b'"' else msgspec.Raw(text[1:-1]), field, MAX_EVENT_DOLLARS)
    except Invalid as error:
        fields.unused(warnings, field, error.details[field])
        return None


def decode_event(
    decoder: msgspec.json.Decoder[S], text: bytes | msgspec.Raw, where: str, lenient: tuple[str, ...]
) -> S:
    """An event by itself; see `decode_odd`. Raises like `fields.decode`."""
    try:
        return fields.decode(decoder, text, where)
    except Invalid as error:
        return decode_odd(decoder, text, where, lenient, error)


def decode_odd(
    decoder: msgspec.json.Decoder[S], text: bytes | msgspec.Raw, where: str, lenient: tuple[str, ...], error: Invalid
) -> S:
    """An event that did not fit. A member of `lenient`, which may be anything, stays text where it is a number that no
    decoder takes. Raises `error` where that is not what was wrong, and like `fields.decode`."""
    if isinstance(error, fields.TooDeep) or bytes(text)[:1] != b"{":
        raise error
    members = fields.members_of(text, where)
    odd = {name: members.pop(name) for name in lenient if not _is_readable(members.get(name, fields.NULL))}
    if not odd:
        raise error
    return msgspec.structs.replace(fields.decode(decoder, msgspec.json.encode(members), where), **odd)


def _is_readable(text: msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def timed(value: Any, name: str, data: bytes, warnings: Warnings) -> tuple[int | None, bytes]:
    """Milliseconds of the time in a member of the envelope, and the data, which keeps one that cannot be used."""
    if value is None or value == "":
        return None, data
    why = "must be a text such as 2026-04-02T10:00:00Z"
    if isinstance(value, str):
        try:
            return parse_ms(value), data
        except ValueError as error:
            why = f"is {error}" if str(error).startswith("not") else str(error)
        found = _of_leap_second(value)
        if found is not None:
            warnings.append(FieldWarning(field=name, message=f"{name}: a leap second counts as the second after it"))
            return found, data
    fields.unused(warnings, name, why)
    return None, kept(data, name, value, warnings)


def _of_leap_second(value: str) -> int | None:
    """Milliseconds of a time in a leap second: RFC 3339 has them, a count of seconds since 1970 does not."""
    in_minute = _LEAP_SECOND.sub(r"\g<minute>59", value, count=1)
    try:
        return parse_ms(in_minute) + 1000 if in_minute != value else None
    except ValueError:
        return None


def metadata(raw: msgspec.Raw, field: str, warnings: Warnings) -> msgspec.Raw | msgspec.UnsetType:
    """What a run's row takes of an object of metadata; unset, with a warning, for one that is too large for it."""
    if len(bytes(raw)) <= MAX_METADATA_BYTES:
        return raw
    fields.unused(warnings, field, f"is larger than {MAX_METADATA_BYTES} bytes")
    return msgspec.UNSET


def optional_id(value: str | None, field: str, warnings: Warnings) -> str | None:
    """An id of ours that a payload may name; None for one that cannot be used."""
    if not value:
        return None
    try:
        return fields.optional_id(value, field)
    except Invalid as error:
        fields.unused(warnings, field, error.details[field])
        return None


def as_object(text: bytes, field: str, largest: int, warnings: Warnings) -> bytes:
    """An event's data from its text, which is null or absent for none; any other value is kept, under `INVALID`."""
    if text[:1] == b"{":
        return text
    if text == b"null":
        return fields.EMPTY_OBJECT
    if len(text) > largest:
        raise TooLarge(f"{field}: is larger than {largest} bytes", field=field)
    fields.unused(warnings, field, f"must be an object, not {kind_of(text)}")
    return b'{"%s":{"%s":%s}}' % (INVALID.encode(), field.encode(), text)


def missing(warnings: Warnings, field: str) -> None:
    """Notes a field without which an event of its type says little, unless it is there and could not be used."""
    if all(warning.field != field for warning in warnings):
        warnings.append(FieldWarning(field=field, message=f"{field}: is missing"))


def kept(data: bytes, name: str, value: Any, warnings: Warnings) -> bytes:
    """An event's data, one line, with a member of its envelope that could not be used, under `INVALID`."""
    text = msgspec.json.encode(value)
    try:
        members = fields.members_of(data) if len(text) <= MAX_KEPT_BYTES else {}
    except Invalid as error:
        warnings.append(FieldWarning(field=name, message=f"{name}: is not kept, since the event {error.message}"))
        return data
    if len(text) > MAX_KEPT_BYTES:
        why = f"is longer than {MAX_KEPT_BYTES} bytes; that is too long to be kept"
        warnings.append(FieldWarning(field=name, message=f"{name}: {why}"))
        return data
    before = bytes(members.pop(INVALID, _ABSENT))
    others = fields.members_of(before) if before[:1] == b"{" else {}
    return fields.flat(msgspec.json.encode({INVALID: {**others, name: msgspec.Raw(text)}, **members}))


def items_of(
    events: Iterable[E | Refusal], draft_of: Callable[[E, int, Warnings], Item], warnings: Warnings
) -> list[Item]:
    """The items of a batch: what `draft_of` (event, index, warnings) makes of each event, or why it is refused.

    `warnings` get those of the items that are not refused, with their index.
    """
    items: list[Item] = []
    found: Warnings = []
    for index, event in enumerate(events):
        if isinstance(event, Refusal):
            items.append(event)
            continue
        try:
            items.append(draft_of(event, index, found))
        except TowerlogError as error:
            items.append(fields.refusal(error))
            found.clear()
        if found:
            warnings += [msgspec.structs.replace(warning, index=index) for warning in found]
            found.clear()
    return items
