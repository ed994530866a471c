"""What an erasure takes out of the content store: what nothing points at any more.

A node or a list of metas goes where no checkpoint of any run points at it and nothing goes on from it, and then what it
went on from is looked at; a message goes with the last node that has it. All of it is asked by indexes, which have all
rows once `index_uses` has said so in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from towerlog.store.columns.erasure import Gone, Room
from towerlog.store.sqlite.connections.transaction import transaction
from towerlog.store.sqlite.erasure.uses import index_uses
from towerlog.store.sqlite.reads import one

_NODE_HELD = (
    "SELECT EXISTS (SELECT 1 FROM checkpoint WHERE org = ?1 AND node = ?2 AND indexed = 1)"
    " OR EXISTS (SELECT 1 FROM checkpoint WHERE org = ?1 AND held_node = ?2)"
    " OR EXISTS (SELECT 1 FROM node WHERE org = ?1 AND parent = ?2 AND indexed = 1 AND parent <> x'')"
)
_METAS_HELD = (
    "SELECT EXISTS (SELECT 1 FROM checkpoint WHERE org = ?1 AND metas = ?2 AND indexed = 1)"
    " OR EXISTS (SELECT 1 FROM checkpoint WHERE org = ?1 AND held_metas = ?2)"
    " OR EXISTS (SELECT 1 FROM meta_list WHERE org = ?1 AND parent = ?2 AND indexed = 1 AND parent <> x'')"
)


SWEPT_ROWS = 1000
SWEPT_BYTES = 1024 * 1024
"""Of one step of a sweep."""


def erase_nodes(db: apsw.Connection, org: int, keys: list[bytes], room: Room, gone: Gone) -> list[bytes]:
    """Takes out what is free of these nodes and of what they go on from; those that there was no room for. All uses are
    in the indexes."""
    while keys and room.is_left:
        key = keys.pop()
        found = db.execute(
            "SELECT node, parent, message, length(block) FROM node WHERE org = ? AND key = ?", (org, key)
        ).get
        room.take()
        if found is None or _is_held(db, _NODE_HELD, org, key):
            continue
        node, parent, message, size = found
        db.execute("DELETE FROM node WHERE node = ?", (node,))
        gone.add(size)
        room.take(size or 0)
        if message:
            _erase_message(db, org, message, room, gone)
        if parent:
            keys.append(parent)
    return keys


def _erase_message(db: apsw.Connection, org: int, key: bytes, room: Room, gone: Gone) -> None:
    sql = "SELECT 1 FROM node WHERE org = ? AND message = ? AND indexed = 1 AND message <> x'' LIMIT 1"
    if one(db, sql, (org, key)) is not None:
        return
    size = one(db, "SELECT length(body) FROM message WHERE org = ? AND key = ?", (org, key))
    db.execute("DELETE FROM message WHERE org = ? AND key = ?", (org, key))
    gone.add(size)
    room.take(size or 0)


def erase_metas(db: apsw.Connection, org: int, keys: list[bytes], room: Room, gone: Gone) -> list[bytes]:
    """The same of lists of metas."""
    while keys and room.is_left:
        key = keys.pop()
        sql = "SELECT meta_list, parent, length(body) FROM meta_list WHERE org = ? AND key = ?"
        found: Any = db.execute(sql, (org, key)).get
        room.take()
        if found is None or _is_held(db, _METAS_HELD, org, key):
            continue
        number, parent, size = found
        db.execute("DELETE FROM meta_list WHERE meta_list = ?", (number,))
        gone.add(size)
        room.take(size or 0)
        if parent:
            keys.append(parent)
    return keys


def _is_held(db: apsw.Connection, sql: str, org: int, key: bytes) -> bool:
    return bool(one(db, sql, (org, key)))


def content_end(db: apsw.Connection) -> tuple[int, int]:
    """The last numbers of nodes and of lists of metas."""
    return one(db, "SELECT max(node) FROM node", ()) or 0, one(db, "SELECT max(meta_list) FROM meta_list", ()) or 0


def sweep_content(db: apsw.Connection, before: tuple[int, int]) -> tuple[int, int] | None:
    """Takes out, in one transaction, some of what no event was stored with, of any organisation; the newest first.

    `before`: numbers of nodes and of lists of metas up to which are looked at; the next ones, None for no more, and the
    same where the step has only brought uses into the indexes.
    """
    room, gone = Room(SWEPT_ROWS, SWEPT_BYTES), Gone()
    with transaction(db, makes_room=True):
        if not index_uses(db):
            return before
        nodes = _swept(db, "node", before[0], room, gone, erase_nodes)
        metas = _swept(db, "meta_list", before[1], room, gone, erase_metas) if not nodes else before[1]
    return (nodes, metas) if nodes or metas else None


def _swept(
    db: apsw.Connection,
    table: str,
    before: int,
    room: Room,
    gone: Gone,
    erase: Callable[[apsw.Connection, int, list[bytes], Room, Gone], list[bytes]],
) -> int:
    """The newest first: what goes on from something is looked at before it."""
    sql = f"SELECT {table}, org, key FROM {table} WHERE {table} <= ? ORDER BY {table} DESC LIMIT ?"
    for number, org, key in list(db.execute(sql, (before, SWEPT_ROWS))):
        if not room.is_left:
            return int(number)
        erase(db, org, [key], room, gone)
        before = number - 1
    return before if one(db, f"SELECT 1 FROM {table} WHERE {table} <= ?", (before,)) else 0
