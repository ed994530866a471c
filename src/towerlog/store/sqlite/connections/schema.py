"""What the migrations make in a database, and what is in one beyond it.

A trigger or a view of somebody else would be carried out with every write and read here, and a table, an index or a
changed one may refuse what a table of towerlog takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import apsw

from towerlog.store.migrate import Migration

MIGRATIONS = "CREATE TABLE migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT"
"""The table of what was applied. It is there before the first migration."""
MAX_NAMED = 5
"""Of what is too much, how many are named."""
_OF_SQLITE = frozenset({"sqlite_sequence", "sqlite_stat1", "sqlite_stat4"})
"""Tables that SQLite makes by itself, of an autoincrement and of ANALYZE."""

Objects = dict[tuple[str, str], str]
"""(`table`, `index`, `view` or `trigger`, name) → the SQL that makes it."""


@lru_cache(maxsize=4)
def made_by(migrations: tuple[Migration, ...]) -> Objects:
    """What a database has after these. Raises apsw.Error."""
    model = apsw.Connection(":memory:")
    try:
        model.execute(MIGRATIONS)
        for migration in migrations:
            model.execute(migration.sql)
        return objects_of(model)
    finally:
        model.close()


def objects_of(db: apsw.Connection) -> Objects:
    """What a database has, without what SQLite made by itself."""
    sql = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    found = {(str(kind), str(name)): str(text) for kind, name, text in db.execute(sql)}
    return {key: text for key, text in found.items() if key[0] != "table" or key[1] not in _OF_SQLITE}


def strange(db: apsw.Connection, migrations: Iterable[Migration]) -> list[str]:
    """What a database has that these migrations do not make, or make otherwise, by name; at most MAX_NAMED."""
    wanted = made_by(tuple(migrations))
    found = [f"the {key[0]} {key[1]!r}" for key, text in objects_of(db).items() if wanted.get(key) != text]
    more = len(found) - MAX_NAMED
    return sorted(found)[:MAX_NAMED] + ([f"{more} more"] if more > 0 else [])
