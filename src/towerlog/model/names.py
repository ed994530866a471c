"""Names of content: each message, each prefix of a history and each meta list is kept under a hash of what it is."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from towerlog.model.byte_list import Packed

NAME_BYTES = 16
META = b"meta:"
"""Keeps the names of meta lists apart from those of histories."""
_decode_texts = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Names(Packed):
    """A list of names, held as one text: ten thousands of them take no more than their bytes."""

    __slots__ = ("_text",)

    def __init__(self, text: bytes | bytearray) -> None:
        """`text`: the names, one after the other."""
        self._text = text

    def __len__(self) -> int:
        return len(self._text) // NAME_BYTES

    def _at(self, index: int) -> bytes:
        begin = index * NAME_BYTES
        return bytes(self._text[begin : begin + NAME_BYTES])


def message_name(body: bytes) -> bytes:
    """The name of a message."""
    return sha256(body).digest()[:NAME_BYTES]


def prefix_names(names: Iterable[bytes], parent: bytes = b"") -> list[bytes]:
    """The name of every prefix of a list that goes on from `parent`, from the names (or texts) of its members."""
    prefixes: list[bytes] = []
    for name in names:
        parent = sha256(parent + name).digest()[:NAME_BYTES]
        prefixes.append(parent)
    return prefixes


def block_names(body: bytes) -> list[bytes]:
    """The names of several messages, from their JSON array. Raises MsgspecError for what is none."""
    return [message_name(bytes(text)) for text in _decode_texts(body)]


def metas_name(body: bytes, parent: bytes = b"") -> bytes:
    """The name of a meta list, from its JSON array and the list before it.

    Raises IndexError for an empty list, MsgspecError for what is none.
    """
    return prefix_names([META + bytes(meta) for meta in _decode_texts(body)], parent)[-1]
