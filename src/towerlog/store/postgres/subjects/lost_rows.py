"""What can be made anew of organisations and those who may come in: rows that are lost, and what is kept so that others
are found."""

from __future__ import annotations

from msgspec.structs import astuple

from towerlog.model.audit import AuditEntry
from towerlog.model.principal import SHARD_BITS, Org
from towerlog.store.columns import rows
from towerlog.store.columns.people import name_rows
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.subjects import audit
from towerlog.store.postgres.subjects.people import KEY, LINK, SESSION
from towerlog.store.values import AuditHead

_BY_DIGEST = (("api_key", "key_id", KEY), ("session", "session_id", SESSION), ("sign_in_link", "link_id", LINK))
"""Tables of what is known by a digest, the column that names a row of them, and what its credential is of."""


async def stored_names(db: Db, org: int) -> tuple[list[rows.Row], list[rows.Row]]:
    """The names that users have, as rows; and those that are kept for them."""
    sql = "SELECT user_id, name, email, removed_at FROM org_user WHERE org = $1 ORDER BY number"
    users = [tuple(row) for row in await db.rows(sql, org)]
    kept = await db.rows("SELECT org, folded, user_id, is_member FROM user_name WHERE org = $1", org)
    return list(name_rows(org, users)), [tuple(row) for row in kept]


async def write_anew(db: Db, org: int) -> None:
    """Keeps names for the users that are there alone, of members of one name for the first that was made; and digests
    for what is known by one."""
    due, _ = await stored_names(db, org)
    await db.do("DELETE FROM user_name WHERE org = $1", org)
    sql = "INSERT INTO user_name (org, folded, user_id, is_member) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
    await db.each(sql, due)
    for table, _, kind in _BY_DIGEST:
        held = f"SELECT 1 FROM {table} WHERE {table}.org = $1 AND {table}.digest = credential.digest"
        await db.do(f"DELETE FROM credential WHERE org = $1 AND kind = {kind} AND NOT EXISTS ({held})", org)
        # Another organisation's stays as it is: a digest belongs to one.
        missing = f"SELECT digest, {kind}, org FROM {table} WHERE org = $1"
        await db.do(f"INSERT INTO credential (digest, kind, org) {missing} ON CONFLICT DO NOTHING", org)


async def unfound(db: Db, org: int) -> list[str]:
    """What is known by a digest and not found by it, as its table and id: who shows it is not let in."""
    found = []
    for table, name, kind in _BY_DIGEST:
        kept = f"SELECT 1 FROM credential AS kept WHERE kept.digest = one.digest AND kept.org = $1 AND kind = {kind}"
        sql = f"SELECT {name} FROM {table} AS one WHERE org = $1 AND NOT EXISTS ({kept}) ORDER BY number"
        found += [f"{table} {row[0]}" for row in await db.rows(sql, org)]
    return found


async def lost_orgs(db: Db) -> list[int]:
    """Numbers that entries of the audit stand under, and that no organisation has, or none that knows its counters."""
    lost, last = [], 0
    while (found := await db.value("SELECT min(org) FROM audit_entry WHERE org > $1", last)) is not None:
        last = found
        known = (
            "SELECT 1 FROM org JOIN org_count USING (org) WHERE org = $1"
            " UNION ALL SELECT 1 FROM removed_org WHERE org = $1"
        )
        if not await db.value(f"SELECT EXISTS ({known})", last):
            lost.append(last)
    return lost


async def put_org_back(db: Db, back: Org, head: AuditHead, told: AuditEntry) -> None:
    """The row of an organisation that has lost it, and of its counters where they are lost as well."""
    sql = "INSERT INTO org (org, org_id, name, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (org) DO NOTHING"
    await db.do(sql, *astuple(back))
    counts = []
    for key, table in (("position", "place"), ("run", "place"), ("agent", "agent")):
        last = await db.value(f"SELECT max({key} & {(1 << SHARD_BITS) - 1}) FROM {table} WHERE org = $1", back.org)
        counts.append(last or 0)
    sql = (
        "INSERT INTO org_count (org, position, runs, agents, audited, audit_hash) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (org) DO NOTHING"
    )
    await db.do(sql, back.org, *counts, *head)
    await audit.write(db, [told])
