"""State that must be whole: JSON text of which nothing is cut, and histories that are sent by what is new in them.

A server stores each message once, and names every beginning of a history by a hash over the name of the beginning
before it and of its last message. So a client that knows which beginning is stored sends the name of that and what
follows. The names are made here as the server makes them (`engine/ingest/content.py`); if they ever differ, the server
does not know the beginning and is sent the whole.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from towerlog.sdk.record.encoding import describe, fit_text, whole_repr

MAX_WHOLE_DEPTH = 128
"""Levels of a state; the server refuses deeper ones."""
NAME_BYTES = 16


class NotWhole(Exception):
    """A value that JSON cannot express without leaving something out."""


def whole_text(value: object) -> bytes:
    """JSON of a value, with nothing cut. What JSON cannot express becomes its whole `repr`. Raises NotWhole."""
    try:
        return _ENCODER.encode(value).encode()
    except Exception:
        # A key that is not text, NaN, a lone surrogate; or a circle, which has no end.
        return _plain_text(value)


def _plain_text(value: object) -> bytes:
    try:
        return _ENCODER.encode(_whole(value, MAX_WHOLE_DEPTH)).encode()
    except Exception as error:
        raise NotWhole(describe(error)) from None


def _whole(value: object, depth: int) -> Any:
    """A copy of the value made of JSON types only."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return fit_text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth <= 0:
        raise NotWhole(f"nested deeper than {MAX_WHOLE_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(name): _whole(member, depth - 1) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_whole(item, depth - 1) for item in value]
    return whole_repr(value)


def _key(value: object) -> str:
    return fit_text(value) if isinstance(value, str) else whole_repr(value)


def _default(value: object) -> Any:
    return _whole(value, MAX_WHOLE_DEPTH)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_default)


@dataclass(frozen=True)
class Conversation:
    """A history: the text of each message, and the name of each beginning, the whole history being the last."""

    texts: list[bytes]
    names: list[bytes]

    @classmethod
    def of(cls, history: object) -> Conversation:
        """Raises NotWhole for what is no list of messages, or cannot be said in JSON."""
        if history is None:
            history = ()
        if isinstance(history, str | bytes | Mapping) or not isinstance(history, Iterable):
            raise NotWhole(f"a history is a list of messages, not a {type(history).__name__}")
        return cls.of_texts([whole_text(message) for message in history])

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
