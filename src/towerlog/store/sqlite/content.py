"""The content store, read back: histories and meta lists, each part held against the name that it is kept under."""

from __future__ import annotations

from contextlib import closing

import apsw
import msgspec

from towerlog.errors import Damaged, TowerlogError, cause
from towerlog.model.event import READ_FAILED
from towerlog.model.names import metas_name
from towerlog.store.columns.content import Changed, history_of
from towerlog.store.compression import Packer
from towerlog.store.sqlite.connections.connection import damages_of
from towerlog.store.sqlite.connections.failures import storage_failed

_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, IndexError)


def history(db: apsw.Connection, org: int, node: bytes, length: int) -> list[bytes]:
    """Walks a history from its last node to its first message. Raises Damaged where a part is not what it was."""
    try:
        return _history(db, org, node, length)
    except Changed as error:
        raise _damaged(db, org, node, str(error)) from error
    except apsw.CorruptError as error:
        raise _corrupt(db, org, node, error) from error
    except _UNREADABLE as error:
        raise _damaged(db, org, node, cause(error)) from error


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
    # Whoever keeps the error would keep the question open, and with it the log.
    with closing(db.execute(sql, (org, node, length))) as found:
        return history_of(found, node, length)


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
    except apsw.CorruptError as error:
        raise _corrupt(db, org, first, error) from error
    except _UNREADABLE as error:
        raise _damaged(db, org, first, cause(error)) from error
    return parts[::-1]


def _corrupt(db: apsw.Connection, org: int, node: bytes, error: apsw.CorruptError) -> TowerlogError:
    """A page that the disk does not hand out is no damage of the store: StorageFailed then, and Damaged else."""
    failed = storage_failed(error, db)
    if READ_FAILED not in failed.message:
        return _damaged(db, org, node, cause(error))
    damages_of(db).note_failure(failed)
    return failed


def _damaged(db: apsw.Connection, org: int, node: bytes, reason: str) -> Damaged:
    damages_of(db).note_content(org, node, reason)
    return Damaged(f"The stored history is damaged: {reason}.")
