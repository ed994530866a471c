"""Events as lines of JSON, and values as short text. Nothing here raises.

An event is encoded at the moment of the call, on the caller's thread, because the caller may change its arguments right
after. Every part is capped: what must be whole is encoded by `histories`. What JSON cannot express becomes its members
where it tells them, as models and dataclasses do, else its `repr`; NaN and the infinities become null. The event's data
names what was converted so, under `CONVERTED`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from json import encoder
from pathlib import PurePath
from types import MemberDescriptorType
from typing import Any
from uuid import UUID

MAX_EVENT_BYTES = 4 * 1024 * 1024 - 4096
"""The largest event that is sent unchanged: with its envelope it must fit into one request of 4 MiB."""
MAX_REPR_CHARS = 1000
MAX_DEPTH = 64
MAX_ITEMS = 100_000
"""Members of a container that are kept when a value is converted by `plain`."""
MAX_NAME_CHARS = 200
NAMES_KEPT = 512
CUTS_CHARS = (65_536, 4_096, 256)
"""The lengths to which strings of too large an event are cut: the first with which it fits."""
MAX_INTEGER = 2**63 - 1
CONVERTED = "towerlog_converted"
"""Member of an event's data: path of a value that JSON cannot express → its type. There stand its members or a text."""
MAX_CONVERTED = 16
"""Paths that are named; more are converted without being named."""
MAX_OBJECTS = 10_000
"""Objects of an event that are told by their members; further ones become their `repr`."""


class Converted(dict[str, str]):
    """Path → type, of at most MAX_CONVERTED values; and what objects of one event have become."""

    def __init__(self) -> None:
        super().__init__()
        self.reprs: set[str] = set()
        """Types of which only a `repr` is told; at most MAX_CONVERTED."""
        self._left = MAX_OBJECTS
        self._inside: set[int] = set()
        """Ids of the objects whose members are being converted: one that holds itself would have no end."""

    def text_or_members(self, value: object, make: Callable[[object], Any], text: Callable[[object], str]) -> Any:
        """What `make` makes of an object's members; of one that does not tell them, its text."""
        if id(value) in self._inside:
            return f"<{type(value).__name__} inside itself>"
        members = members_of(value) if self._left > 0 else None
        if members is None:
            if len(self.reprs) < MAX_CONVERTED:
                self.reprs.add(type(value).__name__)
            return text(value)
        self._left -= 1
        self._inside.add(id(value))
        try:
            return make(members)
        finally:
            self._inside.discard(id(value))


DUMPS: tuple[dict[str, Any], ...] = ({"mode": "json", "warnings": False}, {"mode": "json"}, {})
"""How `model_dump` is called: other classes than pydantic's may not know the options, and some members have no JSON."""


def members_of(value: object) -> object | None:
    """What an object tells of itself: by `model_dump` as pydantic's models have it, the fields of a dataclass; or what
    stands for a value of the standard library in JSON.

    None if it tells nothing. Never raises. How long it takes is up to the object.
    """
    if isinstance(value, type):
        return None
    try:
        # The type's, as the encoder's own look-ups are: an object that invents attributes has none there.
        dump = getattr(type(value), "model_dump", None)
        if dump is not None:
            return _dumped(value, dump)
        if dataclasses.is_dataclass(value):
            return _fields_of(value)
        for kinds, tell in _TOLD:
            if isinstance(value, kinds):
                return tell(value)
    except Exception:
        # An object that cannot be dumped, a class with a `__getattribute__` of its own: there is still the `repr`.
        return None
    return None


_TOLD: tuple[tuple[tuple[type, ...], Callable[[Any], object]], ...] = (
    ((Enum,), lambda value: value.value),
    ((date, time), lambda value: value.isoformat()),  # a datetime is a date
    ((UUID, Decimal, PurePath), str),
    ((deque,), list),
)
"""Values of the standard library, and what stands for them in JSON."""


def _fields_of(value: Any) -> dict[str, object]:
    """The fields of a dataclass that are stored in it: to read another one may ask a database."""
    stored = getattr(value, "__dict__", {})
    found = {}
    for field in dataclasses.fields(value):
        if field.name in stored:
            found[field.name] = stored[field.name]
        elif isinstance(getattr(type(value), field.name, None), MemberDescriptorType):
            found[field.name] = getattr(value, field.name)
    return found


