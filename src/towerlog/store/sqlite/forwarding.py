"""How far the log of each organisation was forwarded: rows of `meta`, one for each of them."""

from __future__ import annotations

import apsw

from towerlog.store.columns.removal import HIDDEN
from towerlog.store.sqlite.connections.pools import Ask, HasPools, Where

_BEGIN = (
    "INSERT OR REPLACE INTO meta SELECT 'forwarded:' || org, position FROM org"
    " WHERE NOT EXISTS (SELECT 1 FROM meta WHERE name = 'forwarded') UNION ALL SELECT 'forwarded', ''"
)
"""One statement, so that it is done as a whole or not at all."""
_WAITS = (
    "SELECT org, ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'forwarded:' || org), 0) AS reached,"
    f" position FROM org WHERE org > ? AND position > reached AND {HIDDEN} ORDER BY org LIMIT ?"
)


def forwarding_begin(db: apsw.Connection) -> None:
    """From what comes after now, unless it was begun before."""
    db.execute(_BEGIN)


def forwarding_waits(db: apsw.Connection, after: int, limit: int) -> list[tuple[int, int, int]]:
    """Organisations whose log is further than it was forwarded, without those that are removed."""
    return [(row[0], row[1], row[2]) for row in db.execute(_WAITS, (after, limit))]


def forwarding_keep(db: apsw.Connection, org: int, position: int) -> None:
    """How far it was."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"forwarded:{org}", str(position)))


class ForwardingAsks(HasPools):
    """A part of the store; see `store/base` for what each method promises."""

    forwarding_begin = Ask(forwarding_begin, Where.BETWEEN_UNITS)
    forwarding_waits = Ask(forwarding_waits)
    forwarding_keep = Ask(forwarding_keep, Where.BETWEEN_UNITS)
