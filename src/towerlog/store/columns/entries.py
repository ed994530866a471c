"""Rows of the audit, to values and back; what contradicts itself in one."""

from __future__ import annotations

import msgspec

from towerlog.model.audit import Actor, AuditEntry
from towerlog.store.columns.rows import Row
from towerlog.store.values import StoredEntry

ACTOR = tuple(name for name in Actor.__struct_fields__ if name != "type")
"""What an actor is called: any of it finds its entries."""
COLUMNS = f"at, latest_at, {', '.join(ACTOR)}, action, object_id"

encode_entry = msgspec.json.Encoder().encode
decode_entry = msgspec.json.Decoder(AuditEntry).decode


def entry_columns(entry: AuditEntry, latest_at: int) -> Row:
    """Values for COLUMNS."""
    who = [getattr(entry.actor, name) for name in ACTOR]
    return (entry.at, latest_at, *who, entry.action, entry.object_id)


def stored_entry(org: int, number: int, row: Row) -> StoredEntry:
    """An entry from (org, COLUMNS, hash, doc), with what its own columns say against it."""
    of, *columns, digest, doc = row
    latest_at = columns[1]
    fault = ""
    try:
        entry = decode_entry(doc)
        if (of, entry.org, *columns) != (org, org, *entry_columns(entry, latest_at)):
            fault = "its columns do not say what the entry says"
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        fault = f"cannot be read: {error}"
    return StoredEntry(number, digest, doc, latest_at, columns[0], fault)