def _dumped(value: object, dump: Any) -> object | None:
    for options in DUMPS[:-1]:
        with contextlib.suppress(Exception):
            found: object | None = dump(value, **options)
            return found
    last: object | None = dump(value, **DUMPS[-1])
    return last


def encode_event(event: Mapping[str, Any]) -> bytes:
    """One line of JSON, at most `MAX_EVENT_BYTES` long. Never raises."""
    try:
        line = _json_of(event).encode()
    except Exception:
        # Not JSON somewhere inside: a value of another type, a key that is not text, NaN, a circle, a lone surrogate.
        line = _encode_plain(_marked_plain(event))
    return line if len(line) <= MAX_EVENT_BYTES else _shortened(event, len(line))


def plain(value: object, converted: Converted | None = None, path: str = "", depth: int = MAX_DEPTH) -> Any:
    """A copy of the value made of JSON types only, capped in depth and in members.

    `converted` gets what JSON cannot express, by its path below `path`.
    """
    converted = Converted() if converted is None else converted
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return fit_text(value)
    if isinstance(value, int) and -MAX_INTEGER <= value <= MAX_INTEGER:
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            name_converted(converted, path, value)
            return None
        return float(value)
    if depth > 0 and isinstance(value, Mapping):
        return _attempt(value, lambda: _plain_members(value, converted, path, depth - 1))
    if depth > 0 and isinstance(value, list | tuple | set | frozenset):
        return _attempt(value, lambda: _plain_items(value, converted, path, depth - 1))
    name_converted(converted, path, value)
    if depth <= 0:
        return _repr(value)
    return converted.text_or_members(value, lambda members: plain(members, converted, path, depth - 1), _repr)


def _plain_members(value: Mapping[Any, Any], converted: Converted | None, path: str, depth: int) -> dict[str, Any]:
    members = {}
    for name, member in islice(value.items(), MAX_ITEMS):
        key = key_text(name)
        where = below(path, _repr(name) if key is None else key)
        if key is None:
            name_converted(converted, where, name)
            key = _repr(name)
        members[key] = plain(member, converted, where, depth)
    return members


def _plain_items(value: Iterable[Any], converted: Converted | None, path: str, depth: int) -> list[Any]:
    return [plain(item, converted, below(path, index), depth) for index, item in enumerate(islice(value, MAX_ITEMS))]


def below(path: str, name: object) -> str:
    """The path of a member or an item."""
    return f"{path}.{name}" if path else str(name)


def name_converted(converted: Converted | None, path: str, value: object) -> None:
    """Notes that a value, or a key, could not be sent as it is."""
    if converted is not None and len(converted) < MAX_CONVERTED:
        converted[fit_text(path[:MAX_NAME_CHARS])] = type(value).__name__


def with_converted(data: Mapping[str, Any], converted: Mapping[str, str]) -> dict[str, Any]:
    """An event's data that names what was converted, beside what it names already."""
    before = data.get(CONVERTED)
    return {**data, CONVERTED: {**(before if isinstance(before, Mapping) else {}), **converted}}


def _marked_plain(event: Mapping[str, Any]) -> Any:
    """A plain copy of an event whose data names what was converted in it."""
    converted = Converted()
    whole = plain(event, converted)
    data = whole.get("data") if isinstance(whole, dict) else None
    inside = {path.removeprefix("data."): kind for path, kind in converted.items() if path.startswith("data.")}
    return {**whole, "data": with_converted(data, inside)} if inside and isinstance(data, dict) else whole


def str_of(value: object) -> str:
    """A value as people read it: JSON for what is or has members, else `str(value)`, or a line if that fails."""
    told = plain(value)
    if not isinstance(told, str):
        return _encode_plain(told).decode()
    try:
        return str(value)
    except Exception:
        return one_line(value)


