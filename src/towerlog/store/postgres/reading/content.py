"""The content store, read back: histories and meta lists, each part held against the name that it is kept under."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from towerlog.errors import Damaged, cause
from towerlog.model.names import metas_name
from towerlog.store.columns.content import Changed, history_of
from towerlog.store.compression import Packer
from towerlog.store.postgres.connections import Db

MAX_KEYS_AT_ONCE = 512
"""Prefixes of a history, or of a meta list, that are looked up in one go, the longest first."""
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, IndexError)
_HISTORY = (
    "WITH RECURSIVE walk (parent, message, block, place, top, depth) AS ("
    " SELECT parent, message, block, length, length, 1::bigint FROM node WHERE org = $1 AND key = $2"
    " UNION ALL SELECT node.parent, node.message, node.block, node.length, top, depth + 1 FROM walk"
    " JOIN node ON node.org = $1 AND node.key = walk.parent WHERE depth < $3 AND node.length > top - $3)"
    " SELECT walk.parent, walk.message, walk.block, walk.place, message.body, message.packed FROM walk"
    " LEFT JOIN message ON message.org = $1 AND message.key = walk.message ORDER BY depth"
)


async def history(db: Db, org: int, node: bytes, length: int) -> list[bytes]:
    """Walks a history from its last node to its first message. Raises Damaged where a part is not what it was."""
    found = await db.rows(_HISTORY, org, node, length)
    try:
        return history_of(found, node, length)
    except Changed as error:
        raise _damaged(db, org, node, str(error)) from error
    except _UNREADABLE as error:
        raise _damaged(db, org, node, cause(error)) from error


async def metas(db: Db, org: int, key: bytes) -> list[bytes]:
    """Walks a meta list from its last part to its first. Raises Damaged where a part is not what it was."""
    first = key
    parts: list[bytes] = []
    sql = "SELECT parent, packed, body FROM meta_list WHERE org = $1 AND key = $2"
    parent: Any
    while key:
        parent, packed, stored = await db.row(sql, org, key) or (None, False, b"")
        try:
            body = Packer().unpack(stored) if packed else stored
            is_right = parent is not None and metas_name(body, parent) == key
        except _UNREADABLE as error:
            raise _damaged(db, org, first, cause(error)) from error
        if not is_right:
            raise _damaged(db, org, first, "a part of the metas was changed, or is not there")
        parts.append(body)
        key = parent
    return parts[::-1]


async def known_nodes(db: Db, org: int, prefixes: Sequence[bytes]) -> int:
    """How long the longest of the prefixes of a history is that has a node."""
    return await _longest(prefixes, lambda some: _known(db, "node", org, some))


async def known_metas(db: Db, org: int, prefixes: Sequence[bytes]) -> int:
    """How long the longest of the prefixes of a meta list is that is stored."""
    return await _longest(prefixes, lambda some: _known(db, "meta_list", org, some))


async def chain_length(db: Db, org: int, key: bytes) -> int | None:
    """How many messages the history has that ends in this node; None if it is not stored."""
    found: int | None = await db.value("SELECT length FROM node WHERE org = $1 AND key = $2", org, key)
    return found


async def _known(db: Db, table: str, org: int, keys: Sequence[bytes]) -> set[bytes]:
    sql = f"SELECT key FROM {table} WHERE org = $1 AND key = ANY($2::bytea[])"
    return {row[0] for row in await db.rows(sql, org, list(keys))}


async def _longest(prefixes: Sequence[bytes], known: Callable[[Sequence[bytes]], Awaitable[set[bytes]]]) -> int:
    """Not each prefix is stored, so each is asked for; the longest first, since a turn mostly adds a little."""
    for end in range(len(prefixes), 0, -MAX_KEYS_AT_ONCE):
        begin = max(0, end - MAX_KEYS_AT_ONCE)
        some = prefixes[begin:end]
        stored = await known(some)
        if stored:
            return next(begin + index + 1 for index in range(len(some) - 1, -1, -1) if some[index] in stored)
    return 0


def _damaged(db: Db, org: int, node: bytes, reason: str) -> Damaged:
    db.damages.note_content(org, node, reason)
    return Damaged(f"The stored history is damaged: {reason}.")
