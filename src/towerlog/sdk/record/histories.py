"""State that must be whole: JSON text of which nothing is cut, and histories that are sent by what is new in them.

Each beginning of a history has a name: a hash over the name of the beginning before it and of its last message. A
client that knows which beginning is stored sends the name of that and what follows. The names are made here as the
server makes them (`engine/ingest/content.py`). A beginning that the server does not know, be it that the names ever
differ or that it has stored another one of a long history, is answered by an older one or the whole.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.record.values.encoding import (
    Converted,
    below,
    describe,
    fit_text,
    key_text,
    name_converted,
    whole_repr,
)

MAX_WHOLE_DEPTH = 128
"""Levels of a state; the server refuses deeper ones."""
NAME_BYTES = 16


class NotWhole(Exception):
    """A value that JSON cannot express without leaving something out."""


def whole_text(value: object, converted: Converted | None = None, path: str = "") -> bytes:
    """JSON of a value, with nothing cut. What JSON cannot express becomes its members or its whole `repr`. Raises
    NotWhole.

    `converted` gets what became so, by its path below `path`.
    """
    try:
        return _ENCODER.encode(value).encode()
    except Exception:
        # A value of another type, a key that is not text, NaN, a lone surrogate; or a circle, which has no end.
        return _plain_text(value, converted, path)


def _plain_text(value: object, converted: Converted | None, path: str) -> bytes:
    try:
        noted = Converted() if converted is None else converted
        return _ENCODER.encode(_whole(value, noted, path, MAX_WHOLE_DEPTH)).encode()
    except Exception as error:
        raise NotWhole(describe(error)) from None


def _whole(value: object, converted: Converted, path: str, depth: int) -> Any:
    """A copy of the value made of JSON types only."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return fit_text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            name_converted(converted, path, value)
            return None
        return float(value)
    if depth <= 0:
        raise NotWhole(f"nested deeper than {MAX_WHOLE_DEPTH} levels")
    if isinstance(value, Mapping):
        members = {}
        for name, member in value.items():
            key = _key(name, converted, path)
            members[key] = _whole(member, converted, below(path, key), depth - 1)
        return members
    if isinstance(value, list | tuple | set | frozenset):
        return [_whole(item, converted, below(path, index), depth - 1) for index, item in enumerate(value)]
    name_converted(converted, path, value)
    return converted.text_or_members(value, lambda members: _whole(members, converted, path, depth - 1), whole_repr)


def _key(value: object, converted: Converted | None, path: str) -> str:
    key = key_text(value)
    if key is None:
        key = whole_repr(value)
        name_converted(converted, below(path, key), value)
    return key


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True)
class Conversation:
    """A history: the text of each message, and the name of each beginning, the whole history being the last."""

    texts: list[bytes]
    names: list[bytes]

    @classmethod
    def of(cls, history: object, converted: Converted | None = None) -> Conversation:
        """Raises NotWhole for what is no list of messages, or cannot be said in JSON. `converted`: as `whole_text`."""
        if history is None:
            history = ()
        if isinstance(history, str | bytes | Mapping) or not isinstance(history, Iterable):
            raise NotWhole(f"a history is a list of messages, not a {type(history).__name__}")
        return cls.of_texts(
            [whole_text(message, converted, f"history.{index}") for index, message in enumerate(history)]
        )

    @classmethod
    def of_texts(cls, texts: list[bytes]) -> Conversation:
        """From messages that are encoded already."""
        names: list[bytes] = []
        name = b""
        for text in texts:
            name = _hash(name + _hash(text))
            names.append(name)
        return cls(texts, names)

    def shared_with(self, other: Conversation) -> int:
        """With how many messages both begin."""
        # Usually all of the shorter one, so the search begins there. An equal name says that all before it is equal.
        for length in range(min(len(self.names), len(other.names)), 0, -1):
            if self.names[length - 1] == other.names[length - 1]:
                return length
        return 0

    def data(self, members: bytes, known: int = 0) -> bytes:
        """The data of a checkpoint: `members` is the JSON object of all else, `known` the messages that are stored."""
        base = b""
        if known:
            base = b'"base":{"node":"%b","length":%d},' % (self.names[known - 1].hex().encode(), known)
        rest = b"" if members == b"{}" else members[1:-1] + b","
        return b"{%b%b" % (rest, base) + b'"history":[' + b",".join(self.texts[known:]) + b"]}"


def _hash(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()[:NAME_BYTES]