def one_line(value: object, longest: int = 500) -> str:
    """A value on one line, for an error or a reason."""
    text = " ".join(fit_text(value).split()) if isinstance(value, str) else " ".join(_repr(value).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def describe(error: BaseException) -> str:
    """An exception on one line: its type and its message."""
    try:
        said = str(error)
    except Exception:
        said = "(its message cannot be read)"
    name = type(error).__name__
    return one_line(f"{name}: {said}" if said else name)


def name_text(value: object) -> str:
    """A name as the wire allows it: one line, not empty, at most 200 characters."""
    if type(value) is str and len(value) <= MAX_NAME_CHARS:
        return _known_name(value)
    return _name_text(value)


@lru_cache(maxsize=NAMES_KEPT)
def _known_name(value: str) -> str:
    """A program uses few names, and often."""
    return _name_text(value)


def _name_text(value: object) -> str:
    return one_line(value if isinstance(value, str) else _repr(value), MAX_NAME_CHARS) or "unnamed"


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""Made once: `json.dumps` with options would make one for each event. What it does not support is left to `plain`."""


def _made_once() -> Callable[[object], str]:
    """What `_ENCODER.encode` does, with the parts of it that it makes anew for each value: half of its time.

    A value that holds itself ends in a RecursionError here, which is as good as its ValueError.
    """
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        # Not CPython.
        return _ENCODER.encode
    pieces = make(None, _ENCODER.default, encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(pieces(value, 0))


_json_of = _made_once()


def _encode_plain(value: object) -> bytes:
    try:
        return _json_of(value).encode()
    except Exception as error:
        # A program that changes its values while they are encoded can still get here.
        return _json_of({"unencodable": describe(error)}).encode("utf-8", "replace")


def _attempt(value: object, make: Any) -> Any:
    """The result of `make`, or the value's `repr` if that raises."""
    try:
        return make()
    except Exception:
        return _repr(value)


def key_text(name: object) -> str | None:
    """A member's name as JSON has it, of whatever the standard encoder takes for one; None for anything else."""
    if isinstance(name, str):
        return fit_text(name)
    if name is None or isinstance(name, bool):
        return {None: "null", True: "true", False: "false"}[name]
    return repr(name) if isinstance(name, int | float) and math.isfinite(name) else None


def fit_text(value: str) -> str:
    """The text, with U+FFFD for each half of a character, which UTF-8 cannot encode; two halves that fit are one."""
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def whole_repr(value: object) -> str:
    """The `repr` of any value, however long."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__} without a repr>"
    return fit_text(text)


def _repr(value: object) -> str:
    text = whole_repr(value)
    return text if len(text) <= MAX_REPR_CHARS else f"{text[: MAX_REPR_CHARS - 1]}…"


def _shortened(event: Mapping[str, Any], full_bytes: int) -> bytes:
    """The event with long strings cut, or without everything large if that is not enough; marked in its data."""
    whole = _marked_plain(event)
    *longer, shortest = CUTS_CHARS
    # The shortest first: if the strings are not the reason, no time is spent on cutting them three times.
    least = _encode_plain(_marked(_cut(whole, shortest), full_bytes))
    if len(least) > MAX_EVENT_BYTES:
        return _encode_plain(_marked(_scalars(whole), full_bytes))
    lines = (_encode_plain(_marked(_cut(whole, chars), full_bytes)) for chars in longer)
    return next((line for line in lines if len(line) <= MAX_EVENT_BYTES), least)


def _cut(value: Any, chars: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= chars else f"{value[:chars]}… [cut: {len(value)} characters]"
    if isinstance(value, dict):
        return {name: _cut(member, chars) for name, member in value.items()}
    if isinstance(value, list):
        return [_cut(item, chars) for item in value]
    return value


def _scalars(event: Any) -> Any:
    """What the server requires of an event: its own members, and the small members of its data."""
    data = event.get("data") if isinstance(event, dict) else None
    members: Iterable[tuple[str, Any]] = islice(data.items(), 100) if isinstance(data, dict) else ()
    kept = {k[:200]: _cut(v, 256) for k, v in members if v is None or isinstance(v, str | int | float | bool)}
    head = {k: _cut(v, 256) for k, v in event.items() if k != "data" and not isinstance(v, dict | list)}
    return {**head, "data": kept}


def _marked(event: Any, full_bytes: int) -> Any:
    data = event.get("data")
    marker = {"towerlog_truncated": {"bytes": full_bytes}}
    return {**event, "data": {**data, **marker} if isinstance(data, dict) else marker}
