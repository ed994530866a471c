"""Writing of organisations, their keys, and the secret of the store."""

from __future__ import annotations

from collections.abc import Iterable

import apsw
import msgspec

from towerlog.model.audit import AuditEntry
from towerlog.model.key import Key
from towerlog.model.member import SignInLink
from towerlog.model.principal import Org, User, shard_bounds, shard_org
from towerlog.store.columns import rows
from towerlog.store.columns.people import check_org_name, number_in_use, too_many_orgs
from towerlog.store.columns.removal import HIDDEN
from towerlog.store.sqlite.audit import entries
from towerlog.store.sqlite.connections.store_notes import keep_folds, keep_note, whole
from towerlog.store.sqlite.people import members
from towerlog.store.values import AuditHead

KEY = (
    f"INSERT INTO api_key ({rows.KEY_COLUMNS}, number) VALUES ({', '.join('?' * 9)},"
    " (SELECT ifnull(max(number), 0) + 1 FROM api_key WHERE org = ?1)) ON CONFLICT (org, key_id)"
    " DO UPDATE SET name = excluded.name, scopes = excluded.scopes, revoked_at = excluded.revoked_at"
)


def write_org(
    db: apsw.Connection,
    org: Org,
    user: User,
    key: Key,
    told: AuditEntry,
    link: SignInLink | None = None,
    also: AuditEntry | None = None,
    most: int | None = None,
) -> Org:
    """A new organisation with its first user and key, and the audit's first entry; returns it with its number.

    `also`: an entry for the audit of another one; `most`: how many there may be with it. Raises Conflict for a name
    that is taken, or for one too many.
    """
    with whole(db):
        check_org_name(org.name, [name for (name,) in db.execute("SELECT name FROM org ORDER BY org")])
        if most is not None and db.execute(f"SELECT count(*) FROM org WHERE {HIDDEN}").get >= most:
            raise too_many_orgs(most)
        db.execute(
            "INSERT INTO org (org_id, name, created_at) VALUES (?, ?, ?)", (org.org_id, org.name, org.created_at)
        )
        number = db.last_insert_rowid()
        if is_known(db, number):
            raise number_in_use(number)
        keep_folds(db, number)
        members.write_users(db, [msgspec.structs.replace(user, org=number)])
        db.execute(KEY, (number, *rows.key_row(key)[1:]))
        entries.write(db, [msgspec.structs.replace(told, org=number), *([] if also is None else [also])])
        if link is not None:
            members.write_links(db, [msgspec.structs.replace(link, org=number)])
    return msgspec.structs.replace(org, org=number)


def is_known(db: apsw.Connection, number: int) -> bool:
    """Whether an organisation of this number was there before: the audit tells of it, or its removal."""
    told = "SELECT 1 FROM audit_entry WHERE key BETWEEN ? AND ? UNION ALL SELECT 1 FROM removed_org WHERE org = ?"
    return bool(db.execute(f"SELECT EXISTS ({told})", (*shard_bounds(number), number)).get)


def lost_orgs(db: apsw.Connection) -> list[int]:
    """Numbers that entries of the audit stand under, by their keys, and that no organisation has."""
    lost, lowest = [], 0
    while (key := db.execute("SELECT min(key) FROM audit_entry WHERE key >= ?", (lowest,)).get) is not None:
        org = shard_org(key)
        lowest = shard_bounds(org)[1] + 1
        known = "SELECT 1 FROM org WHERE org = ?1 UNION ALL SELECT 1 FROM removed_org WHERE org = ?1"
        if not db.execute(f"SELECT EXISTS ({known})", (org,)).get:
            lost.append(org)
    return lost


def put_org_back(db: apsw.Connection, org: Org, head: AuditHead, told: AuditEntry) -> None:
    """The row of an organisation that has lost it."""
    lowest, highest = shard_bounds(org.org)
    counts = []
    for key, table in (("key", "event"), ("run", "event"), ("agent", "agent")):
        last = db.execute(f"SELECT max({key}) FROM {table} WHERE {key} BETWEEN ? AND ?", (lowest, highest)).get
        counts.append(0 if last is None else last - lowest)
    with whole(db):
        db.execute(
            "INSERT INTO org (org, org_id, name, created_at, position, runs, agents, audited, audit_hash)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (org.org, org.org_id, org.name, org.created_at, *counts, *head),
        )
        entries.write(db, [told])


def rename_org(db: apsw.Connection, org: Org, told: Iterable[AuditEntry]) -> None:
    """The name that it has here. Raises Conflict for one that is taken."""
    with whole(db):
        others = db.execute("SELECT name FROM org WHERE org <> ? ORDER BY org", (org.org,))
        check_org_name(org.name, [name for (name,) in others])
        db.execute("UPDATE org SET name = ? WHERE org = ?", (org.name, org.org))
        entries.write(db, told)


def keep_secret(db: apsw.Connection, fresh: str) -> str:
    """The store's secret; `fresh` becomes it where there is none."""
    known = db.execute("SELECT value FROM meta WHERE name = 'secret'").get
    if known is None:
        keep_note(db, "secret", fresh)
        known = fresh
    return str(known)


def write_key(db: apsw.Connection, key: Key, told: AuditEntry) -> None:
    """One key, new or changed, with the entry of the audit that tells it."""
    with whole(db):
        db.execute(KEY, rows.key_row(key))
        entries.write(db, [told])
