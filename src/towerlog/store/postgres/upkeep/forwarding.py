"""How far the log of each organisation was forwarded: rows of `meta`, one for each of them."""

from __future__ import annotations

from towerlog.store.columns.removal import HIDDEN
from towerlog.store.postgres.connections import Db

_KEEP = " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_BEGIN = (
    "INSERT INTO meta SELECT 'forwarded:' || org, position::text FROM org_count"
    " WHERE NOT EXISTS (SELECT 1 FROM meta WHERE name = 'forwarded') UNION ALL SELECT 'forwarded', ''"
)
_REACHED = "coalesce((SELECT value::bigint FROM meta WHERE name = 'forwarded:' || org), 0)"
_WAITS = (
    f"SELECT org, reached, position FROM (SELECT org, {_REACHED} AS reached, position FROM org_count WHERE org > $1)"
    f" AS one WHERE position > reached AND {HIDDEN} ORDER BY org LIMIT $2"
)


async def forwarding_begin(db: Db) -> None:
    """From what comes after now, unless it was begun before."""
    await db.do(_BEGIN + _KEEP)


async def forwarding_waits(db: Db, after: int, limit: int) -> list[tuple[int, int, int]]:
    """Organisations whose log is further than it was forwarded, without those that are removed."""
    return [(row[0], row[1], row[2]) for row in await db.rows(_WAITS, after, limit)]


async def forwarding_keep(db: Db, org: int, position: int) -> None:
    """How far it was."""
    await db.do("INSERT INTO meta VALUES ($1, $2)" + _KEEP, f"forwarded:{org}", str(position))
