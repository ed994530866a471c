"""What is kept beside members, keys, sessions and links so that they are found, and can be made anew from them."""

from __future__ import annotations

from towerlog.store.columns import rows
from towerlog.store.columns.people import name_rows
from towerlog.store.postgres.connections import Db
from towerlog.store.postgres.subjects.people import KEY, LINK, SESSION


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
    for table, kind in (("api_key", KEY), ("session", SESSION), ("sign_in_link", LINK)):
        held = f"SELECT 1 FROM {table} WHERE {table}.org = $1 AND {table}.digest = credential.digest"
        await db.do(f"DELETE FROM credential WHERE org = $1 AND kind = {kind} AND NOT EXISTS ({held})", org)
