"""Histories made of the rows that they are kept in, each part held against the name that it is kept under."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from towerlog.model.names import message_name, prefix_names
from towerlog.store.columns.rows import Row
from towerlog.store.compression import Packer

_decode_block = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Changed(ValueError):
    """What is stored is not what was written; says which part."""


def history_of(found: Iterable[Row], node: bytes, length: int) -> list[bytes]:
    """The messages of a history, first to last, from its nodes, the last one first.

    A row is (parent, message, block, place, body, packed); `body` is None where the message is not there. Raises
    Changed, ValueError, TypeError, IndexError and msgspec's errors for what is not what it was.
    """
    unpack, name = Packer().unpack, node
    messages: list[bytes] = []
    expected: int | None = None
    for parent, key, block, place, stored, packed in found:
        if block is not None:
            texts = list(map(bytes, _decode_block(unpack(block))))
        elif stored is None:
            break
        else:
            texts = [unpack(stored) if packed else stored]
        names = list(map(message_name, texts))
        if (block is None and names != [key]) or prefix_names(names, parent)[-1] != name:
            raise Changed(f"message {length - len(messages)} of {length} was changed")
        before = place - len(texts)
        if (expected is not None and place != expected) or (before == 0) is not (parent == b""):
            raise Changed(f"the place of message {length - len(messages)} of {length} was changed")
        messages += reversed(texts)
        name, expected = parent, before
    if len(messages) < length:
        raise Changed(f"{len(messages)} of {length} messages are there")
    return messages[:length][::-1]
