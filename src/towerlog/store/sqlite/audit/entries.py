"""What SQLite is asked about the audit, and its writing: numbers and hashes are given in the act's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from towerlog.model.audit import AuditEntry, AuditFilter, AuditRow, chain_link
from towerlog.model.principal import SHARD_BITS, shard_bounds, shard_key
from towerlog.store.columns import rows
from towerlog.store.columns.entries import ACTOR, COLUMNS, decode_entry, encode_entry, entry_columns, stored_entry
from towerlog.store.sqlite.reads import one
from towerlog.store.values import AuditHead, StoredEntry

MAX_LOOKED_AT = 20_000
"""Entries that a page looks at, unless an object is asked for, which has an index."""
_ENTRY = f"INSERT INTO audit_entry (key, org, {COLUMNS}, hash, doc) VALUES ({', '.join('?' * (len(ACTOR) + 8))})"
_HEAD = "SELECT audited, audit_hash FROM org WHERE org = ?"
_HEAD_MOVED = "UPDATE org SET audited = ?, audit_hash = ? WHERE org = ?"
_LATEST = "SELECT latest_at FROM audit_entry WHERE key = ?"
_NUMBER_MASK = (1 << SHARD_BITS) - 1


def write(db: apsw.Connection, entries: Iterable[AuditEntry]) -> None:
    """Appends them to the chains of their organisations. Part of the transaction that is under way."""
    for entry in entries:
        number, previous = head(db, entry.org)
        latest = one(db, _LATEST, (shard_key(entry.org, number),))
        doc = encode_entry(entry)
        digest = chain_link(previous, entry.org, number + 1, doc)
        columns = entry_columns(entry, entry.at if latest is None else max(latest, entry.at))
        db.execute(_ENTRY, (shard_key(entry.org, number + 1), entry.org, *columns, digest, doc))
        db.execute(_HEAD_MOVED, (number + 1, digest, entry.org))


def head(db: apsw.Connection, org: int) -> AuditHead:
    """The last number that was given out, and its hash; 0 and empty before the first entry."""
    found = db.execute(_HEAD, (org,)).fetchone()
    return AuditHead(0, b"") if found is None else AuditHead(*found)


def page(
    db: apsw.Connection, org: int, wanted: AuditFilter, limit: int, before: int | None
) -> tuple[list[AuditRow], int | None]:
    """Entries below a number, newest first, and the number below which it goes on."""
    lowest, highest = shard_bounds(org)
    top = highest if before is None else shard_key(org, before)
    top = min(top, shard_key(org, head(db, org).number) + 1)
    if wanted.since is not None:
        # Times may step back, the latest one up to an entry does not: what is before the first such entry is older.
        sql = "SELECT key FROM audit_entry WHERE org = ? AND latest_at >= ? ORDER BY latest_at, key LIMIT 1"
        lowest = one(db, sql, (org, wanted.since)) or top
    floor = lowest if wanted.object_id is not None else max(lowest, top - MAX_LOOKED_AT)
    where, values = _where(org, wanted)
    sql = f"SELECT key, hash, doc FROM audit_entry WHERE key >= ? AND key < ?{where} ORDER BY key DESC LIMIT ?"
    found = rows.up_to_a_page(db.execute(sql, (floor, top, *values, limit + 1)), _row)
    if found.cut or len(found) > limit:
        shown = found[:limit]
        return shown, shown[-1].number
    return list(found), floor - shard_key(org, 0) if floor > lowest else None


def _where(org: int, wanted: AuditFilter) -> tuple[str, tuple[Any, ...]]:
    parts = (
        (" AND org = ?", None if wanted.object_id is None else org),
        (" AND object_id = ?", wanted.object_id),
        (" AND action = ?", wanted.action),
        (f" AND ? IN ({', '.join(ACTOR)})", wanted.actor),
        (" AND at >= ?", wanted.since),
    )
    given = [(sql, value) for sql, value in parts if value is not None]
    return "".join(sql for sql, _ in given), tuple(value for _, value in given)


def _row(row: rows.Row) -> AuditRow:
    key, digest, doc = row
    return AuditRow(key & _NUMBER_MASK, digest, decode_entry(doc))


def chain(db: apsw.Connection, org: int, after: int, limit: int) -> list[StoredEntry]:
    """Entries after a number as they are stored, each with what its own columns say against it."""
    sql = f"SELECT key, org, {COLUMNS}, hash, doc FROM audit_entry WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"
    bounds = (shard_key(org, after), shard_bounds(org)[1])
    return [stored_entry(org, row[0] & _NUMBER_MASK, row[1:]) for row in db.execute(sql, (*bounds, limit))]
