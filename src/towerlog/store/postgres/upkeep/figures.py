"""Figures of the tables for the database's planner, taken while a store grows.

Every index begins with the organisation, so each finds a row of it in some way. Without figures the planner takes any
of them, goes through all rows of the organisation for each that is looked for, and keeps to that plan. The database
takes figures by itself once a minute; a store that is filled has thousands of rows by then.
"""

from __future__ import annotations

from towerlog.store.postgres.connections import Db

FIRST, FACTOR, LAST = 64, 8, 32_768
"""After so many events of this process figures are taken first, then after so many times more; up to the last."""
TABLES = ("place", "run", "thread", "agent", "lane", "checkpoint", "message", "node", "meta_list", "reply")
"""Those that grow with the log and are read to write it. `event` has one key, and its bodies would be read."""


class Growth:
    """What this process has written so far."""

    def __init__(self) -> None:
        """Nothing."""
        self._events = 0
        self._due = FIRST

    def is_due(self, events: int) -> bool:
        """Counts events that were written; whether figures are to be taken."""
        self._events += events
        if self._events < self._due or self._due > LAST:
            return False
        while self._due <= self._events:
            self._due *= FACTOR
        return True


async def take_figures(db: Db) -> None:
    """Of all tables, one after the other, in no transaction. Without the right to do so it does nothing."""
    # Only the owner may.
    await db.do("SET ROLE NONE")
    try:
        await db.do(f"ANALYZE {', '.join(TABLES)}")
    finally:
        await db.do("RESET ROLE")
