"""What an audit reads from SQLite: every row with a look at its own columns, and the whole content store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import apsw
import msgspec

from towerlog.model.event import FEED_TYPES, FEED_TYPES_WHEN_SPENT
from towerlog.model.identity import shard_bounds
from towerlog.model.run import AgentRow, ThreadRow
from towerlog.store import sqlite_rows as rows
from towerlog.store.sqlite_reads import marks, one, usage
from towerlog.store.values import Content, Message, MetaList, Node, Rows

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
        heal: Callable[[T | None, list[Any]], T | None] = lambda row, _: row,
        at: int = 0,
    ) -> list[T]:
        found = []
        for *given, doc in db.execute(f"SELECT {columns}, doc FROM {table} WHERE org = ?", (org,)):
            row, fault = _decoded(decode, doc)
            if row is not None and tuple(given) != values(row)[: len(given)]:
                fault = "its columns do not say what the row says"
            if fault:
                faults.append(f"{table} {given[at]}: {fault}")
                row = heal(row, given)
            if row is not None:
                found.append(row)
        return found

    # What people have registered is folded from nothing: it can only be held against its own columns.
    read("persona", "org, persona_key, version", rows.decode_persona, rows.persona_row, at=1)
    read("provider_route", "org, route_id, version", rows.decode_route, rows.route_row, at=1)
    return Rows(
        position=one(db, "SELECT position FROM org WHERE org = ?", (org,)) or 0,
        runs=read("run", _RUN, rows.decode_run, rows.run_indexed),
        threads=read("thread", "org, thread_id, created_at", rows.decode_thread, rows.thread_row, _same_thread, at=1),
        agents=read("agent", "agent, org, agent_id, name", rows.decode_agent, rows.agent_row, _same_agent),
        usage=usage(db, org, 0, FARTHEST_HOUR, None, None),
        checkpoints=read("checkpoint", _CHECKPOINT, rows.decode_checkpoint, rows.checkpoint_row),
        faults=faults,
    )


def _decoded(decode: Callable[[bytes], T], doc: bytes) -> tuple[T | None, str]:
    """The row, or what is wrong with it: an audit of a damaged store goes on where any other reader gives up."""
    try:
        return decode(doc), ""
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        return None, f"cannot be read: {error}"


def _same_agent(row: AgentRow | None, given: list[Any]) -> AgentRow:
    """The agent that the columns name: an identity is no projection, and a rebuild must not lose it."""
    agent, org, agent_id, name = given
    if row is None:
        return AgentRow(agent, org, agent_id, name, created_at=0)
    return msgspec.structs.replace(row, agent=agent, org=org, agent_id=agent_id, name=name)


def _same_thread(row: ThreadRow | None, given: list[Any]) -> ThreadRow:
    """The thread that the columns name; its title is lost where the row cannot be read."""
    org, thread_id, created_at = given
    if row is None:
        return ThreadRow(org, thread_id, created_at)
    return msgspec.structs.replace(row, org=org, thread_id=thread_id, created_at=created_at)


def _feed_faults(db: apsw.Connection, org: int) -> list[str]:
    """Events whose place in an agent's feed is not the one that their type and agent give them.

    Whether one of a type that shows only sometimes should have a place, its facts alone can say: here it may.
    """
    sure, maybe = sorted(FEED_TYPES - FEED_TYPES_WHEN_SPENT), sorted(FEED_TYPES_WHEN_SPENT)
    sql = (
        "SELECT key FROM event WHERE key BETWEEN ? AND ? AND feed IS NOT"
        f" (CASE WHEN agent <> 0 AND type IN ({marks(len(sure))}) THEN agent"
        f" WHEN feed IS NOT NULL AND agent <> 0 AND type IN ({marks(len(maybe))}) THEN agent END) LIMIT ?"
    )
    lowest, highest = shard_bounds(org)
    found = db.execute(sql, (lowest, highest, *sure, *maybe, MAX_FAULTS))
    return [f"position {row[0] - lowest}: its place in its agent's feed is wrong" for row in found]


def content(db: apsw.Connection, org: int, kind: str, after: int, limit: int) -> list[tuple[int, Content]]:
    """A page of the content store."""
    table, columns, value = _CONTENT[kind]
    # The unary plus keeps SQLite on the primary key: by its index each page would read and sort everything.
    sql = f"SELECT {table}, {columns} FROM {table} WHERE +org = ? AND {table} > ? ORDER BY {table} LIMIT ?"
    return [(row[0], value(org, row[1:])) for row in db.execute(sql, (org, after, limit))]


def _message(org: int, row: rows.Row) -> Message:
    key, packed, body = row
    return Message(org, key, _unpacked(packed, body))


def _node(org: int, row: rows.Row) -> Node:
    return Node(org, *row)


def _metas(org: int, row: rows.Row) -> MetaList:
    key, parent, packed, body = row
    return MetaList(org, key, parent, _unpacked(packed, body))


def _unpacked(packed: int, body: bytes) -> bytes:
    """The text; what cannot be unpacked is handed out as it is, and then does not fit its name."""
    try:
        return rows.unpack(body) if packed else body
    except ValueError:
        return body


_CONTENT: dict[str, tuple[str, str, Callable[[int, Any], Content]]] = {
    "messages": ("message", "key, packed, body", _message),
    "nodes": ("node", "key, parent, message", _node),
    "metas": ("meta_list", "key, parent, packed, body", _metas),
}
