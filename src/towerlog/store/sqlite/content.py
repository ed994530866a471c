"""The content store, read back: histories and meta lists, each part held against the name that it is kept under."""

from __future__ import annotations

import apsw
import msgspec

from towerlog.errors import Damaged
from towerlog.model.names import message_name, metas_name, prefix_names
from towerlog.store.packing import Packer
from towerlog.store.sqlite.connection import damages_of

_decode_block = msgspec.json.Decoder(list[msgspec.Raw]).decode
_UNREADABLE = (apsw.CorruptError, msgspec.MsgspecError, ValueError, TypeError, IndexError)


def history(db: apsw.Connection, org: int, node: bytes, length: int) -> list[bytes]:
    """Walks a history from its last node to its first message. Raises Damaged where a part is not what it was."""
    try:
        return _history(db, org, node, length)
    except _UNREADABLE as error:
        raise _damaged(db, org, node, f"{type(error).__name__}: {error}") from error


def _history(db: apsw.Connection, org: int, node: bytes, length: int) -> list[bytes]:
    sql = (
        "WITH RECURSIVE walk(parent, message, block, place, top, depth) AS ("
        " SELECT parent, message, block, length, length, 1 FROM node WHERE org = ?1 AND key = ?2"
        " UNION ALL SELECT node.parent, node.message, node.block, node.length, top, depth + 1 FROM walk"
        " JOIN node ON node.org = ?1 AND node.key = walk.parent WHERE depth < ?3 AND node.length > top - ?3)"
        # The messages beside it, since a plain join would begin with them, and read all that the organisation has.
        " SELECT walk.parent, walk.message, walk.block, walk.place, message.body, message.packed FROM walk"
        " LEFT JOIN message ON message.org = ?1 AND message.key = walk.message ORDER BY depth"
    )
    unpack, name = Packer().unpack, node
    messages: list[bytes] = []
    expected: int | None = None
    for parent, key, block, place, stored, packed in db.execute(sql, (org, node, length)):
        if block is not None:
            texts = list(map(bytes, _decode_block(unpack(block))))
        elif stored is None:
            break
        else:
            texts = [unpack(stored) if packed else stored]
        names = list(map(message_name, texts))
        if (block is None and names != [key]) or prefix_names(names, parent)[-1] != name:
            raise _damaged(db, org, node, f"message {length - len(messages)} of {length} was changed")
        before = place - len(texts)
        if (expected is not None and place != expected) or (before == 0) is not (parent == b""):
            raise _damaged(db, org, node, f"the place of message {length - len(messages)} of {length} was changed")
        messages += reversed(texts)
        name, expected = parent, before
    if len(messages) < length:
        raise _damaged(db, org, node, f"{len(messages)} of {length} messages are there")
    return messages[:length][::-1]


def metas(db: apsw.Connection, org: int, key: bytes) -> list[bytes]:
    """Walks a meta list from its last part to its first. Raises Damaged where a part is not what it was."""
    first = key
    parts: list[bytes] = []
    sql = "SELECT parent, packed, body FROM meta_list WHERE org = ? AND key = ?"
    try:
        while key:
            parent, packed, stored = next(iter(db.execute(sql, (org, key))), (None, 0, b""))
            body = Packer().unpack(stored) if packed else stored
            if parent is None or metas_name(body, parent) != key:
                raise _damaged(db, org, first, "a part of the metas was changed, or is not there")
            parts.append(body)
            key = parent
    except _UNREADABLE as error:
        raise _damaged(db, org, first, f"{type(error).__name__}: {error}") from error
    return parts[::-1]


def _damaged(db: apsw.Connection, org: int, node: bytes, reason: str) -> Damaged:
    damages_of(db).note_content(org, node, reason)
    return Damaged(f"The stored history is damaged: {reason}.")
