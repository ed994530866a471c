"""What an audit reads from SQLite: every row with a look at its own columns, and the whole content store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import apsw
import msgspec

from towerlog.model.event import FEED_TYPES
from towerlog.model.identity import shard_bounds
from towerlog.model.run import AgentRow
from towerlog.store import sqlite_rows as rows
from towerlog.store.base import Content, Message, MetaList, Node, Rows
from towerlog.store.sqlite_reads import marks, one, usage

T = TypeVar("T")
FARTHEST_HOUR = 2**62
MAX_FAULTS = 50

_RUN = rows.RUN_COLUMNS.removesuffix(", doc")
_CHECKPOINT = "run, agent, step_index, org, thread_id, status, initial, position"


def all_rows(db: apsw.Connection, org: int) -> Rows:
    """Every projection row, read in one transaction."""
    db.execute("BEGIN")
    try:
        return _all_rows(db, org)
    finally:
        db.execute("COMMIT")


def _all_rows(db: apsw.Connection, org: int) -> Rows:
    faults = _feed_faults(db, org)

    def read(
        table: str,
        columns: str,
        decode: Callable[[bytes], T],
        values: Callable[[T], rows.Row],
        heal: Callable[[T, list[Any]], T] = lambda row, _: row,
    ) -> list[T]:
        found = []
        for *given, doc in db.execute(f"SELECT {columns}, doc FROM {table} WHERE org = ?", (org,)):
            row = decode(doc)
            if tuple(given) != values(row)[: len(given)]:
                faults.append(f"{table} {given[0]}: its columns do not say what the row says")
                row = heal(row, given)
            found.append(row)
        return found

    return Rows(
        position=one(db, "SELECT position FROM org WHERE org = ?", (org,)) or 0,
        runs=read("run", _RUN, rows.decode_run, rows.run_indexed),
        threads=read("thread", "org, thread_id, created_at", rows.decode_thread, rows.thread_row),
        agents=read("agent", "agent, org, agent_id, name", rows.decode_agent, rows.agent_row, _same_agent),
        usage=usage(db, org, 0, FARTHEST_HOUR, None, None),
        checkpoints=read("checkpoint", _CHECKPOINT, rows.decode_checkpoint, rows.checkpoint_row),
        faults=faults,
    )


def _same_agent(row: AgentRow, given: list[Any]) -> AgentRow:
    """The agent that the columns name: an identity is no projection, and a rebuild must not lose it."""
    agent, org, agent_id, name = given
    return msgspec.structs.replace(row, agent=agent, org=org, agent_id=agent_id, name=name)


def _feed_faults(db: apsw.Connection, org: int) -> list[str]:
    """Events whose place in an agent's feed is not the one that their type and agent give them."""
    kinds = sorted(FEED_TYPES)
    sql = (
        "SELECT key FROM event WHERE key BETWEEN ? AND ? AND feed IS NOT"
        f" (CASE WHEN agent <> 0 AND type IN ({marks(len(kinds))}) THEN agent END) LIMIT ?"
    )
    lowest, highest = shard_bounds(org)
    found = db.execute(sql, (lowest, highest, *kinds, MAX_FAULTS))
    return [f"position {row[0] - lowest}: its place in its agent's feed is wrong" for row in found]


def content(db: apsw.Connection, org: int, kind: str, after: int, limit: int) -> list[tuple[int, Content]]:
    """A page of the content store."""
    table, columns, value = _CONTENT[kind]
    sql = f"SELECT {table}, {columns} FROM {table} WHERE org = ? AND {table} > ? ORDER BY {table} LIMIT ?"
    return [(row[0], value(org, row[1:])) for row in db.execute(sql, (org, after, limit))]


def _message(org: int, row: rows.Row) -> Message:
    key, packed, body = row
    return Message(org, key, rows.unpack(body) if packed else body)


def _node(org: int, row: rows.Row) -> Node:
    return Node(org, *row)


def _metas(org: int, row: rows.Row) -> MetaList:
    key, parent, packed, body = row
    return MetaList(org, key, parent, rows.unpack(body) if packed else body)


_CONTENT: dict[str, tuple[str, str, Callable[[int, Any], Content]]] = {
    "messages": ("message", "key, packed, body", _message),
    "nodes": ("node", "key, parent, message", _node),
    "metas": ("meta_list", "key, parent, packed, body", _metas),
}
