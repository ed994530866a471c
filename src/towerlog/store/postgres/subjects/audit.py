"""What is asked about the audit, and its writing: numbers and hashes are given in the act's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from towerlog.model.audit import AuditEntry, AuditFilter, AuditRow, chain_link
from towerlog.store.columns import rows
from towerlog.store.columns.entries import ACTOR, COLUMNS, decode_entry, encode_entry, entry_columns, stored_entry
from towerlog.store.postgres.connections import MAX_PARAMETER, Db, numbered
from towerlog.store.values import AuditHead, StoredEntry

MAX_LOOKED_AT = 20_000
"""Entries that a page looks at, unless an object is asked for, which has an index."""
_COUNT = len(ACTOR) + 8
_ENTRY = f"INSERT INTO audit_entry (org, number, {COLUMNS}, hash, doc) VALUES ({', '.join('?' * _COUNT)})"
_HEAD = "SELECT audited, audit_hash FROM org_count WHERE org = $1"
_HEAD_MOVED = "UPDATE org_count SET audited = $2, audit_hash = $3 WHERE org = $1"
_LATEST = "SELECT latest_at FROM audit_entry WHERE org = $1 AND number = $2"


async def write(db: Db, entries: Iterable[AuditEntry]) -> None:
    """Appends them to the chains of their organisations. Part of the transaction that is under way."""
    for entry in entries:
        number, previous = await db.row(f"{_HEAD} FOR UPDATE", entry.org) or (0, b"")
        latest = await db.value(_LATEST, entry.org, number)
        doc = encode_entry(entry)
        digest = chain_link(previous, entry.org, number + 1, doc)
        columns = entry_columns(entry, entry.at if latest is None else max(latest, entry.at))
        await db.do(numbered(_ENTRY), entry.org, number + 1, *columns, digest, doc)
        await db.do(_HEAD_MOVED, entry.org, number + 1, digest)


async def head(db: Db, org: int) -> AuditHead:
    """The last number that was given out, and its hash; 0 and empty before the first entry."""
    found = await db.row(_HEAD, org)
    return AuditHead(0, b"") if found is None else AuditHead(*found)


async def page(
    db: Db, org: int, wanted: AuditFilter, limit: int, before: int | None
) -> tuple[list[AuditRow], int | None]:
    """Entries below a number, newest first, and the number below which it goes on."""
    top, lowest = (await head(db, org)).number + 1, 0
    if before is not None:
        top = min(top, before)
    if wanted.since is not None:
        # Times may step back, the latest one up to an entry does not: what is before the first such entry is older.
        sql = "SELECT number FROM audit_entry WHERE org = $1 AND latest_at >= $2 ORDER BY latest_at, number LIMIT 1"
        lowest = await db.value(sql, org, wanted.since) or top
    floor = lowest if wanted.object_id is not None else max(lowest, top - MAX_LOOKED_AT)
    where, values = _where(wanted)
    sql = (
        f"SELECT number, hash, doc FROM audit_entry WHERE org = ? AND number >= ? AND number < ?{where}"
        " ORDER BY number DESC LIMIT ?"
    )
    found = rows.up_to_a_page(await db.rows(numbered(sql), org, floor, top, *values, limit + 1), _row)
    if found.cut or len(found) > limit:
        shown = found[:limit]
        return shown, shown[-1].number
    return list(found), floor if floor > lowest else None


def _where(wanted: AuditFilter) -> tuple[str, tuple[Any, ...]]:
    parts = (
        (" AND object_id = ?", wanted.object_id),
        (" AND action = ?", wanted.action),
        (f" AND ? IN ({', '.join(ACTOR)})", wanted.actor),
        (" AND at >= ?", wanted.since),
    )
    given = [(sql, value) for sql, value in parts if value is not None]
    return "".join(sql for sql, _ in given), tuple(value for _, value in given)


def _row(row: rows.Row) -> AuditRow:
    number, digest, doc = row
    return AuditRow(number, digest, decode_entry(doc))


async def chain(db: Db, org: int, after: int, limit: int) -> list[StoredEntry]:
    """Entries after a number as they are stored, each with what its own columns say against it."""
    sql = f"SELECT number, org, {COLUMNS}, hash, doc FROM audit_entry WHERE org = $1 AND number > $2 ORDER BY number"
    found = await db.rows(f"{sql} LIMIT $3", org, min(after, MAX_PARAMETER), limit)
    return [stored_entry(org, row[0], tuple(row)[1:]) for row in found]
